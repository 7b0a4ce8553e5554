"""Operators and peak memory of the full-size decoders, calculated on tensors without values.

Every tensor has its shape, type and lifetime, and no memory: the same code runs as on a GPU, so
what is alive at once is known exactly, for any length and batch, without weights and without a
device. What a kernel uses inside itself is not seen. Attention is the fused kernel's, which keeps
no n x n map. The vision tower, which pruning does not touch, is left out.

At batch 1 a fast GPU is done with an operator before Python has sent the next one, so their number
is what bounds it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sparsevlm.core.interface import StagedPruner
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import count_operators, peak_bytes
from sparsevlm.speed.options import Options
from sparsevlm.speed.shapes import Shape

BY = "fake tensors, no GPU"


def fake_case(shape: Shape, options: Options) -> Case:
    """A decoder alone, without values; to be made and run under one `FakeTensorMode`.

    Raises
    ------
    ValueError
        For a decoder whose positions have rows and columns.
    """
    if shape.has_mrope:
        raise ValueError(
            f"the decoder of {shape.name} is no Llama; operators and footprint are calculated for "
            "the shapes with a Llama inside"
        )
    dtype = getattr(torch, options.dtype)
    return Case.of(replace(shape, family="llama"), "cpu", dtype, options.attention, 1, options.seed)


def operators(shape: Shape, options: Options) -> dict[str, object]:
    """`measure_operators` at full size, by batch."""
    with FakeTensorMode(allow_non_fake_inputs=True):  # numbers that methods keep for a device
        case = fake_case(shape, options)
        batches = {str(b): measure_operators(case.with_batch(b), options) for b in options.batches}
    return {"by": BY, "batches": batches}


def measure_operators(case: Case, options: Options) -> dict[str, object]:
    """Operators of the decoder's prefill: dense, the oracle's and the methods'.

    Every method is run at every budget, with static stages (`prune(static=True)`), on tensors with
    or without values.

    Returns
    -------
    dict
        ``dense``; ``budgets``: by budget, by method: ``oracle`` and ``method``; each a dict of
        ``total`` and ``kernels``.
    """

    def of(pruner: StagedPruner | None) -> dict[str, int]:
        return count_operators(lambda: case.forward(pruner, static=True), case.decoder)

    def against_oracle(pruner: StagedPruner) -> dict[str, dict[str, int]]:
        indices = case.oracle_indices(pruner)
        case.decoder_inputs()  # made at the first call
        return {"oracle": count_operators(lambda: case.oracle(indices)), "method": of(pruner)}

    return {
        "dense": of(None),
        "budgets": {
            str(budget): {
                method: against_oracle(case.pruner(method, budget)) for method in options.methods
            }
            for budget in options.budgets or case.shape.budgets
        },
    }


def footprint(shape: Shape, options: Options) -> dict[str, object]:
    """Peak memory of a prefill with its cache, weights and inputs not counted.

    Returns
    -------
    dict
        ``weights_bytes``; ``sizes``: by number of visual tokens, by batch: ``dense_peak_bytes``,
        and by budget ``peak_bytes`` and ``memory_to_dense``, of the first method.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):  # numbers that methods keep for a device
        case = fake_case(shape, options)
        weights = sum(weight.nbytes for weight in case.model.parameters())
        sizes = {
            str(size): {
                str(batch): _peaks(case.with_visual(size).with_batch(batch), options)
                for batch in options.batches
            }
            for size in options.scale
        }
    return {"by": BY, "weights_bytes": weights, "sizes": sizes}


def _peaks(case: Case, options: Options) -> dict[str, object]:
    def peak(pruner: StagedPruner | None) -> int:
        return peak_bytes(lambda: case.forward(pruner, static=True), list(case.known()), "cpu")

    dense, found = peak(None), {}
    for budget in options.budgets or case.shape.budgets:
        size = peak(case.pruner(options.methods[0], budget))
        found[str(budget)] = {"peak_bytes": size, "memory_to_dense": round(size / dense, 4)}
    return {"dense_peak_bytes": dense, "budgets": found}
