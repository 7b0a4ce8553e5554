"""Architectures at full size, to be timed with random weights (random_models.py).

A shape can be scaled down, so that the same code runs on a CPU; it then says so in its name, and
its ratios are those of the smaller model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from sparsevlm.models.checkpoints import find
from sparsevlm.models.sizes import ModelSizes


@dataclass(frozen=True)
class Tower:
    """A vision transformer; image and patch are pixels of a side, and an image is one frame."""

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


@dataclass(frozen=True, kw_only=True)
class Shape(ModelSizes):
    """A model to be timed: its sizes, its tower and its prompt.

    Attributes
    ----------
    name : str
        Its own, with what it was scaled to.
    family : str
        As a checkpoint's, or "llama" for a decoder alone.
    grid : tuple of int
        Frames, rows and columns of patches, where the image has no fixed size.
    before, after : int
        Text tokens around the visual ones.
    is_scaled : bool
        Whether it is smaller than its model.
    """

    name: str
    family: str
    budgets: tuple[int, ...] = (192, 128, 64)
    tower: Tower = Tower()
    grid: tuple[int, int, int] = ()
    before: int = 35
    after: int = 29
    is_scaled: bool = False

    @classmethod
    def of_checkpoint(cls, name: str, short: str, **options: object) -> Shape:
        """The shape of a checkpoint of the paper; options go before its sizes."""
        checkpoint = find(short)
        sizes = {**asdict(checkpoint.sizes), **options}
        return cls(name=name, family=checkpoint.family, **sizes)

    @property
    def tokens(self) -> int:
        """Length of the prompt."""
        return self.before + self.num_visual + self.after

    def scaled(self, layers: int | None = None, hidden: int | None = None) -> Shape:
        """The same with fewer layers and a narrower decoder; its tower shrinks alike.

        Raises
        ------
        ValueError
            For a width that is no multiple of eight times the heads.
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
            intermediate=max(32, round(share * self.intermediate)), head_dim=0, layers=layers,
            tower=tower,
            is_scaled=True,
        )  # fmt: skip


_CLIP_224 = Tower(image=224, frames=8)
_QWEN = Tower(hidden=1280, intermediate=5120, layers=32)
SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape(name="reference", family="llama", layers=16, hidden=512, intermediate=1376, heads=16),
        Shape.of_checkpoint("llava-1.5-7b", "llava-7b"),
        Shape.of_checkpoint("llava-1.5-13b", "llava-13b"),
        # Eight frames of 16 x 16 patches and a CLS token. 194 is the budget of the paper's Table 3;
        # three stages cannot reach the 135 of its first version.
        Shape.of_checkpoint("video-llava-7b", "video-llava-7b", budgets=(194,), tower=_CLIP_224),
        # 72 x 74 patches, merged two by two: near the paper's mean of 1323 visual tokens.
        Shape.of_checkpoint("qwen2-vl-7b", "qwen2-vl-7b", num_visual=1332, budgets=(600, 500, 400),
                            tower=_QWEN, grid=(1, 72, 74)),
        Shape.of_checkpoint("mgm-7b", "mgm-7b"),
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
