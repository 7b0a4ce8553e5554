"""VisionZip: the patches that the CLS token looks at, and means of the others.

Source
------
VisionZip (arXiv 2412.04467), Algorithms 1 and 2; behavior of the official `clip_encoder.py`
(`CLIPVisionTower_VisionZip.forward`). The paper averages a cluster; the code, which is followed
here, adds the mean of its members to its seed.

Difference
----------
The counts for 192, 128 and 64 tokens are split as in its README and scaled to any budget. What is
merged is what the projector is given, which in Mini-Gemini is more than the tower's output. A video
keeps one CLS token per frame (DEVIATIONS.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sparsevlm.core.interface import Groups, PruningContext, Selection
from sparsevlm.methods.bases import AtInput

if TYPE_CHECKING:
    from torch import Tensor

CONTEXTUAL = 10 / 64  # of the budget


@dataclass(frozen=True)
class VisionZip(AtInput):
    """CLS, then dominant patches in raster order, then contextual tokens."""

    name: ClassVar[str] = "visionzip"
    needs_tower = True

    def select(self, context: PruningContext) -> Selection:
        """Keep by CLS attention; merge the others by their keys, before the projector."""
        import torch

        count = self.count(context)
        if count == context.num_current:
            return Selection(torch.arange(count, device=context.visual.device))
        tower = context.seen.tower()
        contextual = round(count * CONTEXTUAL)
        patches = count - contextual - len(tower.cls)
        if patches < len(tower.cls_places):
            raise ValueError(
                f"VisionZip keeps the CLS token of every frame; {count} tokens are too few for "
                f"{max(len(tower.cls), len(tower.cls_places))} of them: give a larger budget"
            )
        scores = tower.attention.sum(dim=0)
        for place in tower.cls_places:
            scores[place] = torch.inf
        keep, seeds, members, labels = split(scores, tower.keys, patches, contextual)
        merged = merge(tower.features.float(), seeds, members, labels)
        rows = torch.cat([tower.cls.to(tower.features), merged.to(tower.features)])
        vectors = tower.project(rows).to(context.visual)
        created = torch.arange(len(rows), device=keep.device)
        own = created[len(tower.cls) :]
        first, last = created[: len(tower.cls)] + len(keep), own + len(keep)
        return Selection(
            keep,
            Groups(torch.cat([seeds, members]), torch.cat([own, labels + len(tower.cls)])),
            vectors,
            order=torch.cat([first, torch.arange(len(keep), device=keep.device), last]),
        )


def split(
    scores: Tensor, keys: Tensor, dominant: int, contextual: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which patches stay, and which are merged into which.

    Parameters
    ----------
    scores
        ``[n]`` CLS attention, summed over heads.
    keys
        ``[n, head_dim]``, compared by cosine.
    dominant, contextual
        Patches that stay, and means that are made of the others; fewer where fewer are left.

    Returns
    -------
    keep, seeds, members, labels
        Ascending indices of the patches that stay; those, evenly spaced among the others, that
        the means start from; the rest, and the number of the seed that each is nearest to.
    """
    import torch
    from torch.nn.functional import normalize

    order = scores.argsort(descending=True, stable=True)
    keep, rest = order[:dominant].sort().values, order[dominant:].sort().values
    step = max(1, len(rest) // max(contextual, 1))
    places = torch.arange(len(rest), device=rest.device)
    is_seed = (places % step == 0) & (places < step * contextual)
    seeds, members = rest[is_seed], rest[~is_seed]
    if not len(seeds):
        return keep, seeds, seeds, seeds
    unit = normalize(keys.float(), dim=-1)
    return keep, seeds, members, (unit[members] @ unit[seeds].T).argmax(dim=1)


def merge(features: Tensor, seeds: Tensor, members: Tensor, labels: Tensor) -> Tensor:
    """``[seeds, channels]``: each seed plus the mean of its members; alone where it has none."""
    total = features.new_zeros(len(seeds), features.shape[1])
    total.index_add_(0, labels, features[members])
    sizes = features.new_zeros(len(seeds)).index_add_(0, labels, features.new_ones(len(labels)))
    return features[seeds] + total / sizes.clamp_min(1)[:, None]
