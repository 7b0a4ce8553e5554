"""The Pruner contract, and SparseVLM with its named variants.

A pruner is a small frozen dataclass. It decides, from a read-only view of one sample, which visual
tokens stay; `pruning.py` acts on the decision. This module imports without torch, so that settings
can be built, compared and hashed in a moment; the tensor modules load with the first decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from sparsevlm.schedule import (
    RECYCLE_FRACTION,
    Cut,
    check_cuts,
    kept_count,
    recycled_counts,
)

if TYPE_CHECKING:
    from torch import Tensor

POSITIONS = ("renumbered", "original")


@dataclass(frozen=True)
class View:
    """What a pruner may look at: one sample at one cut. Read-only.

    Attributes
    ----------
    layer
        The cut comes after this 0-based layer (-1: before layer 0).
    num_layers
        Decoder layers of the model.
    visual, text
        Hidden states of the current visual tokens ``[num_current, hidden]`` and of the prompt's
        text tokens after the image ``[num_text, hidden]``.
    source
        ``[num_current]`` int64: the original index of a visual token, or ``num_visual + j`` for
        the j-th recycled token of this sample.
    num_visual
        Visual tokens of the image before any cut.
    grid
        (rows, columns) of the original visual tokens, where known.
    inputs_visual, inputs_text
        The same tokens at the input of layer 0, before any cut.
    attention_rows
        Function of ``[num_rows]`` positions in the text; returns the attention of these rows to
        the current visual tokens, ``[heads, num_rows, num_current]``, softmax over all tokens.
    prompt_key
        Function without arguments; an integer that depends on the prompt's ids and pixels only.
    memo
        Dictionary that lives for one prefill of one sample.
    """

    layer: int
    num_layers: int
    visual: Tensor
    text: Tensor
    source: Tensor
    num_visual: int
    grid: tuple[int, int] | None
    inputs_visual: Tensor
    inputs_text: Tensor
    attention_rows: Callable[[Tensor], Tensor]
    prompt_key: Callable[[], int]
    memo: dict = field(default_factory=dict)

    @property
    def num_current(self) -> int:
        """Number of visual tokens before this cut."""
        return self.visual.shape[0]

    @property
    def num_text(self) -> int:
        """Number of text tokens after the image."""
        return self.text.shape[0]


@dataclass(frozen=True)
class Groups:
    """Which tokens are merged with which.

    Attributes
    ----------
    members
        ``[n]`` int64 indices into the current visual tokens.
    labels
        ``[n]`` int64 group of each member: a row of `Selection.vectors`.
    """

    members: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Selection:
    """The decision of a pruner for one sample at one cut.

    Attributes
    ----------
    keep
        ``[num_kept]`` int64, ascending, into the current visual tokens.
    groups, vectors
        Merged tokens: who is in them, and ``[num_groups, hidden]``.
    anchors
        ``[num_groups]`` index of the token whose place in the sequence (and original position)
        each vector takes. ``None``: the vectors follow the kept tokens.
    scores
        ``[num_current]``, for the trace. Higher = keep.
    raters
        ``[num_raters]`` positions in the text, for the trace.
    """

    keep: Tensor
    groups: Groups | None = None
    vectors: Tensor | None = None
    anchors: Tensor | None = None
    scores: Tensor | None = None
    raters: Tensor | None = None


@runtime_checkable
class Pruner(Protocol):
    """What `prune` needs from a method.

    Attributes
    ----------
    scored_layer
        ``"this"``: the attention of the layer just run is looked at; ``"next"``: that of the layer
        about to run, at whose entry the cut then is made.
    needs_attention
        Whether `View.attention_rows` is used.
    positions
        ``"renumbered"``: contiguous positions after every cut, and decoding at each layer's own
        cache length. ``"original"``: survivors keep theirs, decoding at the true position.
    """

    scored_layer: str
    needs_attention: bool
    positions: str

    def prunes_after(self, layer: int) -> bool:
        """Whether there is a cut after this 0-based layer."""

    def select(self, view: View) -> Selection:
        """Decide for one sample."""

    def to_json(self) -> dict:
        """Name and fields, canonical, for ids and records."""


@dataclass(frozen=True)
class CutPruner:
    """Base of the pruners that cut after a fixed tuple of layers.

    Parameters
    ----------
    cuts
        Where, and how many stay.
    """

    cuts: tuple[Cut, ...] = ()

    name: ClassVar[str]
    scored_layer: ClassVar[str] = "this"
    needs_attention: ClassVar[bool] = True
    positions: ClassVar[str] = "original"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cuts", check_cuts(self.cuts))
        self._check_level()

    def _check_level(self) -> None:
        if any(cut.keep is None for cut in self.cuts):
            raise ValueError(f"{self.name} needs a keep count in every cut, got {self.cuts}")

    def prunes_after(self, layer: int) -> bool:
        """Whether there is a cut after this 0-based layer."""
        return any(cut.after_layer == layer for cut in self.cuts)

    def keep_at(self, layer: int) -> int | None:
        """The count of the cut after this layer."""
        return next(cut.keep for cut in self.cuts if cut.after_layer == layer)

    def to_json(self) -> dict:
        """Name and fields, canonical, for ids and records."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["cuts"] = [[cut.after_layer, cut.keep] for cut in self.cuts]
        return {"name": self.name, **values}


@dataclass(frozen=True)
class Dense(CutPruner):
    """No pruning: the dense model, with a trace."""

    name: ClassVar[str] = "dense"
    needs_attention: ClassVar[bool] = False

    def select(self, view: View) -> Selection:
        """Never called: there is no cut."""
        raise RuntimeError("the dense model has no cuts to decide")


