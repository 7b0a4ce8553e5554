"""Video-LLaVA: frames of a video, or an image, in front of a Llama."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from sparsevlm.models.tower import TowerStates, TowerView, tower_lack, tower_of
from sparsevlm.models.vision import TowerNotes, check_equal, number_of, placeholders
from sparsevlm.runtime.adapter import Adapter, Grid

# The argument for images had another name in older releases of transformers.
IMAGE_KEYS = ("pixel_values", "pixel_values_images")
KEYS = {"image": IMAGE_KEYS, "video": ("pixel_values_videos",)}


class VideoLlava(Adapter):
    """`VideoLlavaForConditionalGeneration`: visual tokens are the image and video placeholders."""

    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None:
        if visual_mask is not None:
            raise ValueError(
                "a Video-LLaVA model finds its visual tokens itself; leave visual_mask out"
            )
        self.config = model.config
        self.base, self.decoder = model.model, model.model.language_model
        self.tokens = {"image": model.config.image_token_id, "video": model.config.video_token_id}
        self.notes, self.states = TowerNotes(), TowerStates(model.config.vision_feature_layer)
        self.towers = {"image": self.base.image_tower, "video": self.base.video_tower}
        self.tower_lack = tower_lack(model.config)

    def attach(self, hook: Callable) -> None:
        """Watch both vision towers, which `generate` runs ahead of the model."""
        for tower in self.towers.values():
            self.notes.attach(tower, hook)

    def attach_tower(self, hook: Callable) -> None:
        """Watch the layers of both vision towers that are projected."""
        for tower in self.towers.values():
            self.states.attach(tower, hook)

    def tower(self, arguments: dict, visual: Tensor, row: int) -> TowerView:
        """What the vision tower made of this row's image, or of the frames of its video.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.tower`.
        """
        word = next(word for word in KEYS if self._rows(arguments, word)[row])
        rows, per_frame = self._rows(arguments, word), self._tokens_per_frame(word)
        states = self.states.of(self.towers[word], arguments, word)
        frames = int(visual[row].sum()) // per_frame
        number = number_of(rows, row, len(states.after) // frames, word)
        return tower_of(
            states,
            slice(number * frames, (number + 1) * frames),
            self.base.multi_modal_projector,
            has_cls=per_frame == states.after.shape[1],
        )

    def visual_mask(self, arguments: dict) -> Tensor:
        """True at the placeholders of images and videos.

        Raises
        ------
        ValueError
            For a sample with an image and a video, or with several.
        """
        kinds = [(word, self.tokens[word], keys) for word, keys in KEYS.items()]
        return placeholders(arguments, kinds, self.notes)

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """(rows, columns) of an image, (frames, rows, columns) of a video.

        The model keeps the CLS token of every frame of a video, ahead of the frame's patches, so a
        row has ``frames * (rows * columns + 1)`` tokens, one per frame more than its grid has
        cells. The CLS token of an image is dropped, unless the config selects ``"full"`` features.

        Raises
        ------
        ValueError
            If the placeholders of a row are not those of one image or one video.
        """
        found: list[Grid | None] = [None] * len(counts)
        side = self.config.vision_config.image_size // self.config.vision_config.patch_size
        for word in KEYS:
            per_frame, rows = self._tokens_per_frame(word), self._rows(arguments, word)
            for row, has in enumerate(rows):
                if not has:
                    continue
                frames, rest = divmod(counts[row], per_frame)
                if rest or (word == "image" and frames != 1):
                    raise ValueError(
                        f"sample {row} has {counts[row]} {word} placeholders; expected "
                        f"{per_frame} per {'image' if word == 'image' else 'frame'}, and one "
                        f"{word} per sample: give each its own sample, and take placeholders out "
                        "of the texts"
                    )
                found[row] = (side, side) if word == "image" else (frames, side, side)
            check_equal((count for count, has in zip(counts, rows, strict=True) if has), word)
        return found

    def pixels(self, arguments: dict, visual: Tensor, row: int) -> Tensor | None:
        """Pixels of this row's image, or of all frames of its video.

        Parameters
        ----------
        arguments, visual, row
            See `Adapter.pixels`.
        """
        for word in KEYS:
            rows = self._rows(arguments, word)
            if rows[row]:
                given = self._seen(arguments, word, int(visual[row].sum()))
                return None if given is None else given[number_of(rows, row, len(given), word)]
        return None

    def _tokens_per_frame(self, word: str) -> int:
        vision = self.config.vision_config
        patches = (vision.image_size // vision.patch_size) ** 2
        whole = word == "video" or self.config.vision_feature_select_strategy == "full"
        return patches + 1 if whole else patches

    def _rows(self, arguments: dict, word: str) -> list[bool]:
        return (arguments["input_ids"] == self.tokens[word]).any(dim=1).tolist()

    def _seen(self, arguments: dict, word: str, count: int) -> Tensor | None:
        seen = self.notes.find(arguments, word)
        if seen is None:
            given = (arguments.get(key) for key in KEYS[word])
            return next((pixels for pixels in given if pixels is not None), None)
        if word == "image":
            return seen.pixels
        # The tower gets the frames of all videos in one row.
        return seen.pixels.unflatten(0, (-1, count // self._tokens_per_frame(word)))
