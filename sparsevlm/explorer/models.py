"""Models for the explorer: how to load one, ask it, and say where its tokens lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.sources import MiniatureSource
from sparsevlm.explorer.run import Model
from sparsevlm.explorer.samples import Picture
from sparsevlm.explorer.view.geometry import Geometry, cropped, padded, stretched
from sparsevlm.methods.grids import Grid
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

    from sparsevlm.miniature.registry import NAMES

    name = name or profile.model
    if name in NAMES:
        return _miniature(name)
    if profile.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"profile {profile.name!r} runs {name} on a GPU, and torch sees none here; use "
            "profile 'mini', or open this notebook on a machine with a GPU"
        )
    return _checkpoint(name, profile)


def _miniature(name: str) -> Loaded:
    from sparsevlm.miniature import load_miniature, prompt

    model, processor = load_miniature(name)
    source = MiniatureSource()

    def inputs(picture: Picture, question: str) -> dict[str, Tensor]:
        return processor(
            images=[_one(picture)], text=[prompt(question.lower())], return_tensors="pt"
        )

    marker = "miniature model, not LLaVA-1.5"
    description = Model(name, source.revision(name), marker, source.shape(name), 4)
    return Loaded(
        model, processor.tokenizer, description, _still, inputs,
        lambda picture, grid, count: stretched(picture.size, grid, count), 8,
    )  # fmt: skip


def _still(picture: Picture) -> Picture:
    return picture


def _one(picture: Picture) -> object:
    if picture.is_video:
        raise ValueError("this model takes one picture; give a video to Video-LLaVA or Qwen-VL")
    return picture.frames[0]


def _checkpoint(name: str, profile: Profile) -> Loaded:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

    config = AutoConfig.from_pretrained(name)
    if config.model_type not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ValueError(f"{name} is a {config.model_type}; the explorer knows {known}")
    dtype = getattr(torch, profile.dtype)
    model = AutoModelForImageTextToText.from_pretrained(
        name, dtype=dtype, attn_implementation=profile.attention
    )
    model = model.to(profile.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(name)
    seen, build, place = _FAMILIES[config.model_type]

    def inputs(picture: Picture, question: str) -> dict[str, Tensor]:
        made = build(model.config, tokenizer, picture, question)
        floats = {key: value.to(dtype) for key, value in made.items() if value.is_floating_point()}
        return {key: value.to(profile.device) for key, value in {**made, **floats}.items()}

    text = model.config.get_text_config().to_dict()
    # A folder of this machine is no name for a record that is shared.
    shown = Path(name).name if Path(name).is_dir() else name
    size = torch.finfo(dtype).bits // 8
    description = Model(shown, "", "", ModelSizes.from_text_config(text), size)
    return Loaded(model, tokenizer, description, seen, inputs, place)


def _llava(config: Any, tokenizer: Any, picture: Picture, question: str) -> dict:
    from sparsevlm.models.inputs import Sample, llava_inputs

    return llava_inputs(config, tokenizer, [Sample(question, image=_one(picture))])


def _video_llava(config: Any, tokenizer: Any, picture: Picture, question: str) -> dict:
    from sparsevlm.models.inputs import video_llava_inputs

    return video_llava_inputs(
        config, tokenizer, [_sample(picture, question)], num_frames=len(picture.frames)
    )


def _qwen(config: Any, tokenizer: Any, picture: Picture, question: str) -> dict:
    from sparsevlm.models.inputs import qwen_vl_inputs

    return qwen_vl_inputs(config, tokenizer, [_sample(picture, question)])


def _sample(picture: Picture, question: str) -> object:
    from sparsevlm.models.inputs import Sample

    if picture.is_video:
        return Sample(question, video=list(picture.frames))
    return Sample(question, image=picture.frames[0])


def _eight_frames(picture: Picture) -> Picture:
    from sparsevlm.models.inputs.pictures import sample_frames

    if not picture.is_video:
        return picture
    return Picture(picture.title, tuple(sample_frames(picture.frames, 8)), picture.name)


def _square_place(picture: Picture, grid: Grid, num_visual: int) -> Geometry:
    return padded(picture.size, grid, num_visual)


def _middle_place(picture: Picture, grid: Grid, num_visual: int) -> Geometry:
    return cropped(picture.size, grid, num_visual)


def _whole_place(picture: Picture, grid: Grid, num_visual: int) -> Geometry:
    return stretched(picture.size, grid, num_visual)


# By model_type: frames that are seen, inputs, place of the tokens. Qwen-VL puts two frames of a
# film into one step of its grid; `panels.montage` shows the first of each.
_FAMILIES: dict[str, tuple] = {
    "llava": (_still, _llava, _square_place),
    "video_llava": (_eight_frames, _video_llava, _middle_place),
    "qwen2_vl": (_still, _qwen, _whole_place),
    "qwen2_5_vl": (_still, _qwen, _whole_place),
}
