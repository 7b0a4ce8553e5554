"""A pruner with the user's own choices: patches forced to stay or go, and other raters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsevlm.core.interface import Groups, PruningContext, Selection, StagedPruner
from sparsevlm.methods.bases import PrunerWrapper


@dataclass(frozen=True)
class AdjustedPruner(PrunerWrapper):
    """Another pruner's decisions, edited.

    All that is not edited stays as the method decided, so a patch that is forced to stay is one
    token more, and one that is forced to go is one less. Later stages see the consequences.

    Parameters
    ----------
    keep, drop
        Original indices of visual tokens that stay as themselves at every stage, or go at the
        first. A forced token takes no part in a merge: its group is merged again without it.
    raters
        Positions in the text after the image that rate, in place of the method's own choice; only
        for SparseVLM. ``None``: its own.

    Raises
    ------
    ValueError
        If a token is in both sets, ``raters`` is empty, or the method has no choice of raters.

    Difference
    ----------
    `sparsity_mode="rank"` solves its lam for the tokens its own decisions leave, so the budget is
    missed by the number of forced tokens, as with fixed counts.
    """

    inner: StagedPruner
    keep: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    raters: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        both = sorted(set(self.keep) & set(self.drop))
        if both:
            raise ValueError(f"tokens {both} are forced to stay and to go; choose one")
        if self.raters is None:
            return
        if not self.raters:
            raise ValueError("no word rates: switch at least one rater on")
        if self.inner.name != "sparsevlm":
            raise ValueError(
                f"{self.inner.name} does not choose its raters, so they cannot be switched; "
                "choose a SparseVLM variant"
            )

    def to_json(self) -> dict:
        """The method's own, and what was changed."""
        raters = None if self.raters is None else list(self.raters)
        changed = {"keep": list(self.keep), "drop": list(self.drop), "raters": raters}
        return {**self.inner.to_json(), "adjusted": changed}

    def select(self, context: PruningContext) -> Selection:
        """Ask the method, then edit its answer.

        Raises
        ------
        ValueError
            For a token or rater that does not exist, or if nothing would be left.
        """
        self._check(context)
        if self.raters is not None and "raters" not in context.cache:
            raters = torch.tensor(self.raters, device=context.text.device)
            context.cache["raters"] = raters, None, raters
        selection = self.inner.select(context)
        return self._edited(selection, context) if self.keep or self.drop else selection

    def _check(self, context: PruningContext) -> None:
        wrong = [i for i in (*self.keep, *self.drop) if not 0 <= i < context.num_visual]
        if wrong:
            raise ValueError(f"there are {context.num_visual} visual tokens; cannot force {wrong}")
        wrong = [i for i in self.raters or () if not 0 <= i < context.num_text]
        if wrong:
            raise ValueError(f"there are {context.num_text} text tokens; {wrong} cannot rate")

    def _edited(self, selection: Selection, context: PruningContext) -> Selection:
        """The selection with the forced tokens in or out of it."""

        def is_among(ids: tuple[int, ...]) -> Tensor:
            ids = torch.tensor(ids, device=context.source.device, dtype=torch.int64)
            return torch.isin(context.source, ids)

        stay, go = is_among(self.keep), is_among(self.drop)
        kept = torch.zeros_like(stay)
        kept[selection.keep] = True
        selection = replace(selection, keep=((kept | stay) & ~go).nonzero().flatten())
        if selection.groups is not None:
            merge = getattr(self.inner, "merge", "mean")
            selection = _regrouped(selection, context, stay | go, merge)
        if not len(selection.keep) and selection.vectors is None:
            raise ValueError("nothing would be left: release some of the dropped patches")
        return selection


def _regrouped(
    selection: Selection, context: PruningContext, forced: Tensor, merge: str
) -> Selection:
    """The groups without the forced tokens; a group that loses one is merged again."""
    members, labels, anchors = selection.groups.members, selection.groups.labels, selection.anchors
    out = forced[members]
    anchored = None if anchors is None else forced[anchors]
    vectors = selection.vectors.clone()
    for group in labels[out].unique().tolist():
        rest = members[(labels == group) & ~out]
        if not len(rest):
            continue
        tokens = context.visual[rest].float()
        total = tokens.sum(0) if merge == "sum" else tokens.mean(0)
        vectors[group] = total.to(vectors.dtype)
        if anchored is not None and anchored[group]:
            anchors = anchors.clone()
            anchors[group] = rest[0]
    alive = torch.zeros(len(vectors), dtype=torch.bool, device=labels.device)
    alive[labels[~out]] = True
    if not alive.any():
        return replace(selection, groups=None, vectors=None, anchors=None)
    row, alone = torch.cumsum(alive, 0) - 1, selection.groups.alone
    return replace(
        selection,
        groups=Groups(members[~out], row[labels[~out]], None if alone is None else alone[alive]),
        vectors=vectors[alive],
        anchors=None if anchors is None else anchors[alive],
    )
