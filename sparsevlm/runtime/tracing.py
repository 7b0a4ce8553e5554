"""From the decisions of a prefill to the plain numbers of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection
from sparsevlm.runtime.layout import SampleLayout
from sparsevlm.runtime.trace import SampleTrace, StageTrace


@dataclass(frozen=True)
class Decision:
    """What was selected for one sample at one stage: tensors, read when the trace is asked for."""

    layer: int
    before: SampleLayout
    after: SampleLayout
    selection: Selection


def sample_trace(
    first: SampleLayout,
    last: SampleLayout,
    decisions: Sequence[Decision],
    *,
    num_layers: int,
    counted_layer: str,
    grid: tuple[int, ...] | None,
) -> SampleTrace:
    """Trace of one sample.

    Parameters
    ----------
    first, last
        Its layout before the first and after the last stage.
    decisions
        Its own, in order.
    num_layers, counted_layer
        See `schedule.tokens_per_layer`.
    grid
        Shape of its visual tokens, where known.
    """
    members = {index: [index] for index in range(first.num_visual)}
    stages = [_stage_trace(decision, members) for decision in decisions]
    left = {decision.layer: decision.after.visual for decision in decisions}
    current, tokens_in, tokens_out = first.num_visual, [], []
    for layer in range(-1, num_layers):
        entering, current = current, left.get(layer, current)
        if layer >= 0:
            tokens_in.append(entering)
            tokens_out.append(current if counted_layer == "this" else entering)
    return SampleTrace(first.num_visual, grid, stages, tokens_in, tokens_out, last.slots.tolist())


def _positions(raters: Tensor | None) -> list[int]:
    if raters is None:
        return []
    return (raters.nonzero().flatten() if raters.dtype == torch.bool else raters).tolist()


def _stage_trace(decision: Decision, members: dict[int, list[int]]) -> StageTrace:
    selection, before = decision.selection, decision.before
    source = before.source.tolist()
    if selection.groups is not None:
        merged = zip(
            selection.groups.members.tolist(), selection.groups.labels.tolist(), strict=True
        )
        for member, label in merged:
            identity = before.num_visual + before.num_recycled + label
            members.setdefault(identity, []).extend(members[source[member]])
    after = decision.after.source.tolist()
    recycled = [identity for identity in after if identity >= before.num_visual]
    scores = [] if selection.scores is None else selection.scores.tolist()
    return StageTrace(
        layer=decision.layer,
        kept=[identity for identity in after if identity < before.num_visual],
        groups=[sorted(members[identity]) for identity in recycled],
        group_ids=recycled,
        scores=[float(f"{value:.6g}") for value in scores],
        score_ids=source if scores else [],
        raters=_positions(selection.raters),
        num_left=len(after),
    )
