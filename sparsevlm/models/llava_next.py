"""LLaVA-NeXT (LLaVA-1.6): a picture as a whole and once more in tiles, of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution

from sparsevlm.models.vision import VisionLanguageModel
from sparsevlm.runtime.adapter import Grid, Picture


def unpadded(size: Sequence[int], config: Any) -> Grid:
    """(rows, columns) of the tokens of the tiles of a picture, laid together, without padding.

    Parameters
    ----------
    size
        Height and width of the picture in pixels.
    config
        Of the model.

    Source
    ------
    LLaVA-NeXT's "spatial_unpad", as transformers has it: the tiles are laid together, and what
    padding put on the shorter side is taken off again. Difference: none.
    """
    rows, columns = (count * side_of(config) for count in tiles(size, config))
    height, width = size
    if width / height > columns / rows:
        rows -= (rows - int(round(height * (columns / width), 7))) // 2 * 2
    else:
        columns -= (columns - int(round(width * (rows / height), 7))) // 2 * 2
    return rows, columns


def tile_tokens(size: Sequence[int], config: Any) -> Grid:
    """(rows, columns) of the tokens that the tiles of a picture leave, without the newlines.

    Parameters
    ----------
    size, config
        As `unpadded`.

    Source
    ------
    LLaVA-OneVision's "anyres_max_9": more tokens than 1.1^2 times those of nine tiles are shrunk to
    those. LLaVA-NeXT's model has no such limit. Difference: none.
    """
    rows, columns = unpadded(size, config)
    if limit := getattr(config, "vision_aspect_ratio", None):
        most = int(limit.removeprefix("anyres_max_")) * side_of(config) ** 2
        if (ratio := math.sqrt(rows * columns / most)) > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
    return rows, columns


def tiles(size: Sequence[int], config: Any) -> Grid:
    """(rows, columns) of the tiles that a picture is cut into.

    Parameters
    ----------
    size, config
        As `unpadded`.
    """
    best = select_best_resolution(tuple(size), config.image_grid_pinpoints)
    return tuple(pixels // config.vision_config.image_size for pixels in best)


def num_tokens(size: Sequence[int], config: Any) -> int:
    """Visual tokens of a picture: of the whole, of its tiles, and a newline after each row of them.

    Parameters
    ----------
    size, config
        As `tile_tokens`.
    """
    rows, columns = tile_tokens(size, config)
    return side_of(config) ** 2 + rows * (columns + 1)


def views_of(size: Sequence[int], config: Any) -> tuple[Tensor, list[Grid]]:
    """Which view each token of a picture is of: 0 for the whole, then the tiles row by row.

    A newline is of the tile to its left. Tiles of which nothing is left are none. Where tokens were
    shrunk, the middle of one says which tile it is of.

    Parameters
    ----------
    size, config
        As `tile_tokens`.

    Returns
    -------
    labels, grids
        ``[num_tokens]`` int64, and (rows, columns) of each view, a column of newlines included.
    """
    side = side_of(config)
    lengths = tile_tokens(size, config), unpadded(size, config), tiles(size, config)
    rows, columns = (  # padding was taken off on both sides alike
        ((2 * torch.arange(left) + 1) * whole // (2 * max(left, 1)) + (n * side - whole) // 2)
        // side
        for left, whole, n in zip(*lengths, strict=True)
    )
    columns = torch.cat([columns, columns[-1:].sum(0, keepdim=True)])
    parts = [part.unique(return_inverse=True, return_counts=True) for part in (rows, columns)]
    (_, row, heights), (_, column, widths) = parts
    tile = 1 + row[:, None] * len(widths) + column
    grids: list[Grid] = [(side, side), *product(heights.tolist(), widths.tolist())]
    return torch.cat([tile.new_zeros(side**2), tile.flatten()]), grids


def side_of(config: Any) -> int:
    """Patches along a side of a view."""
    return config.vision_config.image_size // config.vision_config.patch_size


class LlavaNext(VisionLanguageModel):
    """`LlavaNextForConditionalGeneration`: visual tokens are the image placeholders.

    First come those of the whole picture, then those of its tiles laid together, row by row, each
    row with a newline behind it. All of them compete for one number of tokens per picture, or each
    view has its share (`sparsevlm.methods.per_tile`), a newline with the tile to its left.
    """

    tower_lack = "pictures in tiles, with newlines among their tokens that no tower made"
    towers = ("vision_tower",)
    has_cls: ClassVar[bool] = True

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        super().__init__(model, visual_mask)
        self.firsts: list[Tensor] = []  # of the views encoded last
        if self.has_cls and (strategy := self.config.vision_feature_select_strategy) != "default":
            raise ValueError(
                f"this {type(model).__name__} selects {strategy!r} features, whose CLS tokens do "
                'not fit into tiles; set vision_feature_select_strategy="default" in its config'
            )

    def attach(self, hook: Callable) -> None:
        """Watch the vision tower and the projector behind it."""
        super().attach(hook)
        hook(self.base.multi_modal_projector.register_forward_hook, self._note)

    def _note(self, module: object, args: tuple, kwargs: dict, output: Tensor) -> None:
        self.firsts = [*self.firsts, output[:, 0].clone()][-len(self.words) :]

    def visual_mask(self, arguments: dict) -> Tensor:
        """See `VisionLanguageModel.visual_mask`; ValueError for pixels without sizes too."""
        if arguments.get("pixel_values") is not None and arguments.get("image_sizes") is None:
            raise ValueError(
                "pixel_values came without image_sizes [images, 2], the height and width of each "
                "picture, from which the number of its visual tokens follows; give both"
            )
        return super().visual_mask(arguments)

    def given(
        self, arguments: dict, word: str, lengths: Sequence[int]
    ) -> list[tuple[int, Grid | None]]:
        """Tokens of every picture; no grid: the whole and the tiles are two, of different cells.

        Parameters
        ----------
        arguments, word, lengths
            See `VisionLanguageModel.given`.
        """
        made, sizes = self.made(arguments, word), arguments.get("image_sizes")
        if len(made):
            return [(len(one), None) for one in made]
        sizes = [] if sizes is None else sizes.tolist()
        return [(count, None) for count in self.counts(arguments, sizes)]

    def counts(self, arguments: dict, sizes: Sequence[Sequence[int]]) -> list[int]:
        """Tokens of pictures of these sizes in a call with these arguments."""
        return [num_tokens(size, self.config) for size in sizes]

    def views(self, arguments: dict, picture: Picture) -> tuple[Tensor, list[Grid]]:
        """See `Adapter.views` and `views_of`.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.

        Raises
        ------
        ValueError
            If the size of the picture is not known.
        """
        sizes, size = arguments.get("image_sizes"), None
        if sizes is not None and (number := picture.number) is not None:
            if made := [id(one) for one in self.made(arguments, "image")]:
                number = [*dict.fromkeys(made)].index(made[number])  # beams repeat what was made
            size = sizes[number].tolist() if number < len(sizes) else None
        if size is None or num_tokens(size, self.config) != picture.tokens:
            raise ValueError(
                f"which tile each of the {picture.tokens} tokens of a picture is of follows from "
                f"its height and width, and these are {size}; give image_sizes [images, 2] with "
                'the question, or take budget="shared"'
            )
        return views_of(size, self.config)

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """The whole of a picture ``[3, side, side]``, without its tiles.

        Parameters
        ----------
        arguments, picture
            See `Adapter.pixels`.

        Raises
        ------
        ValueError
            If it was encoded ahead of the model, and others after it.
        """
        seen = self.notes.find(arguments, "image")
        if seen is None:
            views = super().pixels(arguments, picture)
            return None if views is None else views[0]
        # `generate` keeps no sizes; a picture's first token is a copy of what was projected.
        assert picture.number is not None, "it was encoded"
        first = self.made(arguments, "image")[picture.number][0]
        for firsts in self.firsts:
            for view, projected in zip(seen.pixels, firsts, strict=False):
                if torch.equal(projected, first):
                    return view
        raise ValueError(
            "this image was not the last that was encoded inside the block of prune(), so which "
            "pixels are its own is not known; give the pixels with the question"
        )
