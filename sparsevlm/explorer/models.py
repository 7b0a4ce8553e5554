"""Models for the explorer: how to load one, ask it, and say where its tokens lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.explorer.run import Model
from sparsevlm.explorer.samples import Picture
from sparsevlm.explorer.view.geometry import Geometry, cropped, padded, stretched
from sparsevlm.methods.grids import Grid
from sparsevlm.miniature.registry import MINIATURES, marker_of
from sparsevlm.models.images import sample_frames
from sparsevlm.models.sizes import ModelSizes

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Loaded:
    """A model with what is needed to ask it.

    Attributes
    ----------
    model, tokenizer
        From transformers.
    description
        For records.
    seen
        The frames of a picture or video that tokens stand for.
    inputs
        Picture and question to what the model takes.
    place
        Picture, grid and number of visual tokens to their place in the picture.
    max_new_tokens
        Longest answer.
    """

    model: nn.Module
    tokenizer: Any
    description: Model
    seen: Callable[[Picture], Picture]
    inputs: Callable[[Picture, str], dict[str, Tensor]]
    place: Callable[[Picture, Grid, int], Geometry]
    max_new_tokens: int = 24


def load_model(profile: Profile, name: str = "") -> Loaded:
    """Load a profile's model, or another checkpoint.

    Parameters
    ----------
    profile
        Gives device, dtype and attention kernel; and the model, where ``name`` is "".
    name
        A bundled miniature, a name on the hub or a folder.

    Raises
    ------
    RuntimeError
        If the profile asks for a GPU and there is none.
    ValueError
        For a checkpoint of a family that the explorer has no inputs for.
    MissingAssetError
        If the miniature's weights are missing or damaged.
    """
    import torch

    name = name or profile.model
    if name in MINIATURES:
        return _miniature(name)
    if profile.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"profile {profile.name!r} runs {name} on a GPU, and torch sees none here; use "
            "profile 'mini', or open this notebook on a machine with a GPU"
        )
    return _checkpoint(name, profile)


def _miniature(name: str) -> Loaded:
    from sparsevlm.miniature import load_miniature

    model, builder = load_miniature(name)
    source = MiniatureBackend()

    def inputs(picture: Picture, question: str) -> dict[str, Tensor]:
        return builder.inputs([question.lower()], [picture.frames])

    description = Model(name, source.revision(name), marker_of(name), source.sizes(name), 4)
    return Loaded(
        model, builder.tokenizer, description, _still, inputs, _PLACES[builder.fit], 8
    )  # fmt: skip


def _still(picture: Picture) -> Picture:
    return picture


def _checkpoint(name: str, profile: Profile) -> Loaded:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

    from sparsevlm.models.prompts import prompt_builder

    config = AutoConfig.from_pretrained(name)
    if config.model_type not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ValueError(f"{name} is a {config.model_type}; the explorer knows {known}")
    dtype = getattr(torch, profile.dtype)
    model = AutoModelForImageTextToText.from_pretrained(
        name, dtype=dtype, attn_implementation=profile.attention
    )
    model = model.to(profile.device).eval()
    family, options = _FAMILIES[config.model_type]
    builder = prompt_builder(family, model.config, AutoTokenizer.from_pretrained(name), **options)

    def seen(picture: Picture) -> Picture:
        if not picture.is_video or family != "video_llava":
            return picture
        frames = sample_frames(picture.frames, builder.num_frames)
        return Picture(picture.title, tuple(frames), picture.name)

    def inputs(picture: Picture, question: str) -> dict[str, Tensor]:
        made = builder.inputs([question], [picture.frames])
        return dict(made.to(profile.device, dtype))

    text = model.config.get_text_config().to_dict()
    # A folder of this machine is no name for a record that is shared.
    shown = Path(name).name if Path(name).is_dir() else name
    size = torch.finfo(dtype).bits // 8
    description = Model(shown, "", "", ModelSizes.from_text_config(text), size)
    return Loaded(model, builder.tokenizer, description, seen, inputs, _PLACES[builder.fit])


def _place(fit: Callable) -> Callable[[Picture, Grid, int], Geometry]:
    return lambda picture, grid, num_visual: fit(picture.size, grid, num_visual)


_PLACES = {"pad": _place(padded), "crop": _place(cropped), "stretch": _place(stretched)}
# By model_type: architecture, and what differs from the paper's settings. Qwen-VL puts two frames
# of a film into one step of its grid; `panels.montage` shows the first of each.
_FAMILIES: dict[str, tuple[str, dict]] = {
    "llava": ("llava", {}),
    "video_llava": ("video_llava", {}),
    "qwen2_vl": ("qwen2_vl", {"image_tokens": (4, 1280)}),
    "qwen2_5_vl": ("qwen2_vl", {"image_tokens": (4, 1280)}),
}
