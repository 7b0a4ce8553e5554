"""SparseVLM, section 3 of the paper: read `SparseVLM.select` first. And the dense model.

This module imports without torch; the tensor modules load with the first decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import RECYCLE_FRACTION, as_int, kept_count, recycled_counts

OPTIONS = {
    "raters": ("above_mean", "at_least_mean", "all_text", "all_tokens"),
    "sparsity_mode": ("fixed", "rank", "scaled_rank"),
    "merge": ("mean", "sum"),
    "assignment": ("l2", "cosine"),
    "ties": ("index", "strict"),
}


@dataclass(frozen=True)
class Dense(StagedPruner):
    """No pruning: the dense model, with a trace."""

    name: ClassVar[str] = "dense"
    needs_attention = False

    @classmethod
    def for_budget(cls, tokens: None, num_layers: int, num_visual: int) -> Dense:
        """The dense model, which has no budget.

        Raises
        ------
        ValueError
            If ``tokens`` is not ``None``.
        """
        if tokens is not None:
            raise ValueError(f"the dense model has no budget; tokens must be None, got {tokens!r}")
        return cls()

    def select(self, context: PruningContext) -> Selection:
        """Never called: there is no stage."""
        raise RuntimeError("the dense model has no stage to decide for")


@dataclass(frozen=True)
class SparseVLM(StagedPruner):
    """SparseVLM: text raters, progressive stages, recycling. Defaults: the official v1.5.

    Parameters
    ----------
    stages
        After which layers, and how many tokens stay. ``PruningStage(layer)`` without a count where
        the rank decides.
    raters
        ``"above_mean"`` (all releases), ``"at_least_mean"`` (paper); ``"all_text"`` and
        ``"all_tokens"``, visual ones and the system prompt included (both: the paper's Figure 5).
    text
        Whose tokens may be raters: ``"after_image"`` (all releases) or ``"whole_prompt"``, for a
        question that stands before the image; see `Pruner`.
    sparsity_mode
        ``"fixed"`` (v1.5, SparseVLM+: the counts of the stages), ``"rank"`` (paper: lambda (L_v -
        rank P) are dropped) or ``"scaled_rank"`` (v1.0, video: rank * scale + bias are kept).
    lam
        The paper's lambda in (0, 1], for ``sparsity_mode="rank"``. ``None``: solved for from
        ``tokens`` at every stage.
    tokens
        The budget that ``sparsity_mode="rank"`` is solved for.
    scale, bias
        For ``sparsity_mode="scaled_rank"``.
    always_drop
        ``sparsity_mode="fixed"``: whether every stage drops at least one token, even where there
        are fewer than it keeps (all releases).
    recycle
        Share of the dropped tokens that is recycled; 0 for none (SparseVLM+).
    merge, assignment
        ``"mean"``, ``"l2"`` (all releases) or ``"sum"``, ``"cosine"`` (paper).
    ties
        Equal densities: ``"index"`` (in place of the official random noise) or ``"strict"`` (the
        official code with its noise set to 0).
    positions
        ``"renumbered"`` (v1.0, v1.5, video) or ``"original"`` (SparseVLM+); a merged token then
        takes the position of its group's center.
    gravity
        Whether the attention is corrected for distance before it rates (SparseVLM+).
    heads
        Average over this many of the most attentive heads (SparseVLM+: 14); ``None``: over all.
    variant
        Name of the variant, for records.

    Raises
    ------
    ValueError
        For an unknown option or options that contradict each other.

    Source
    ------
    Paper, section 3; the official releases (`modelling_sparse_llama.py`, `score.py`, `utils.py`).
    `variants` names the combinations that exist; DEVIATIONS.md says what differs.
    """

    raters: str = "above_mean"
    text: str = "after_image"
    sparsity_mode: str = "fixed"
    lam: float | None = None
    tokens: int | None = None
    scale: float | None = None
    bias: float = 0.0
    always_drop: bool = True
    recycle: float = RECYCLE_FRACTION
    merge: str = "mean"
    assignment: str = "l2"
    ties: str = "index"
    positions: str = "renumbered"
    gravity: bool = False
    heads: int | None = None
    variant: str = "v1.5"

    name: ClassVar[str] = "sparsevlm"

    def select(self, context: PruningContext) -> Selection:
        """Decide which visual tokens stay after a layer, and what is recycled."""
        # The only lazy import: settings are built and compared without torch.
        from sparsevlm.core import raters, recycling, scoring, sparsity

        n = context.num_current
        rows = chosen = named = rating = None
        if self.raters == "all_tokens":
            # Ablation of Figure 5: instead of 3.2, every token rates.
            scores = context.attention_mean()
        else:
            # 3.2 Text raters: chosen once per prompt, by the embeddings at the input of layer 0.
            if "raters" not in context.cache:
                may_count = not context.static or self.sparsity_mode != "fixed"
                rows, chosen = raters.rater_rows(
                    context.inputs_visual, context.inputs_text, self.raters, may_count
                )
                named = rows if chosen is None else rows.where(chosen, -1)
                context.cache["raters"] = rows, chosen, named
            rows, chosen, named = context.cache["raters"]

            # 3.2 Relevance scores: P is the attention of the raters to the visual tokens, mean
            # over the heads; a token's score is the mean of its column.
            attention = context.attention_rows(rows)
            if self.gravity:
                # For the whole text: a matrix product of few rows sums in another order.
                factors = scoring.gravity(context.rotary_text, context.rotary_visual)
                attention = attention / scoring.pick(factors, rows).unsqueeze(-3)
            if self.heads is not None:
                best = scoring.priority_heads(attention, self.heads, chosen)
                attention = scoring.pick(attention, best, dim=-3)
            rating = scoring.mean_over_heads(attention)
            scores = scoring.score(rating, chosen)

        # 3.3 Sparsification level: how many stay, by the schedule or by the rank of P.
        if self.sparsity_mode == "fixed":
            num_kept = kept_count(self.keep_at(context.layer), n, self.always_drop, self.recycle)
        else:
            rank = sparsity.numerical_rank(rating)
            if self.sparsity_mode == "scaled_rank":
                assert self.scale is not None, "checked when built"
                num_kept = sparsity.num_kept(n, rank, self.scale, self.bias)
            else:
                lam = self.lam
                if lam is None:
                    lam = sparsity.solve_lam(n, rank, *self._left_to_spend(context), self.recycle)
                # At least one: a rating of rank 0 (all zero) must still leave one token.
                num_kept = max(1, n - sparsity.num_dropped(n, rank, lam))

        # 3.4 Keep the best; recycle the best of the rest: cluster them, merge every cluster.
        num_recycled, num_groups = recycled_counts(n - num_kept, self.recycle)
        context.cache.setdefault("left", []).append((context.layer, num_kept + num_groups))
        keep, members = recycling.select_top(scores, num_kept, num_recycled)
        groups = vectors = anchors = None
        if num_groups:
            anchored = self.positions == "original"
            vectors, labels, centers = recycling.reconstruct(
                scoring.pick(context.visual, members), num_groups, self.merge, self.assignment,
                self.ties, needs_centers=anchored,
            )  # fmt: skip
            groups = Groups(members, labels)
            anchors = members.gather(-1, centers) if anchored else None
        return Selection(keep, groups, vectors, anchors, scores, named)

    @property
    def batched(self) -> bool:
        """Whether the counts do not depend on the sample; see `StagedPruner`."""
        return self.sparsity_mode == "fixed"

    def _left_to_spend(self, context: PruningContext) -> tuple[Sequence[int], int]:
        """For this and every later stage the layers that see its tokens; what these may spend."""
        layers = [stage.layer for stage in self.stages if stage.layer >= context.layer]
        ends = [*layers[1:], context.num_layers]
        spans = [end - max(start, 0) for start, end in zip(layers, ends, strict=True)]
        assert self.tokens is not None, "checked when built"
        total = self.tokens * context.num_layers
        current, start = context.num_visual, 0
        for layer, left in context.cache.get("left", []):
            total -= current * (layer - start)
            current, start = left, layer
        return spans, total - current * (max(context.layer, 0) - start)

    def __post_init__(self) -> None:
        for option, known in OPTIONS.items():
            if getattr(self, option) not in known:
                got = getattr(self, option)
                raise ValueError(f"{option} must be one of {', '.join(known)}; got {got!r}")
        super().__post_init__()
        if type(self.recycle) not in (int, float) or not 0 <= self.recycle < 1:
            raise ValueError(f"recycle must be a share from 0 to below 1, got {self.recycle!r}")
        object.__setattr__(self, "recycle", float(self.recycle))
        for count in ("heads", "tokens"):
            if (value := getattr(self, count)) is not None:
                as_int(count, value, 1)
        if self.raters == "all_tokens" and (
            self.sparsity_mode != "fixed" or self.gravity or self.heads is not None
        ):
            raise ValueError(
                'raters="all_tokens" has one score per visual token and no rows of raters, which '
                "the rank, the gravity correction and the choice of heads look at: use "
                'sparsity_mode="fixed", gravity=False and heads=None'
            )

    def _check_sparsity(self) -> None:
        for name in ("lam", "scale", "bias"):
            if (value := getattr(self, name)) is not None:
                if type(value) not in (int, float) or not abs(value) < float("inf"):
                    raise ValueError(f"{name} must be a number, got {value!r}")
                object.__setattr__(self, name, float(value))
        for name in ("always_drop", "gravity"):
            if type(value := getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be True or False, got {value!r}")
        if self.sparsity_mode == "fixed":
            super()._check_sparsity()
            return
        if self.sparsity_mode == "scaled_rank":
            if self.scale is None or self.scale < 0:
                raise ValueError(
                    'sparsity_mode="scaled_rank" needs scale, the factor of the rank (official: '
                    f"13.5, 9 or 0.8; video: 1), got {self.scale!r}"
                )
            return
        if self.lam is None and self.tokens is None:
            raise ValueError('sparsity_mode="rank" needs lam (the paper\'s lambda) or tokens')
        if self.lam is not None and not 0 < self.lam <= 1:
            raise ValueError(f"lam must be above 0 and at most 1, got {self.lam!r}")
