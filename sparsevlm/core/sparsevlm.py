"""SparseVLM with its named variants, and the dense model.

This module imports without torch; the tensor modules load with the first decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import RECYCLE_FRACTION, is_int, kept_count, recycled_counts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dense(StagedPruner):
    """No pruning: the dense model, with a trace."""

    name: ClassVar[str] = "dense"
    needs_attention: ClassVar[bool] = False

    def select(self, context: PruningContext) -> Selection:
        """Never called: there is no cut."""
        raise RuntimeError("the dense model has no cuts to decide")


@dataclass(frozen=True)
class SparseVLM(StagedPruner):
    """SparseVLM: text raters, progressive stages, recycling. Defaults: the official v1.5.

    Parameters
    ----------
    cuts
        Where, and how many stay. ``PruningStage(layer)`` without a count for a level by rank.
    raters
        ``"above_mean"`` (all releases), ``"at_least_mean"`` (paper); ``"all_text"`` and
        ``"all_tokens"``, visual ones and the system prompt included (both: the paper's Figure 5).
    level
        ``"fixed"`` (v1.5, SparseVLM+: the counts of the stages), ``"rank"`` (paper: lambda (L_v -
        rank P) are dropped) or ``"scaled_rank"`` (v1.0, video: rank * scale + bias are kept).
    lam
        The paper's lambda in (0, 1], for ``sparsity_mode="rank"``. ``None``: solved
        for from ``tokens`` at every cut.
    tokens
        The budget that ``sparsity_mode="rank"`` is solved for.
    scale, bias
        For ``sparsity_mode="scaled_rank"``.
    always_drop
        ``sparsity_mode="fixed"``: whether at least one token is dropped at every cut,
        even where fewer are there than the cut keeps (all releases).
    recycle
        Share of the dropped tokens that is recycled; 0 for none (SparseVLM+).
    merge, assignment
        ``"mean"``, ``"l2"`` (all releases) or ``"sum"``, ``"cosine"`` (paper).
    ties
        Equal densities: ``"index"`` (in place of the official random noise) or ``"strict"`` (the
        official code with its noise set to 0).
    positions
        ``"renumbered"`` (v1.0, v1.5, video) or ``"original"`` (SparseVLM+); a merged token then
        takes the position of its group's centre.
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
    `variants` names the combinations that exist.

    Difference
    ----------
    See DEVIATIONS.md.
    """

    raters: str = "above_mean"
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

    def __post_init__(self) -> None:
        options = {
            "raters": ("above_mean", "at_least_mean", "all_text", "all_tokens"),
            "sparsity_mode": ("fixed", "rank", "scaled_rank"),
            "merge": ("mean", "sum"),
            "assignment": ("l2", "cosine"),
            "ties": ("index", "strict"),
        }
        for option, known in options.items():
            if getattr(self, option) not in known:
                got = getattr(self, option)
                raise ValueError(f"{option} must be one of {', '.join(known)}; got {got!r}")
        if isinstance(self.recycle, bool) or not 0 <= self.recycle < 1:
            raise ValueError(f"recycle must be a share from 0 to below 1, got {self.recycle!r}")
        if self.heads is not None and (not is_int(self.heads) or self.heads < 1):
            raise ValueError(f"heads must be an integer of at least 1, got {self.heads!r}")
        if self.raters == "all_tokens" and (
            self.sparsity_mode != "fixed" or self.gravity or self.heads is not None
        ):
            raise ValueError(
                'raters="all_tokens" has one score per visual token and no rows of raters, which '
                "the rank, the gravity correction and the choice of heads look at: use "
                'sparsity_mode="fixed", gravity=False and heads=None'
            )
        super().__post_init__()

    def _check_sparsity(self) -> None:
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

    def select(self, context: PruningContext) -> Selection:
        """Rate, choose the level, keep the best and recycle the best of the rest."""
        import torch

        from sparsevlm.core.recycling import reconstruct, select_top
        from sparsevlm.core.scoring import score

        raters = rating = None
        if self.raters == "all_tokens":
            scores = context.attention_mean()
        else:
            if "raters" not in context.cache:
                context.cache["raters"] = self._raters(context)
            raters, chosen = context.cache["raters"], context.cache.get("chosen")
            rating = self._rating(context, context.cache.get("rows", raters), chosen)
            scores = score(rating, chosen)
        kept = self._num_kept(context, rating)
        if kept == context.num_current:
            keep = torch.arange(kept, device=scores.device)
            return Selection(keep, scores=scores, raters=raters)
        num_recycled, num_groups = recycled_counts(context.num_current - kept, self.recycle)
        keep, members = select_top(scores, kept, num_recycled)
        if not num_groups:
            return Selection(keep, scores=scores, raters=raters)
        anchored = self.positions == "original"
        vectors, labels, centres = reconstruct(
            context.visual.index_select(0, members), num_groups, self.merge, self.assignment,
            self.ties, needs_centres=anchored,
        )  # fmt: skip
        anchors = members[centres] if anchored else None
        return Selection(keep, Groups(members, labels), vectors, anchors, scores, raters)

    def _raters(self, context: PruningContext) -> Tensor:
        """Positions of the raters, or a mask of the text where no value may be read."""
        import torch

        from sparsevlm.core.raters import rater_mask, select_raters

        given = context.inputs_visual, context.inputs_text, self.raters
        if not context.static or self.raters == "all_text" or self.sparsity_mode != "fixed":
            return select_raters(*given)
        # The host must not learn how many rate: then all text rows are computed.
        chosen = rater_mask(*given)
        rows = torch.arange(len(chosen), device=chosen.device)
        context.cache.update(chosen=chosen, rows=rows)
        return chosen

    def _rating(
        self, context: PruningContext, rows: Tensor, chosen: Tensor | None = None
    ) -> Tensor:
        """The matrix P ``[num_rows, num_visual]``; ``chosen`` rows rate, all by default."""
        from sparsevlm.core.scoring import mean_over_heads

        attention = context.attention_rows(rows)
        if self.gravity:
            from sparsevlm.core.scoring import correct, gravity

            tables = tuple(table[rows] for table in context.rotary_text)
            attention = correct(attention, gravity(tables, context.rotary_visual))
        if self.heads is not None:
            from sparsevlm.core.scoring import priority_heads

            attention = attention[priority_heads(attention, self.heads, chosen)]
        return mean_over_heads(attention)

    def _num_kept(self, context: PruningContext, rating: Tensor | None) -> int:
        if self.sparsity_mode == "fixed":
            keep = self.keep_at(context.layer)
            return kept_count(keep, context.num_current, self.always_drop, self.recycle)
        from sparsevlm.core.sparsity import num_dropped, num_kept, numerical_rank

        rank = numerical_rank(rating)
        if self.sparsity_mode == "scaled_rank":
            return num_kept(context.num_current, rank, self.scale, self.bias)
        lam = self._lam(context, rank)
        kept = context.num_current - num_dropped(context.num_current, rank, lam)
        # Never everything: a rating of rank 0 (all zero) must still leave one token.
        kept = max(kept, 1)
        groups = recycled_counts(context.num_current - kept, self.recycle)[1]
        context.cache.setdefault("left", []).append((context.layer, kept + groups))
        return kept

    def _lam(self, context: PruningContext, rank: int) -> float:
        if self.lam is not None:
            return self.lam
        from sparsevlm.core.sparsity import solve_lam

        layers = [stage.layer for stage in self.stages if stage.layer >= context.layer]
        ends = [*layers[1:], context.num_layers]
        spans = [end - max(start, 0) for start, end in zip(layers, ends, strict=True)]
        total = self.tokens * context.num_layers
        current, start = context.num_visual, 0
        for layer, left in context.cache.get("left", []):
            total -= current * (layer - start)
            current, start = left, layer
        total -= current * (max(context.layer, 0) - start)
        return solve_lam(context.num_current, rank, spans, total, self.recycle)
