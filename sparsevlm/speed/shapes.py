"""Architectures at full size with random weights: for speed and memory, never for accuracy.

Nothing is downloaded. A shape can be scaled down, so that the same code runs on a CPU; it then says
so in its name, and its ratios are those of the smaller model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sparsevlm.models.flops import DecoderShape

if TYPE_CHECKING:
    import torch
    from torch import nn

VOCABULARY = 32064


@dataclass(frozen=True)
class Tower:
    """A vision transformer.

    Attributes
    ----------
    hidden, intermediate, layers, heads : int
    image, patch : int
        Pixels of a side.
    frames : int
        1 for an image.
    """

    hidden: int = 1024
    intermediate: int = 4096
    layers: int = 24
    heads: int = 16
    image: int = 336
    patch: int = 14
    frames: int = 1

    @property
    def side(self) -> int:
        """Patches of a side."""
        return self.image // self.patch


@dataclass(frozen=True)
class Shape:
    """A model to be timed.

    Attributes
    ----------
    name : str
        Its own, with what it was scaled to.
    family : str
        "llava", "video-llava", "qwen2-vl", "mini-gemini", or "llama" for a decoder alone.
    hidden, intermediate, layers, heads, kv_heads : int
        Of the decoder.
    num_visual : int
        Visual tokens of the prompt.
    budgets : tuple of int
        Of the paper.
    tower : Tower
    grid : tuple of int
        Frames, rows and columns of patches, where the picture has no fixed size.
    vocabulary : int
    before, after : int
        Text tokens around the visual ones.
    is_scaled : bool
        Whether it is smaller than its model.
    """

    name: str
    family: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    num_visual: int
    budgets: tuple[int, ...] = (192, 128, 64)
    tower: Tower = Tower()
    grid: tuple[int, int, int] = ()
    vocabulary: int = VOCABULARY
    before: int = 35
    after: int = 29
    is_scaled: bool = False

    @property
    def tokens(self) -> int:
        """Length of the prompt."""
        return self.before + self.num_visual + self.after

    @property
    def decoder(self) -> DecoderShape:
        """What the formulas need."""
        head_dim = self.hidden // self.heads
        return DecoderShape(self.hidden, self.intermediate, self.kv_heads, head_dim)

    def scaled(self, layers: int | None = None, hidden: int | None = None) -> Shape:
        """The same with fewer layers and a narrower decoder; its tower shrinks alike.

        Parameters
        ----------
        layers
            Of the decoder; ``None``: as they are.
        hidden
            Width of the decoder; ``None``: as it is. A multiple of eight times its heads.

        Raises
        ------
        ValueError
            For a width that the heads do not divide well.
        """
        layers, hidden = layers or self.layers, hidden or self.hidden
        if (layers, hidden) == (self.layers, self.hidden):
            return self
        if hidden % (8 * self.heads):
            raise ValueError(
                f"hidden must be a multiple of {8 * self.heads} (8 per head of {self.name}), got "
                f"{hidden}"
            )
        share, part = hidden / self.hidden, layers / self.layers
        heads = self.tower.heads
        tower = replace(
            self.tower,
            hidden=max(1, round(share * self.tower.hidden / heads / 8)) * heads * 8,
            intermediate=max(32, round(share * self.tower.intermediate)),
            layers=max(2, round(part * self.tower.layers)),
        )
        return replace(
            self, name=f"{self.name}, scaled to {layers} layers x {hidden}", hidden=hidden,
            intermediate=max(32, round(share * self.intermediate)), layers=layers, tower=tower,
            is_scaled=True,
        )  # fmt: skip


_CLIP_224 = Tower(image=224, frames=8)
_QWEN = Tower(hidden=1280, intermediate=5120, layers=32)
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("reference", "llama", 512, 1376, 16, 16, 16, 576),
        Shape("llava-1.5-7b", "llava", 4096, 11008, 32, 32, 32, 576),
        Shape("llava-1.5-13b", "llava", 5120, 13824, 40, 40, 40, 576),
        # Eight frames of 16 x 16 patches and a CLS token. 194 is the budget of the paper's Table 3;
        # three cuts cannot reach the 135 of its first version.
        Shape("video-llava-7b", "video-llava", 4096, 11008, 32, 32, 32, 2056, (194,), _CLIP_224),
        # 72 x 74 patches, merged two by two: near the paper's mean of 1323 visual tokens.
        Shape("qwen2-vl-7b", "qwen2-vl", 3584, 18944, 28, 28, 4, 1332, (600, 500, 400), _QWEN,
              (1, 72, 74), 152064),
        Shape("mgm-7b", "mini-gemini", 4096, 11008, 32, 32, 32, 576),
    )
}  # fmt: skip


def get_shape(name: str) -> Shape:
    """Return the shape called `name`.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in SHAPES:
        raise ValueError(f"unknown shape {name!r}; known: {', '.join(SHAPES)}")
    return SHAPES[name]


def build(
    shape: Shape, device: str, dtype: torch.dtype, attention: str = "sdpa", seed: int = 0
) -> nn.Module:
    """Return the model, its weights drawn on the device itself.

    Parameters
    ----------
    shape : Shape
    device : str
        As torch names it.
    dtype : torch.dtype
        Of the weights.
    attention : str
        As transformers names it.
    seed : int
        Of the weights.
    """
    import torch

    from sparsevlm.speed import shapes_models

    torch.manual_seed(seed)
    kind, config = getattr(shapes_models, _FAMILIES[shape.family])(shape)
    with torch.device(device):
        model = kind._from_config(config, dtype=dtype, attn_implementation=attention)
    return model.eval()


_FAMILIES = {
    "llama": "llama", "llava": "llava", "video-llava": "video_llava", "qwen2-vl": "qwen2_vl",
    "mini-gemini": "mini_gemini",
}  # fmt: skip


def inputs(
    shape: Shape, device: str, dtype: torch.dtype, batch: int = 1, seed: int = 0
) -> dict[str, object]:
    """Return the arguments of one call: a prompt with random words and a random picture.

    Parameters
    ----------
    shape, device, dtype
        As for `build`.
    batch : int
        Rows, all of one length.
    seed : int
        Of words and pixels.
    """
    import torch

    from sparsevlm.speed import shapes_models

    generator = torch.Generator().manual_seed(seed)
    make: Callable = getattr(shapes_models, f"{_FAMILIES[shape.family]}_inputs")
    values = make(shape, batch, generator)
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in values.items()
    }


def call_options(shape: Shape) -> dict[str, object]:
    """Return what `prune` must be told about a model of this shape."""
    if shape.family == "llama":
        return {"visual_mask": (shape.before, shape.before + shape.num_visual)}
    return {}


def method_options(shape: Shape, method: str) -> dict[str, object]:
    """Return the options of a method that a model of this shape needs."""
    if shape.family == "qwen2-vl" and (method.startswith("sparsevlm") or method == "pdrop"):
        return {"positions": "original"}
    return {}
