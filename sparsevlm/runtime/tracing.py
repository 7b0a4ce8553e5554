"""From what a prefill noted to the plain numbers of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsevlm.core.interface import Selection
from sparsevlm.runtime.layout import Sample
from sparsevlm.runtime.trace import SampleTrace, StageTrace


@dataclass(frozen=True)
class Noted:
    """One selection of one sample; tensors, read only when the trace is asked for."""

    layer: int
    before: Sample
    after: Sample
    selection: Selection


def sample_trace(
    first: Sample,
    last: Sample,
    noted: Sequence[Noted],
    *,
    num_layers: int,
    counted_layer: str,
    grid: tuple[int, ...] | None,
) -> SampleTrace:
    """Trace of one sample.

    Parameters
    ----------
    first, last
        Its layout before the first and after the last cut.
    noted
        Its selections, in order.
    num_layers, counted_layer
        As in `schedule.tokens_per_layer`.
    grid
        Shape of its visual tokens, where known.
    """
    members = {index: [index] for index in range(first.num_visual)}
    stages = [_cut_trace(note, members) for note in noted]
    left = {note.layer: note.after.visual for note in noted}
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


def _cut_trace(note: Noted, members: dict[int, list[int]]) -> StageTrace:
    selection, before = note.selection, note.before
    source = before.source.tolist()
    if selection.groups is not None:
        merged = zip(
            selection.groups.members.tolist(), selection.groups.labels.tolist(), strict=True
        )
        for member, label in merged:
            identity = before.num_visual + before.num_recycled + label
            members.setdefault(identity, []).extend(members[source[member]])
    after = note.after.source.tolist()
    recycled = [identity for identity in after if identity >= before.num_visual]
    scored = selection.scores is not None
    return StageTrace(
        layer=note.layer,
        kept=[identity for identity in after if identity < before.num_visual],
        groups=[sorted(members[identity]) for identity in recycled],
        group_ids=recycled,
        scores=[float(f"{value:.6g}") for value in selection.scores.tolist()] if scored else [],
        score_ids=source if scored else [],
        raters=_positions(selection.raters),
        num_left=len(after),
    )
