"""Where the model and the questions of a cell come from. Here: the bundled miniature.

Nothing is imported before it is needed, so that planning what is done already needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.reproduce.cell import Cell, digest
from sparsevlm.reproduce.flops import DecoderShape
from sparsevlm.reproduce.paths import DATA

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel, ProcessorMixin


@dataclass(frozen=True)
class ModelShape:
    """What planning needs to know of a model.

    Attributes
    ----------
    num_layers, num_visual : int
        Decoder layers, and visual tokens per image.
    decoder : DecoderShape
        For FLOPs and KV bytes.
    """

    num_layers: int
    num_visual: int
    decoder: DecoderShape


class Source(Protocol):
    """Supplies models, questions and images; picklable, for it goes to the worker processes."""

    def revision(self, model: str) -> str:
        """Return the digest of everything of the model that can change an answer."""

    def shape(self, model: str) -> ModelShape:
        """Return the sizes of the model, without loading its weights."""

    def samples(self, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return at most `n` samples, whole groups; asking for as many as came gives the same."""

    def images(self, samples: Sequence[Sample]) -> list[Image]:
        """Return the image of each sample."""

    def prompt(self, sample: Sample) -> str:
        """Return the text that the processor gets."""

    def load(self, cell: Cell) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Return model and processor, ready to answer."""


@dataclass(frozen=True)
class MiniatureSource:
    """The miniature LLaVA that comes with the repository, and its procedural scenes.

    Attributes
    ----------
    folder : str
        Holds one folder per miniature model.
    """

    folder: str = str(DATA / "miniature")

    def _file(self, model: str, name: str) -> Path:
        path = Path(self.folder) / model / name
        if not path.is_file():
            raise FileNotFoundError(
                f"the miniature {model!r} is incomplete: {path} is missing; restore it with "
                "`git checkout -- data/miniature` or train it anew with `make train`"
            )
        return path

    def revision(self, model: str) -> str:
        """Return the digest of the checksums that the model was shipped with.

        Loading verifies the files against them.
        """
        return digest(self._file(model, "SHA256SUMS").read_bytes())

    def shape(self, model: str) -> ModelShape:
        """Return the sizes that config.json states."""
        config = json.loads(self._file(model, "config.json").read_text(encoding="utf-8"))
        text, vision = config["text_config"], config["vision_config"]
        return ModelShape(
            num_layers=text["num_hidden_layers"],
            num_visual=(vision["image_size"] // vision["patch_size"]) ** 2,
            decoder=DecoderShape.from_text_config(text),
        )

    def samples(self, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return the first questions of the miniature benchmark, at most `n`."""
        return get_benchmark(benchmark).samples(n, seed)

    def images(self, samples: Sequence[Sample]) -> list[Image]:
        """Draw the samples' scenes."""
        return [_draw(sample.seed) for sample in samples]

    def prompt(self, sample: Sample) -> str:
        """Return the miniature's template around the question."""
        from sparsevlm.miniature import prompt

        return prompt(sample.question)

    def load(self, cell: Cell) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Return the miniature in the cell's dtype, with its attention kernel, on its device."""
        import torch

        from sparsevlm.miniature import load_miniature

        model, processor = load_miniature(cell.model, Path(self.folder) / cell.model)
        model.set_attn_implementation(cell.attention)
        return model.to(cell.device, getattr(torch, cell.dtype)).eval(), processor


@lru_cache(maxsize=512)
def _draw(scene_seed: int) -> Image:
    from sparsevlm.miniature.scenes import make_scene

    return make_scene(scene_seed).image
