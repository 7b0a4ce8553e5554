"""The prefill: dense, the oracle's and the pruners', and pruning's own time by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from sparsevlm.core.interface import StagedPruner
from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.models.sizes import kv_bytes, prefill_flops
from sparsevlm.runtime.timing import PHASES, account, reading_seconds
from sparsevlm.speed.case import Case
from sparsevlm.speed.clock import Watch, clock_of, interleaved, seconds_of, spread

# Once per with block and not once per prompt.
ONCE = "session"


def measure_prefill(
    case: Case, budgets: Sequence[int], methods: Sequence[str], rounds: int, seed: int = 0,
    capture: bool = False,
) -> dict[str, object]:  # fmt: skip
    """Measure the decoder's prefill of one prompt.

    Parameters
    ----------
    case
        Model and prompt.
    budgets, methods
        Every method is run at every budget.
    rounds
        Interleaved rounds.
    seed
        Of the order within the rounds.
    capture
        Whether dense model and methods run from graphs as well, in the same rounds.

    Returns
    -------
    dict
        By budget, by method: see `_row`; with ``capture`` also `captured_row`.
    """
    clock = clock_of(case.device)
    reading = reading_seconds(clock)
    pruners = {(m, b): case.pruner(m, b) for b in budgets for m in methods}
    jobs: dict[str, Callable[[], object]] = {"dense": lambda: _forward(case, None)}
    for (method, budget), pruner in pruners.items():
        jobs[f"{method} {budget}"] = lambda pruner=pruner: _forward(case, pruner)
        indices = case.oracle_indices(pruner)
        jobs[f"oracle of {method} {budget}"] = lambda indices=indices: _oracle(case, indices)
    if capture:
        jobs |= _captured_jobs(case, pruners)
    found = interleaved(jobs, rounds, seed)
    dense = [run["prefill"] for run in found["dense"]]
    graph = {"captured_to_dense": _ratio(found, "captured dense", "dense")} if capture else {}
    return {
        "dense": {"seconds": spread(dense), "clock": type(clock).__name__, **graph},
        "budgets": {
            str(budget): {
                method: _row(
                    found[f"{method} {budget}"],
                    found[f"oracle of {method} {budget}"],
                    dense,
                    reading,
                )
                | analytic(case, pruners[method, budget])
                | (captured_row(found, f"{method} {budget}") if capture else {})
                for method in methods
            }
            for budget in budgets
        },
    }


def _captured_jobs(case: Case, pruners: dict) -> dict[str, Callable[[], object]]:
    """The same prefills from graphs; they are captured in the warm-up, which is dropped."""
    graphs = case.captured(limit=len(pruners) + 1)

    def run(pruner: StagedPruner | None) -> dict[str, object]:
        with graphs:
            return _forward(case, pruner, static=True)

    jobs = {f"captured {m} {b}": lambda pruner=pruner: run(pruner)
            for (m, b), pruner in pruners.items()}  # fmt: skip
    return {"captured dense": lambda: run(None), **jobs}


def captured_row(found: dict[str, list[dict]], job: str) -> dict[str, float]:
    """A captured method over the dense model as it is, and over the captured dense model."""
    return {
        "captured_to_dense": _ratio(found, f"captured {job}", "dense"),
        "captured_to_captured_dense": _ratio(found, f"captured {job}", "captured dense"),
    }


def _ratio(found: dict[str, list[dict]], job: str, base: str) -> float:
    one, other = (median(run["prefill"] for run in found[name]) for name in (job, base))
    return round(one / other, 4)


def _forward(
    case: Case, pruner: StagedPruner | None, static: bool | None = None
) -> dict[str, object]:
    """Seconds of the prefill, and of pruning itself in all and inside the decoder."""
    clock = clock_of(case.device)
    with Watch({"prefill": case.decoder}, clock) as watch, account(clock) as spent:
        case.forward(pruner, static)
    return {**watch.seconds(), "stages": spent.seconds, "count": spent.count}


def _oracle(case: Case, indices: dict) -> dict[str, object]:
    clock = clock_of(case.device)
    with account(clock) as spent:
        seconds = seconds_of(lambda: case.oracle(indices), clock)
    return {"prefill": seconds, "stages": spent.seconds, "count": spent.count}


def _row(
    pruned: Sequence[dict], oracle: Sequence[dict], dense: Sequence[float], reading: float
) -> dict[str, object]:
    """What a method costs at a budget.

    ``overhead_percent`` is the direct account: the time of every stage of pruning, less the cuts of
    the oracle, over the oracle's time in the same round; the time for reading the clock itself
    (``reading`` per stage) is taken off. ``by_difference_percent`` is the
    difference of the two totals, which carries the noise of both.
    """
    own, floor = ([own_seconds(run, reading) for run in runs] for runs in (pruned, oracle))
    base = [run["prefill"] for run in oracle]
    overhead = [100 * (o - f) / b for o, f, b in zip(own, floor, base, strict=True)]
    difference = [100 * (p["prefill"] / b - 1) for p, b in zip(pruned, base, strict=True)]
    middle = median(dense)
    return {
        "oracle_to_dense": round(median(base) / middle, 4),
        "to_dense": round(median(run["prefill"] for run in pruned) / middle, 4),
        "overhead_percent": spread(overhead, 3),
        "by_difference_percent": spread(difference, 3),
        "stages_percent": {name: _share(name, pruned, base) for name in PHASES},
    }


def own_seconds(run: dict, reading: float) -> float:
    """Seconds of all stages of a run that come once per prompt, less those of the readings."""
    stages = sum(seconds for name, seconds in run["stages"].items() if name != ONCE)
    return stages - run["count"] * reading


def _share(stage: str, pruned: Sequence[dict], base: Sequence[float]) -> float:
    shares = [run["stages"].get(stage, 0.0) / b for run, b in zip(pruned, base, strict=True)]
    return round(100 * median(shares), 4)


def analytic(case: Case, pruner: StagedPruner) -> dict[str, object]:
    """FLOPs and bytes of the KV cache, of the dense model's; and in full."""
    shape = case.shape
    text = shape.before + shape.after
    entering = tokens_per_layer(
        pruner.stages, shape.layers, shape.num_visual, getattr(pruner, "recycle", 0),
        pruner.counted_layer,
    )[0]  # fmt: skip
    size = case.dtype.itemsize
    tokens, dense = [n + text for n in entering], [shape.tokens] * shape.layers
    flops, full = prefill_flops(tokens, shape), prefill_flops(dense, shape)
    cache = kv_bytes(tokens, shape, bytes_per_value=size)
    whole = kv_bytes(dense, shape, bytes_per_value=size)
    return {
        "flops": flops, "flops_to_dense": round(flops / full, 4), "kv_bytes": cache,
        "kv_to_dense": round(cache / whole, 4),
    }  # fmt: skip