@dataclass(frozen=True)
class SparseVLM(CutPruner):
    """SparseVLM: text raters, progressive cuts, recycling. Defaults: the official v1.5.

    Parameters
    ----------
    cuts
        Where, and how many stay. ``Cut(layer)`` without a count for ``level="rank"``.
    raters
        ``"above_mean"`` (v1.5), ``"at_least_mean"`` (paper) or ``"all_text"``.
    level
        ``"fixed"`` (v1.5: the counts of the cuts) or ``"rank"`` (paper: lambda (L_v - rank P)).
    strength
        The paper's lambda in (0, 1], for ``level="rank"``. ``None``: solved for from ``tokens``
        at every cut.
    tokens
        The budget that a rank-based level is solved for.
    recycle
        Share of the dropped tokens that is recycled; 0 for none.
    merge, assignment
        ``"mean"``, ``"l2"`` (v1.5) or ``"sum"``, ``"cosine"`` (paper).
    ties
        Equal densities: ``"index"`` (in place of the official random noise) or ``"strict"`` (the
        official code with its noise set to 0).
    positions
        ``"renumbered"`` (official) or ``"original"``; a merged token then takes the position of
        its group's centre.
    variant
        Name of the variant, for records.

    Raises
    ------
    ValueError
        For an unknown option or options that contradict each other.

    Source
    ------
    Paper, section 3; official v1.5 (`modelling_sparse_llama.py`, `score.py`, `utils.py`).

    Difference
    ----------
    See DEVIATIONS.md.
    """

    raters: str = "above_mean"
    level: str = "fixed"
    strength: float | None = None
    tokens: int | None = None
    recycle: float = RECYCLE_FRACTION
    merge: str = "mean"
    assignment: str = "l2"
    ties: str = "index"
    positions: str = "renumbered"
    variant: str = "v1.5"

    name: ClassVar[str] = "sparsevlm"

    def __post_init__(self) -> None:
        options = {
            "raters": ("above_mean", "at_least_mean", "all_text"),
            "level": ("fixed", "rank"),
            "merge": ("mean", "sum"),
            "assignment": ("l2", "cosine"),
            "ties": ("index", "strict"),
            "positions": POSITIONS,
        }
        for option, known in options.items():
            if getattr(self, option) not in known:
                got = getattr(self, option)
                raise ValueError(f"{option} must be one of {', '.join(known)}; got {got!r}")
        if isinstance(self.recycle, bool) or not 0 <= self.recycle < 1:
            raise ValueError(f"recycle must be a share from 0 to below 1, got {self.recycle!r}")
        super().__post_init__()

    def _check_level(self) -> None:
        if self.level == "fixed":
            super()._check_level()
            return
        if self.strength is None and self.tokens is None:
            raise ValueError('level="rank" needs strength (the paper\'s lambda) or tokens')
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, got {self.strength!r}")

    def select(self, view: View) -> Selection:
        """Rate, choose the level, keep the best and recycle the best of the rest."""
        import torch

        from sparsevlm.raters import select_raters
        from sparsevlm.rating import rate, score
        from sparsevlm.recycling import reconstruct, select_top

        if "raters" not in view.memo:
            view.memo["raters"] = select_raters(view.inputs_visual, view.inputs_text, self.raters)
        raters = view.memo["raters"]
        rating = rate(view.attention_rows(raters))
        scores = score(rating)
        kept = self._num_kept(view, rating)
        if kept == view.num_current:
            keep = torch.arange(kept, device=scores.device)
            return Selection(keep, scores=scores, raters=raters)
        num_recycled, num_groups = recycled_counts(view.num_current - kept, self.recycle)
        keep, members = select_top(scores, kept, num_recycled)
        if not num_groups:
            return Selection(keep, scores=scores, raters=raters)
        vectors, labels, centres = reconstruct(
            view.visual[members], num_groups, self.merge, self.assignment, self.ties
        )
        anchors = members[centres] if self.positions == "original" else None
        return Selection(keep, Groups(members, labels), vectors, anchors, scores, raters)

    def _num_kept(self, view: View, rating: Tensor) -> int:
        if self.level == "fixed":
            return kept_count(self.keep_at(view.layer), view.num_current, self.recycle)
        from sparsevlm.sparsity import num_dropped, numerical_rank

        rank = numerical_rank(rating)
        strength = self._strength(view, rank)
        kept = view.num_current - num_dropped(view.num_current, rank, strength)
        # Never everything: a rating of rank 0 (all zero) must still leave one token.
        kept = max(kept, 1)
        groups = recycled_counts(view.num_current - kept, self.recycle)[1]
        view.memo.setdefault("left", []).append((view.layer, kept + groups))
        return kept

    def _strength(self, view: View, rank: int) -> float:
        if self.strength is not None:
            return self.strength
        from sparsevlm.sparsity import solve_strength

        layers = [cut.after_layer for cut in self.cuts if cut.after_layer >= view.layer]
        ends = [*layers[1:], view.num_layers]
        spans = [end - max(start, 0) for start, end in zip(layers, ends, strict=True)]
        total = self.tokens * view.num_layers
        current, start = view.num_visual, 0
        for layer, left in view.memo.get("left", []):
            total -= current * (layer - start)
            current, start = left, layer
        total -= current * (max(view.layer, 0) - start)
        return solve_strength(view.num_current, rank, spans, total, self.recycle)
