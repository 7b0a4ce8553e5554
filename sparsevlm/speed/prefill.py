"""The prefill: dense, the oracle's and the pruners', and pruning's own time by phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from sparsevlm.core.interface import StagedPruner
from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.models.sizes import kv_bytes, prefill_flops
from sparsevlm.runtime.timing import PHASES, account, reading_seconds
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import clock_of, interleaved, peak_bytes, spread, watched
from sparsevlm.speed.options import Options

ONCE = "session"  # this phase comes once per with block and not once per prompt


def measure_prefill(case: Case, options: Options) -> dict[str, object]:
    """Measure the decoder's prefill of one prompt, every method at every budget.

    Returns
    -------
    dict
        "budgets": by budget, by method: see `_row` and `analytic`, with ``options.capture`` also
        `captured_row`; and what there is of the dense model.
    """
    clock = clock_of(case.device)
    reading = reading_seconds(clock)
    budgets = options.budgets or case.shape.budgets
    pruners = {f"{m} {b}": case.pruner(m, b) for b in budgets for m in options.methods}
    jobs: dict[str, Callable[[], object]] = {"dense": lambda: _forward(case, None)}
    for name, pruner in pruners.items():
        jobs[name] = lambda pruner=pruner: _forward(case, pruner)
        indices = case.oracle_indices(pruner)
        jobs[f"oracle of {name}"] = lambda indices=indices: _oracle(case, indices)
    if options.capture:
        jobs |= _captured_jobs(case, pruners)
    found = interleaved(jobs, options.rounds, options.seed)

    def row(name: str) -> dict[str, object]:
        own = _row(found[name], found[f"oracle of {name}"], found["dense"], reading)
        graphs = captured_row(found, name) if options.capture else {}
        return {**own, **analytic(case, pruners[name]), **graphs}

    out: dict[str, object] = {
        "budgets": {str(b): {m: row(f"{m} {b}") for m in options.methods} for b in budgets}
    }
    if options.capture:
        out["captured_dense_to_dense"] = _ratio(found, "captured dense", "dense")
    if case.device == "cuda":
        out["dense_prefill_seconds"] = spread([run["prefill"] for run in found["dense"]])
    return out


def _captured_jobs(
    case: Case, pruners: Mapping[str, StagedPruner]
) -> dict[str, Callable[[], object]]:
    """The same prefills from graphs; they are captured in the warm-up, which is dropped."""
    graphs = case.captured(limit=len(pruners) + 1)

    def run(pruner: StagedPruner | None) -> dict[str, object]:
        with graphs:
            return _forward(case, pruner, static=True)

    jobs = {"dense": None, **pruners}
    return {f"captured {name}": lambda pruner=pruner: run(pruner) for name, pruner in jobs.items()}


def captured_row(found: Mapping[str, list[dict]], job: str) -> dict[str, float]:
    """A captured method over the dense model as it is, and over the captured dense model."""
    return {
        "captured_to_dense": _ratio(found, f"captured {job}", "dense"),
        "captured_to_captured_dense": _ratio(found, f"captured {job}", "captured dense"),
    }


def _middle(runs: Sequence[dict]) -> float:
    return median(run["prefill"] for run in runs)


def _ratio(found: Mapping[str, list[dict]], job: str, base: str) -> float:
    return round(_middle(found[job]) / _middle(found[base]), 4)


def _forward(
    case: Case, pruner: StagedPruner | None, static: bool | None = None
) -> dict[str, object]:
    """Seconds of the prefill, and of pruning itself in all and inside the decoder."""
    clock = clock_of(case.device)
    with watched({"prefill": case.decoder}, clock) as seconds, account(clock) as spent:
        case.forward(pruner, static)
    return {**seconds(), "phases": spent.seconds, "count": spent.count}


def _oracle(case: Case, indices: dict) -> dict[str, object]:
    clock = clock_of(case.device)
    with account(clock) as spent:
        start = clock.mark()
        case.oracle(indices)
        end = clock.mark()
    return {"prefill": clock.seconds(start, end), "phases": spent.seconds, "count": spent.count}


def _row(
    pruned: Sequence[dict], oracle: Sequence[dict], dense: Sequence[dict], reading: float
) -> dict[str, object]:
    """What a method costs at a budget.

    ``overhead_percent`` is the direct account: the time of every phase of pruning, less that of
    the oracle, over the oracle's time in the same round; the time for reading the clock itself
    (``reading`` per phase) is taken off. ``by_difference_percent`` is the difference of the two
    totals, which carries the noise of both.
    """
    rounds = list(zip(pruned, oracle, strict=True))
    own = [
        100 * (_own_seconds(p, reading) - _own_seconds(o, reading)) / o["prefill"]
        for p, o in rounds
    ]
    difference = [100 * (p["prefill"] / o["prefill"] - 1) for p, o in rounds]
    phases = {
        name: median(p["phases"].get(name, 0.0) / o["prefill"] for p, o in rounds)
        for name in PHASES
    }
    return {
        "oracle_to_dense": round(_middle(oracle) / _middle(dense), 4),
        "to_dense": round(_middle(pruned) / _middle(dense), 4),
        "overhead_percent": spread(own, 3),
        "by_difference_percent": spread(difference, 3),
        "stages_percent": {name: round(100 * share, 4) for name, share in phases.items()},
    }


def _own_seconds(run: dict, reading: float) -> float:
    """Seconds of all phases of a run that come once per prompt, less those of the readings."""
    phases = sum(seconds for name, seconds in run["phases"].items() if name != ONCE)
    return phases - run["count"] * reading


def analytic(case: Case, pruner: StagedPruner) -> dict[str, object]:
    """FLOPs and bytes of the KV cache, in full and over the dense model's."""
    shape = case.shape
    entering = tokens_per_layer(
        pruner.stages, shape.layers, shape.num_visual, getattr(pruner, "recycle", 0),
        pruner.counted_layer,
    )[0]  # fmt: skip
    tokens = [n + shape.before + shape.after for n in entering]
    dense, size = [shape.tokens] * shape.layers, case.dtype.itemsize
    flops, full = (prefill_flops(counts, shape) for counts in (tokens, dense))
    cache, whole = (kv_bytes(counts, shape, bytes_per_value=size) for counts in (tokens, dense))
    return {
        "flops": flops, "flops_to_dense": round(flops / full, 4), "kv_bytes": cache,
        "kv_to_dense": round(cache / whole, 4),
    }  # fmt: skip


