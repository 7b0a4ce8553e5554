"""Which miniatures there are, and what of each depends on its architecture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from sparsevlm.benchmarks.sample import Sample
    from sparsevlm.miniature.scenes import Scene
    from sparsevlm.models.prompt_builder import PromptBuilder


@dataclass(frozen=True)
class MiniatureSpec:
    """One miniature: its name and sizes, its questions, its model and prompt builder.

    Planning asks for names and numbers only; what draws or needs torch is imported on demand from
    the package of the architecture.

    Attributes
    ----------
    name : str
        Also the folder of its weights.
    architecture : str
        The package in `miniature/`, and the key of the real architecture in `models/`.
    original : str
        The model that it is a small version of, and is not.
    num_visual : int
        Visual tokens of the nominal image or clip. Budgets are counted on it. Images of
        mini-qwen2-vl have 1230 to 1410: a schedule made for the nominal one keeps the same number
        of tokens of every image, and the records say what was really kept.
    slow : bool
        Its answers come with the repository and are taken from there, as long as the code is the
        one that gave them: to compute them all takes several minutes.
    """

    name: str
    architecture: str
    original: str
    num_visual: int
    slow: bool = False

    @property
    def marker(self) -> str:
        """What every number of it must say."""
        return f"miniature model, not {self.original}"

    @property
    def families(self) -> dict[str, tuple]:
        """Of each miniature benchmark that it answers: the functions that make its questions."""
        return self._part("questions").FAMILIES

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of the miniature benchmarks that it answers."""
        return tuple(self.families)

    def samples(self, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return the first ``n`` samples of a miniature benchmark, whole groups only.

        Raises
        ------
        ValueError
            Unknown benchmark, or n below one.
        """
        return self._part("questions").samples(benchmark, n, seed)

    def media(self, sample: Sample) -> list[Image]:
        """Return the images of a sample: one, or the frames of a clip in order."""
        return list(_draw(self.architecture, sample.seed))

    def scene(self, seed: int) -> Scene:
        """Return the scene of a seed: its image, and which object every patch shows.

        The miniature of a video model draws clips and has none.
        """
        return self._part("questions").scene(seed)

    def builder(self, config: Any = None) -> PromptBuilder:
        """Return the prompt builder; without the model's config it writes prompts only."""
        return self._part("prompts").builder(config)

    @property
    def module(self) -> str:
        """The module of its own code that makes its model and prompt builder."""
        return f"{__package__}.{self.architecture}.prompts"

    def load(self, folder: Path) -> PreTrainedModel:
        """Return the model of a folder, in float32 and evaluation mode."""
        import torch

        kind = self._part("prompts").MODEL
        return kind.from_pretrained(folder, dtype=torch.float32).eval()

    def _part(self, module: str) -> ModuleType:
        return _part(self.architecture, module)


def _part(architecture: str, module: str) -> ModuleType:
    return import_module(f"{__package__}.{architecture}.{module}")


@lru_cache(maxsize=512)
def _draw(architecture: str, seed: int) -> tuple[Image, ...]:
    questions = _part(architecture, "questions")
    if hasattr(questions, "scene"):
        return (questions.scene(seed).image,)
    return tuple(questions.draw(seed))


MINIATURES = {
    spec.name: spec
    for spec in (
        MiniatureSpec("mini-llava", "llava", "LLaVA-1.5", 576),
        MiniatureSpec("mini-llava-32", "llava", "LLaVA-1.5", 576, slow=True),
        MiniatureSpec("mini-gemini", "mini_gemini", "Mini-Gemini", 576),
        MiniatureSpec("mini-video-llava", "video_llava", "Video-LLaVA", 2056),
        MiniatureSpec("mini-qwen2-vl", "qwen2_vl", "Qwen2-VL", 1296),
    )
}


def get_miniature(name: str) -> MiniatureSpec:
    """Return the miniature of this name.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones.
    """
    if name not in MINIATURES:
        raise ValueError(f"unknown miniature {name!r}; choose from {', '.join(MINIATURES)}")
    return MINIATURES[name]


def marker_of(model: str) -> str:
    """Return what every number of a miniature must say; "" for any other model."""
    return MINIATURES[model].marker if model in MINIATURES else ""


def is_slow(model: str) -> bool:
    """Whether the answers of a model are taken from the repository (`MiniatureSpec.slow`)."""
    return model in MINIATURES and MINIATURES[model].slow
