"""A budget per tile: each view of a picture, the whole and its tiles, is pruned for itself.

A shared budget lets all tokens of a picture compete for one number, which may leave nothing of a
tile. Here every view has its share of that number, so both ways leave as many tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

from sparsevlm.core.interface import Groups, PruningContext, Selection, StagedPruner
from sparsevlm.core.schedule import PruningStage, kept_count, recycled_counts
from sparsevlm.methods.bases import PrunerWrapper

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PerTile(PrunerWrapper):
    """Another pruner, asked about each view of a picture as about a picture of its own.

    At every stage the views together are left with as many tokens as the pruner alone would leave
    of the picture, in the shares of `shares`; a view whose share is too small for the groups that
    it recycles into has a few more.

    Parameters
    ----------
    inner
        A pruner with counts in all its stages.

    Raises
    ------
    ValueError
        If its counts follow the question, it has no stage, or it looks into the vision tower.
    """

    inner: StagedPruner

    batched = False

    def __post_init__(self) -> None:
        lack = None
        if not self.inner.stages:
            lack = "never prunes"
        elif any(stage.keep is None for stage in self.inner.stages):
            lack = "decides at run time how many tokens stay"
        elif self.inner.needs_tower:
            lack = "looks into the vision tower, at a picture as a whole"
        if lack:
            raise ValueError(
                f'budget="per_tile" gives every tile its share of a count, and {self.name} {lack}; '
                'use budget="shared", or a method with counts such as sparsevlm, fastv or pdrop'
            )

    def to_json(self) -> dict:
        """The method's own, and how its budget is to be read."""
        return {**self.inner.to_json(), "budget": "per_tile"}

    def select(self, context: PruningContext) -> Selection:
        """Ask about every view, and join the answers.

        Raises
        ------
        ValueError
            For a model that has no tiles, and a method that sorts the tokens anew.
        """
        if "views" not in context.cache:
            context.cache["views"] = _Views(context)
        views = context.cache["views"]
        keep = self.inner.keep_at(context.layer)
        parts = shares(self._left(keep, context.num_current), views.sizes)
        found = []
        for view, part, count in zip(views.of(context), parts, views.counts, strict=True):
            if not count:
                continue
            one = self._of(context.layer, part, count).select(view)
            if one.order is not None:
                raise ValueError(
                    f"{self.name} sorts the tokens that it hands over, which views that lie row by "
                    'row between each other cannot take; use budget="shared"'
                )
            if not part:  # asked for its scores alone
                one = Selection(one.keep[:0], scores=one.scores, raters=one.raters)
            found.append((view, one))
        return views.join(context, found)

    def _left(self, keep: int, count: int) -> int:
        """Tokens that a stage leaves of so many, recycled ones included."""
        recycle = getattr(self.inner, "recycle", 0)
        kept = kept_count(keep, count, getattr(self.inner, "always_drop", False), recycle)
        return kept + recycled_counts(count - kept, recycle)[1]

    def _of(self, layer: int, part: int, count: int) -> Any:
        """The method with the one stage that leaves a part of so many tokens."""
        fitting = (keep for keep in range(part, 1, -1) if self._left(keep, count) <= part)
        keep = next(fitting, 1)
        changed: dict[str, Any] = {"stages": (PruningStage(layer, keep),)}
        if self._left(keep, count) < part:  # one is dropped of another view
            changed["always_drop"] = False
        return replace(self.inner, **changed)


