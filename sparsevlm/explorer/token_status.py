"""What became of every visual token, from a trace."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevlm.explorer.exploration import Exploration
from sparsevlm.explorer.geometry import Geometry
from sparsevlm.runtime.trace import SampleTrace, StageTrace

KEPT, DROPPED, RECYCLED = "kept", "dropped", "recycled"


@dataclass(frozen=True)
class TokenStatus:
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
class Snapshot:
    """The visual tokens between two stages.

    Attributes
    ----------
    layer
        Layer after which the stage was that came before; ``None`` before any.
    tokens
        One per original token.
    groups
        Number of every group that is there, with its original tokens.
    num_left
        Visual tokens, recycled ones included.
    """

    layer: int | None
    tokens: tuple[TokenStatus, ...]
    groups: dict[int, tuple[int, ...]]
    num_left: int

    @property
    def kept(self) -> tuple[int, ...]:
        """Tokens that are there as themselves."""
        return tuple(i for i, token in enumerate(self.tokens) if token.state == KEPT)

    @property
    def caption(self) -> str:
        """How many tokens there are, and what of."""
        groups = f" + {len(self.groups)} recycled" if self.groups else ""
        return f"{len(self.kept)} kept{groups} of {len(self.tokens)}"


def snapshots(trace: SampleTrace) -> tuple[Snapshot, ...]:
    """One before any stage, and one after each."""
    count = trace.num_visual
    found = [Snapshot(None, (TokenStatus(KEPT),) * count, {}, count)]
    for stage in trace.stages:
        groups = {
            identity - count: tuple(members)
            for identity, members in zip(stage.group_ids, stage.groups, strict=True)
        }
        group_of = {token: group for group, members in groups.items() for token in members}
        kept, before = set(stage.kept), found[-1].tokens
        tokens = tuple(
            TokenStatus(KEPT) if token in kept else _lost(before[token], stage, group_of.get(token))
            for token in range(count)
        )
        found.append(Snapshot(stage.layer, tokens, groups, stage.num_left))
    return tuple(found)


def _lost(before: TokenStatus, stage: StageTrace, group: int | None) -> TokenStatus:
    # A token that was dropped, or recycled, stays so since then.
    state = DROPPED if group is None else RECYCLED
    return TokenStatus(state, group, before.since if before.state == state else stage.layer)


def stages_before(trace: SampleTrace, position: int) -> int:
    """How many stages lie before a position of the layer slider: an index into `snapshots`.

    Parameters
    ----------
    trace
        Of the sample.
    position
        0: the input of layer 0; i: what layer i - 1 leaves, a stage after it included.
    """
    return sum(stage.layer < position for stage in trace.stages)


def stage_positions(trace: SampleTrace) -> list[int]:
    """Positions of the slider at which something is pruned."""
    return [stage.layer + 1 for stage in trace.stages]


def stage_name(layer: int) -> str:
    """Where a stage is, in words."""
    return "at the input" if layer < 0 else f"after layer {layer}"


def token_histories(found: Exploration, geometry: Geometry) -> list[str]:
    """What became of every token in a line, for hovering and for a screen reader.

    Returns
    -------
    list of str
        Place; then for every stage score, rank and status, until the token is gone.
    """
    padding, sinks, query = geometry.padding(), _sinks(found), found.query
    ranks = [_ranks(stage) for stage in found.trace.stages]
    through = snapshots(found.trace)
    lines = []
    for token in range(found.trace.num_visual):
        parts = [f"patch {token} ({geometry.place(token)})"]
        parts += ["padding"] if token in padding else []
        parts += ["forced to stay"] if token in query.keep else []
        parts += ["forced to go"] if token in query.drop else []
        parts += [f"sink in layers {', '.join(map(str, sinks[token]))}"] if token in sinks else []
        for before, after, rank in zip(through, through[1:], ranks, strict=False):
            status = before.tokens[token]
            if status.state == DROPPED:
                break
            own = token if status.group is None else found.trace.num_visual + status.group
            parts.append(_event(token, after, rank.get(own), len(rank)))
        lines.append(" · ".join(parts))
    return lines


def _event(token: int, after: Snapshot, scored: tuple[float, int] | None, of: int) -> str:
    """What a stage did to a token; ``scored`` is its score and rank, or that of its group."""
    status = after.tokens[token]
    score = "" if scored is None else f"score {scored[0]:.2e}, rank {scored[1]} of {of}, "
    what = status.state
    if status.state == RECYCLED:
        size = len(after.groups[status.group])
        what = f"recycled into group {status.group} of {size} patches"
    return f"{stage_name(after.layer)}: {score}{what}"


def _ranks(stage: StageTrace) -> dict[int, tuple[float, int]]:
    """Score and rank by id; equal scores share the best rank."""
    first: dict[float, int] = {}
    for rank, value in enumerate(sorted(stage.scores, reverse=True), start=1):
        first.setdefault(value, rank)
    pairs = zip(stage.score_ids, stage.scores, strict=True)
    return {identity: (value, first[value]) for identity, value in pairs}


def _sinks(found: Exploration) -> dict[int, list[int]]:
    """Layers in which a token is a sink, by token."""
    layers: dict[int, list[int]] = {}
    for rows, tokens in zip(found.attention.layers, found.attention.sinks, strict=True):
        for token in tokens:
            layers.setdefault(token, []).append(rows.layer)
    return layers