def measure_memory(case: Case, jobs: Mapping[str, StagedPruner | None]) -> dict[str, int]:
    """Peak bytes of one prompt beyond weights and inputs, by job; ``None`` is the dense model."""
    if case.device == "cuda":
        for pruner in jobs.values():
            case.forward(pruner)  # what a library keeps from its first call on is no part of it
    known = list(case.known())
    return {
        name: peak_bytes(lambda pruner=pruner: case.forward(pruner), known, case.device)
        for name, pruner in jobs.items()
    }


def measure_scale(case: Case, options: Options) -> dict[str, object]:
    """Does the cost of pruning grow faster than the model's own with the number of visual tokens?

    Own time of pruning is over the model's in the same run, so what slows the machine down slows
    both; the median of the rounds counts, after one run that is dropped. Memory is over the dense
    model's. The first method is measured, on a decoder alone.

    Returns
    -------
    dict
        By number of visual tokens, by budget: ``share_percent``, ``memory_to_dense``; and the
        dense ``dense_peak_bytes``.
    """
    found: dict[str, object] = {}
    for size in options.scale:
        one = case.with_visual(size)
        budgets = options.budgets or one.shape.budgets
        pruners = {str(budget): one.pruner(options.methods[0], budget) for budget in budgets}
        memory = measure_memory(one, {"dense": None, **pruners})
        found[str(size)] = {
            "dense_peak_bytes": memory["dense"],
            "budgets": {
                budget: {
                    "share_percent": round(_share_percent(one, pruner, options.rounds), 4),
                    "memory_to_dense": round(memory[budget] / memory["dense"], 4),
                }
                for budget, pruner in pruners.items()
            },
        }
    return found


def _share_percent(case: Case, pruner: StagedPruner, rounds: int) -> float:
    reading = reading_seconds(clock_of(case.device))
    runs = [_forward(case, pruner) for _ in range(rounds + 1)][1:]
    own = [(_own_seconds(run, reading), run["prefill"]) for run in runs]
    return median(100 * seconds / (total - seconds) for seconds, total in own)
