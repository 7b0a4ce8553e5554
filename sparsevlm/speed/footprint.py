"""Operators and peak memory of the full-size decoders, calculated on tensors without values.

Every tensor has its shape, type and lifetime, and no memory: the same code runs as on a GPU, so
what is alive at once is known exactly, for any length and batch, without weights and without a
device. What a kernel uses inside itself is not seen. Attention is the fused kernel's, which keeps
no n x n map. The vision tower, which pruning does not touch, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sparsevlm.speed.case import Case
from sparsevlm.speed.memory import peak_bytes
from sparsevlm.speed.operators import measure_operators
from sparsevlm.speed.scale import at, scaled_budgets
from sparsevlm.speed.shapes import Shape

BY = "fake tensors, no GPU"


def decoder_of(shape: Shape) -> Shape:
    """The decoder of a shape alone.

    Raises
    ------
    ValueError
        For a decoder whose positions have rows and columns.
    """
    if shape.family == "qwen2_vl":
        raise ValueError(
            f"the decoder of {shape.name} is no Llama; operators and footprint are calculated for "
            "the shapes with a Llama inside"
        )
    return replace(shape, family="llama")


def fake_case(shape: Shape, dtype: torch.dtype, attention: str, batch: int, seed: int) -> Case:
    """A case of tensors without values; to be made and run under one `FakeTensorMode`."""
    return Case.of(decoder_of(shape), "cpu", dtype, attention, batch, seed)


def fake_operators(
    shape: Shape, dtype: torch.dtype, attention: str, batches: Sequence[int],
    budgets: Sequence[int], methods: Sequence[str], seed: int = 0,
) -> dict[str, object]:  # fmt: skip
    """`measure_operators` at full size, by batch: a cut is made row by row.

    Parameters
    ----------
    shape, dtype, attention
        The model.
    batches, budgets, methods
        Of the shape's own number of visual tokens.
    seed
        Unused but by the order of drawing; no value is ever made.
    """
    found: dict[str, object] = {"by": BY, "batches": {}}
    with FakeTensorMode():
        case = fake_case(shape, dtype, attention, 1, seed)
        for batch in batches:
            of = measure_operators(case.with_batch(batch), budgets, methods)
            found["batches"][str(batch)] = of
    return found


def footprint(
    shape: Shape, dtype: torch.dtype, attention: str, sizes: Sequence[int],
    batches: Sequence[int], budgets: Sequence[int], method: str, seed: int = 0,
) -> dict[str, object]:  # fmt: skip
    """Peak memory of a prefill with its cache, weights and inputs not counted.

    Parameters
    ----------
    shape, dtype, attention
        The model.
    sizes, batches
        Visual tokens, and prompts in a batch.
    budgets
        Of the shape's own number of visual tokens; of other sizes the same share is kept.
    method
        Which one; its cuts are static, as on a GPU.
    seed
        As for `fake_operators`.

    Returns
    -------
    dict
        ``weights_bytes``; ``sizes``: by size, by batch: ``dense_peak_bytes``, and by budget
        ``peak_bytes`` and ``memory_to_dense``.
    """
    with FakeTensorMode():
        case = fake_case(shape, dtype, attention, 1, seed)
        weights = sum(weight.nbytes for weight in case.model.parameters())
        found: dict[str, object] = {"by": BY, "weights_bytes": weights, "sizes": {}}
        for size in sizes:
            of = at(case, size, seed)
            found["sizes"][str(size)] = {
                str(batch): _peaks(
                    of.with_batch(batch), scaled_budgets(case, budgets, size), method
                )
                for batch in batches
            }
    return found


def _peaks(case: Case, budgets: dict[int, int], method: str) -> dict[str, object]:
    known = list(case.known())
    dense = peak_bytes(lambda: case.forward(), known, "cpu")
    found = {}
    for budget, tokens in budgets.items():
        pruner = case.pruner(method, tokens)
        peak = peak_bytes(lambda pruner=pruner: case.forward(pruner, static=True), known, "cpu")
        found[str(budget)] = {"peak_bytes": peak, "memory_to_dense": round(peak / dense, 4)}
    return {"dense_peak_bytes": dense, "budgets": found}
