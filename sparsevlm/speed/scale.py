"""Does the cost of pruning grow faster than the model's own with the number of visual tokens?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from sparsevlm.core.interface import StagedPruner
from sparsevlm.runtime.timing import account, reading_seconds
from sparsevlm.speed import shapes
from sparsevlm.speed.answering import measure_memory
from sparsevlm.speed.case import Case
from sparsevlm.speed.clock import Watch, clock_of
from sparsevlm.speed.prefill import own_seconds


def at(case: Case, num_visual: int, seed: int = 0) -> Case:
    """The same weights with another number of visual tokens.

    Raises
    ------
    ValueError
        For a model whose tower fixes the number.
    """
    if case.shape.family != "llama":
        raise ValueError(
            f"the picture of {case.shape.name} gives {case.shape.num_visual} visual tokens; for "
            "another number use the shape 'reference'"
        )
    shape = replace(case.shape, num_visual=num_visual)
    inputs = shapes.inputs(shape, case.device, case.dtype, case.batch, seed)
    return Case(shape, case.model, inputs, case.device, case.dtype, case.attention)


def scaled_budgets(case: Case, budgets: Sequence[int], num_visual: int) -> dict[int, int]:
    """Budgets that are the same share of another number of visual tokens."""
    return {budget: round(budget * num_visual / case.shape.num_visual) for budget in budgets}


def measure_scale(
    case: Case, sizes: Sequence[int], budgets: Sequence[int], rounds: int, method: str = "sparsevlm"
) -> dict[str, object]:
    """Own time of pruning over the model's on the same tokens, and peak memory over the dense.

    Both times are of the same run, so what slows the machine down slows both.

    Parameters
    ----------
    case
        A decoder alone.
    sizes
        Visual tokens.
    budgets
        Of the case's own number of visual tokens.
    rounds
        Runs of each, after one that is dropped; the median counts.
    method
        Which one.

    Returns
    -------
    dict
        By size, by budget: ``share_percent``, ``memory_to_dense``; and the dense ``peak_bytes``.
    """
    found: dict[str, object] = {}
    for size in sizes:
        one = at(case, size)
        pruners = {
            str(budget): one.pruner(method, tokens)
            for budget, tokens in scaled_budgets(case, budgets, size).items()
        }
        memory = measure_memory(one, {"dense": None, **pruners})
        found[str(size)] = {
            "dense_peak_bytes": memory["dense"],
            "budgets": {
                budget: {
                    "share_percent": round(median(_shares(one, pruner, rounds)), 4),
                    "memory_to_dense": round(memory[budget] / memory["dense"], 4),
                }
                for budget, pruner in pruners.items()
            },
        }
    return found


def _shares(case: Case, pruner: StagedPruner, rounds: int) -> list[float]:
    clock, shares = clock_of(case.device), []
    reading = reading_seconds(clock)
    case.forward(pruner)
    for _ in range(rounds):
        with Watch({"prefill": case.decoder}, clock) as watch, account(clock) as spent:
            case.forward(pruner)
        own = own_seconds({"stages": spent.seconds, "count": spent.count}, reading)
        shares.append(100 * own / (watch.seconds()["prefill"] - own))
    return shares
