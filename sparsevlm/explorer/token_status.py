"""What became of every visual token, and what that costs, from a trace."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from sparsevlm.explorer.exploration import Exploration, ModelInfo
from sparsevlm.explorer.geometry import Geometry
from sparsevlm.methods.grids import token_cells
from sparsevlm.models.sizes import kv_bytes, prefill_flops
from sparsevlm.runtime.trace import SampleTrace, StageTrace

KEPT, DROPPED, RECYCLED = "kept", "dropped", "recycled"


@dataclass(frozen=True)
class TokenStatus:
    """What has become of one original token: it is "kept", "recycled" into a group, or "dropped".

    A recycled token has the number of its group, from 0, by which it goes through all stages.
    `since` is the layer after which a token lost its own place; ``None`` for a kept one.
    """

    state: str
    group: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """The visual tokens between two stages, one status per original token.

    `layer` is that after which the stage before was, ``None`` before any; `groups` has the original
    tokens of every group that is there, by its number.
    """

    layer: int | None
    tokens: tuple[TokenStatus, ...]
    groups: dict[int, tuple[int, ...]]

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
    found = [Snapshot(None, (TokenStatus(KEPT),) * count, {})]
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
        found.append(Snapshot(stage.layer, tokens, groups))
    return tuple(found)


def _lost(before: TokenStatus, stage: StageTrace, group: int | None) -> TokenStatus:
    # A token that was dropped, or recycled, stays so since then.
    state = DROPPED if group is None else RECYCLED
    return TokenStatus(state, group, before.since if before.state == state else stage.layer)


def group_hues(trace: SampleTrace, number: int) -> dict[int, int]:
    """A hue for every group, from 0, so that groups which ever lie side by side differ.

    Groups are colored one by one, first those with the most hues beside them already (DSATUR). One
    that has all ``number`` hues beside it takes the one that it touches least.
    """
    beside = _touching_groups(trace)
    hues: dict[int, int] = {}
    used: Counter[int] = Counter()
    while left := [group for group in beside if group not in hues]:
        group = max(left, key=lambda one: (len({hues.get(other) for other in beside[one]} - {None}),
                                           len(beside[one]), -one))  # fmt: skip
        touched: Counter[int] = Counter()
        for other, times in beside[group].items():
            if other in hues:
                touched[hues[other]] += times
        hues[group] = min(range(number), key=lambda hue: (touched[hue], used[hue], hue))
        used[hues[group]] += 1
    return hues


def _touching_groups(trace: SampleTrace) -> dict[int, Counter[int]]:
    """For every group, how often patches of another lie beside or at a corner of its own."""
    cells = token_cells(trace.grid or (1, trace.num_visual), trace.num_visual)
    beside: dict[int, Counter[int]] = {}
    for shot in snapshots(trace)[1:]:
        at = {cells[token]: group for group, tokens in shot.groups.items() for token in tokens}
        for group in shot.groups:
            beside.setdefault(group, Counter())
        for (frame, row, column), group in ((c, g) for c, g in at.items() if c):
            for y, x in ((row, column + 1), *((row + 1, column + step) for step in (-1, 0, 1))):
                other = at.get((frame, y, x), group)
                if other != group:
                    beside[group][other] += 1
                    beside[other][group] += 1
    return beside


def stages_before(trace: SampleTrace, position: int) -> int:
    """How many stages lie before a position of the layer slider: an index into `snapshots`.

    Position 0 is the input of layer 0, i what layer i - 1 leaves, a stage after it included.
    """
    return sum(stage.layer < position for stage in trace.stages)


def stage_positions(trace: SampleTrace) -> list[int]:
    """Positions of the slider at which something is pruned."""
    return [stage.layer + 1 for stage in trace.stages]


def stage_name(layer: int) -> str:
    """Where a stage is, in words."""
    return "at the input" if layer < 0 else f"after layer {layer}"


def prefill_cost(found: Exploration, model: ModelInfo) -> list[tuple[str, str, str]]:
    """Name, value and explanation of what Table 1 counts: what a prefill costs on paper.

    Operations are counted as the paper does. Text tokens are in them and in the bytes of the cache,
    not in the means of tokens.
    """
    trace, sizes, size = found.trace, model.sizes, model.bytes_per_value
    entering = [tokens + found.num_text for tokens in trace.tokens_in]
    whole = [trace.num_visual + found.num_text] * len(entering)
    flops, dense_flops = (prefill_flops(counts, sizes) for counts in (entering, whole))
    kv, dense_kv = (kv_bytes(counts, sizes, bytes_per_value=size) for counts in (entering, whole))
    return [
        ("tokens out", f"{fmean(trace.tokens_out):.1f}",
         "visual tokens that a layer leaves, recycled ones included, mean over layers: the "
         "budget of the paper"),
        ("tokens in", f"{fmean(trace.tokens_in):.1f}",
         "visual tokens that enter a layer, mean over layers: what is computed and stored"),
        ("FLOPs", f"{flops / dense_flops:.0%}",
         f"of the dense prefill, text included: {_si(flops)} of {_si(dense_flops)}"),
        ("KV cache", f"{kv / dense_kv:.0%}",
         f"of the dense one, text included: {_si(kv)}B of {_si(dense_kv)}B"),
    ]  # fmt: skip


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} "


def token_histories(found: Exploration, geometry: Geometry) -> list[str]:
    """What became of every token in a line, for hovering and for a screen reader.

    Its place, then for every stage score, rank and status, until the token is gone.
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