@lru_cache(maxsize=256)
def shares(total: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Parts of a number of tokens in proportion to the sizes of the views, by Sainte-Laguë.

    Unlike by largest remainders, no part grows where the number falls: so a later stage never
    keeps more of a view than an earlier one.

    Parameters
    ----------
    total
        At most the sum of ``sizes``.
    sizes
        Tokens of every view before any stage.

    Returns
    -------
    tuple of int
        As many parts, none above its size; of equal claims the first view's is met first.
    """
    claims = ((2 * n + 1) / size for size in sizes for n in range(size))
    of = (view for view, size in enumerate(sizes) for _ in range(size))
    met = Counter(view for _, view in sorted(zip(claims, of, strict=True))[:total])
    return tuple(met[view] for view in range(len(sizes)))


class _Views:
    """The views of one picture, from stage to stage.

    Attributes
    ----------
    sizes, counts
        Tokens of every view before any stage, and now.
    caches, created
        Of every view: its `PruningContext.cache`, and how many recycled tokens it has had.
    first
        Of every view: its original tokens.
    labels, ids
        By `PruningContext.source`: the view of a token, and its ``source`` within the view.
    """

    def __init__(self, context: PruningContext) -> None:
        import torch

        labels, self.grids = context.seen.views()
        self.sizes = self.counts = tuple(map(prod, self.grids))
        self.caches: list[dict] = [{} for _ in self.sizes]
        self.created = [0] * len(self.sizes)
        self.labels = labels.to(context.visual.device)
        self.first = self.labels.argsort(stable=True).split(self.sizes)
        counted = [torch.arange(size, device=self.labels.device) for size in self.sizes]
        self.ids = torch.cat(counted).scatter(0, torch.cat(self.first), torch.cat(counted))

    def of(self, context: PruningContext) -> list[_View]:
        """What each of them shows; the host knows the counts, and waits for no value."""
        order = self.labels[context.source].argsort(stable=True).split(self.counts)
        mean = cache(context.attention_mean)  # of the picture: the same for every view
        return [_View(context, self, mean, *one) for one in enumerate(order)]

    def join(self, context: PruningContext, found: Sequence[tuple[_View, Selection]]) -> Selection:
        """One selection of the picture from those of its views."""
        import torch

        counts = [0] * len(self.sizes)
        for view, one in found:
            counts[view.number] = len(one.keep) + (0 if one.vectors is None else len(one.vectors))
        self.counts = tuple(counts)
        keep = torch.cat([view.places[one.keep] for view, one in found]).sort().values
        scores = [one.scores for _, one in found if one.scores is not None]
        raters = [one.raters for _, one in found if one.raters is not None]
        scored = rated = None
        if len(scores) == len(found):
            places = torch.cat([view.places for view, _ in found])
            scored = torch.cat(scores).scatter(0, places, torch.cat(scores))
        if raters:
            # Whoever rated a view, once; the last place is for none.
            words = torch.arange(context.num_text, device=keep.device)
            among = torch.zeros(context.num_text + 1, dtype=torch.bool, device=keep.device)
            among.index_fill_(0, torch.cat(raters) % (context.num_text + 1), True)
            rated = words.where(among[:-1], -1)
        return Selection(keep, *self._merged(found), scored, rated)

    def _merged(
        self, found: Sequence[tuple[_View, Selection]]
    ) -> tuple[Groups | None, Tensor | None, Tensor | None]:
        """Groups, vectors and anchors of the picture; noted are the tokens that they become."""
        import torch

        made = 0
        vectors: list[Tensor] = []
        parts: dict[str, list[Tensor]] = {
            name: [] for name in ("members", "labels", "alone", "anchors", "of", "ids")
        }
        for view, one in found:
            if one.groups is None or one.vectors is None:
                continue
            count, alone, anchors = len(one.vectors), one.groups.alone, one.anchors
            merged = torch.arange(count, device=view.places.device)
            parts["members"].append(view.places[one.groups.members])
            parts["labels"].append(one.groups.labels + made)
            parts["of"].append(torch.full_like(merged, view.number))
            if anchors is not None:
                parts["anchors"].append(view.places[anchors])
            if alone is not None:
                parts["alone"].append(alone)
                merged = (~alone).cumsum(0) - 1
            parts["ids"].append(merged + self.sizes[view.number] + self.created[view.number])
            self.created[view.number] += count
            made += count
            vectors.append(one.vectors)
        if not vectors:
            return None, None, None
        whole = {name: torch.cat(some) if some else None for name, some in parts.items()}
        members, labels, alone, anchors, of, ids = whole.values()
        assert members is not None and labels is not None and of is not None and ids is not None
        if alone is not None:
            # A token that goes on as itself has no new number: the others are counted first.
            order = alone.long().argsort(stable=True)
            of, ids = of[order], ids[order]
        self.labels, self.ids = torch.cat([self.labels, of]), torch.cat([self.ids, ids])
        return Groups(members, labels, alone), torch.cat(vectors), anchors


class _View(PruningContext):
    """A `PruningContext` of one view; what it does not define is that of the picture."""

    def __init__(
        self, whole: PruningContext, views: _Views, mean: Callable[[], Tensor], number: int,
        places: Tensor,
    ) -> None:  # fmt: skip
        self.__dict__.update(
            whole=whole, number=number, places=places, _views=views, _mean=mean,
            cache=views.caches[number], num_visual=views.sizes[number], grid=views.grids[number],
            static=whole.static, seen=_Sights(whole.seen, places),
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    @cached_property
    def visual(self) -> Tensor:
        """See `PruningContext`."""
        return self.whole.visual[self.places]

    @cached_property
    def source(self) -> Tensor:
        """See `PruningContext`."""
        return self._views.ids[self.whole.source[self.places]]

    @cached_property
    def inputs_visual(self) -> Tensor:
        """See `PruningContext`."""
        return self.whole.inputs_visual[self._views.first[self.number]]

    @cached_property
    def rotary_visual(self) -> tuple[Tensor, Tensor]:
        """See `PruningContext`."""
        cos, sin = self.whole.rotary_visual
        return cos[self.places], sin[self.places]

    def attention_rows(self, rows: Tensor) -> Tensor:
        """See `PruningContext`."""
        return self.whole.attention_rows(rows)[..., self.places]

    def attention_mean(self) -> Tensor:
        """See `PruningContext`."""
        return self._mean()[self.places]

    def prompt_key(self) -> int:
        """See `PruningContext`; another one for every view, or all would be drawn alike."""
        return self.whole.prompt_key() + self.number


class _Sights:
    """What few methods look at, of one view."""

    def __init__(self, whole: Any, places: Tensor) -> None:
        self._whole, self._places = whole, places

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    @property
    def keys_visual(self) -> Tensor:
        """See `sparsevlm.runtime.context.Sights`."""
        return self._whole.keys_visual[self._places]
