"""The life of every visual token, from a trace. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevlm.explorer.run import Run
from sparsevlm.explorer.view.geometry import Geometry
from sparsevlm.runtime.trace import SampleTrace, StageTrace

KEPT, DROPPED, RECYCLED = "kept", "dropped", "recycled"


@dataclass(frozen=True)
class Fate:
    """What has become of one original token by some layer.

    Attributes
    ----------
    state
        "kept" as itself, "recycled" into a group, or "dropped".
    group
        Of a recycled token: number of its group, from 0, by which it goes through all stages.
    since
        The layer after which it lost its own place; ``None`` for a kept token.
    """

    state: str
    group: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Segment:
    """The visual tokens between two stages.

    Attributes
    ----------
    layer
        Layer after which the cut was made that this stage begins with; ``None`` before any cut.
    fates
        One per original token.
    groups
        Number of every group that is there, with its original tokens.
    num_left
        Visual tokens, recycled ones included.
    """

    layer: int | None
    fates: tuple[Fate, ...]
    groups: dict[int, tuple[int, ...]]
    num_left: int

    @property
    def kept(self) -> tuple[int, ...]:
        """Tokens that are there as themselves."""
        return tuple(i for i, fate in enumerate(self.fates) if fate.state == KEPT)


def segments(sample: SampleTrace) -> tuple[Segment, ...]:
    """One stage before any cut, and one after each."""
    count = sample.num_visual
    found = [Segment(None, (Fate(KEPT),) * count, {}, count)]
    for stage in sample.stages:
        kept = set(stage.kept)
        group_of = {
            token: identity - count
            for identity, members in zip(stage.group_ids, stage.groups, strict=True)
            for token in members
        }
        before = found[-1].fates
        fates = tuple(
            Fate(KEPT) if token in kept else _lost(before[token], stage, group_of.get(token))
            for token in range(count)
        )
        groups = {
            identity - count: tuple(members)
            for identity, members in zip(stage.group_ids, stage.groups, strict=True)
        }
        found.append(Segment(stage.layer, fates, groups, stage.num_left))
    return tuple(found)


def _lost(before: Fate, stage: StageTrace, group: int | None) -> Fate:
    if group is None:
        # Dropped now, unless it had been dropped before: then it stays dropped since then.
        since = before.since if before.state == DROPPED else stage.layer
        return Fate(DROPPED, since=since)
    since = before.since if before.state == RECYCLED else stage.layer
    return Fate(RECYCLED, group, since)


def segment_of_position(sample: SampleTrace, position: int) -> int:
    """Index into `stages` at a position of the layer slider.

    Parameters
    ----------
    position
        0: the input of layer 0; i: what layer i - 1 leaves, a cut after it included.
    """
    return sum(stage.layer < position for stage in sample.stages)


def cut_positions(sample: SampleTrace) -> list[int]:
    """Positions of the slider at which something is cut."""
    return [stage.layer + 1 for stage in sample.stages]


def biographies(run: Run, geometry: Geometry) -> list[str]:
    """The life of every token in a line, for hovering and for a screen reader.

    Returns
    -------
    list of str
        Place; then for every cut score, rank and fate, until the token is gone.
    """
    padding, sinks = geometry.padding(), _sinks(run)
    tables = [_ranks(stage) for stage in run.sample.stages]
    through = segments(run.sample)
    lines = []
    for token in range(run.sample.num_visual):
        parts = [f"patch {token} ({geometry.place(token)})"]
        parts += ["padding"] if token in padding else []
        parts += ["forced to stay"] if token in run.ask.keep else []
        parts += ["forced to go"] if token in run.ask.drop else []
        parts += [f"sink in layers {', '.join(map(str, sinks[token]))}"] if token in sinks else []
        for before, segment, table in zip(through, through[1:], tables, strict=False):
            fate = before.fates[token]
            if fate.state == DROPPED:
                break
            own = token if fate.group is None else run.sample.num_visual + fate.group
            parts.append(_event(token, segment, table.get(own), len(table)))
        lines.append(" · ".join(parts))
    return lines


def _event(token: int, segment: Segment, scored: tuple[float, int] | None, of: int) -> str:
    """One cut in the life of a token; ``scored`` is its score and rank, or that of its group."""
    fate = segment.fates[token]
    score = "" if scored is None else f"score {scored[0]:.2e}, rank {scored[1]} of {of}, "
    what = fate.state
    if fate.state == RECYCLED:
        size = len(segment.groups[fate.group])
        what = f"recycled into group {fate.group} of {size} patches"
    where = "at the input" if segment.layer == -1 else f"after layer {segment.layer}"
    return f"{where}: {score}{what}"


def _ranks(stage: StageTrace) -> dict[int, tuple[float, int]]:
    """Score and rank by id; equal scores share the best rank."""
    first: dict[float, int] = {}
    for rank, value in enumerate(sorted(stage.scores, reverse=True), start=1):
        first.setdefault(value, rank)
    pairs = zip(stage.score_ids, stage.scores, strict=True)
    return {identity: (value, first[value]) for identity, value in pairs}


def _sinks(run: Run) -> dict[int, list[int]]:
    """Layers in which a token is a sink, by token."""
    found: dict[int, list[int]] = {}
    if run.attention is not None:
        for rows, tokens in zip(run.attention.layers, run.attention.sinks, strict=True):
            for token in tokens:
                found.setdefault(token, []).append(rows.layer)
    return found
