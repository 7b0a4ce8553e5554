"""Where the model and the questions of a run come from. Here: the bundled miniatures.

Nothing is imported before it is needed, so that planning what is done already needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.benchmarks.counting import groups_of
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.results.run import EvaluationRun, digest, samples_digest
from sparsevlm.miniature.registry import get_miniature
from sparsevlm.models.flops import DecoderShape

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from transformers import PreTrainedModel

    from sparsevlm.core.interface import StagedPruner
    from sparsevlm.models.prompt_builder import PromptBuilder


@dataclass(frozen=True)
class ModelShape:
    """What planning needs to know of a model.

    Attributes
    ----------
    num_layers, num_visual, num_heads : int
        Decoder layers, visual tokens of the nominal image or clip, and attention heads.
    has_mrope : bool
        Whether positions have a row and a column (Qwen2-VL).
    decoder : DecoderShape
        For FLOPs and KV bytes.
    """

    num_layers: int
    num_visual: int
    num_heads: int
    has_mrope: bool
    decoder: DecoderShape

    def pruner(
        self,
        method: str,
        tokens: int | None,
        layers: Sequence[int] | None = None,
        **options: object,
    ) -> StagedPruner:
        """Return a method at a budget for this model.

        Parameters
        ----------
        method, tokens
            As `sparsevlm.make_pruner` takes them.
        layers
            PruningStage after these layers; None for those that the method has for such a model.
        **options
            Further fields of the method; they go before those that the model decides.

        Raises
        ------
        ValueError
            An unknown method or option, an impossible budget, or layers for a method that takes
            none.
        """
        from sparsevlm.methods import make_pruner, options_for

        chosen = {**options_for(method, self.num_heads, self.has_mrope), **options}
        if layers is not None:
            chosen["layers"] = tuple(layers)
        return make_pruner(
            method, tokens=tokens, num_layers=self.num_layers, num_visual=self.num_visual, **chosen
        )


class Source(Protocol):
    """Supplies models, questions and images; picklable, for it goes to the worker processes."""

    def revision(self, model: str) -> str:
        """Return the digest of everything of the model that can change an answer."""

    def shape(self, model: str) -> ModelShape:
        """Return the sizes of the model, without loading its weights."""

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return at most `n` samples, whole groups; asking for as many as came gives the same."""

    def media(self, model: str, samples: Sequence[Sample]) -> Iterable[list[Image]]:
        """Return the images of each sample: one, or the frames of a clip."""

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and pictures."""

    def prompt(self, model: str, sample: Sample) -> str:
        """Return the text of the prompt, with one placeholder for the image or video."""

    def inputs(
        self, model: str, builder: PromptBuilder, batch: Sequence[Sample]
    ) -> dict[str, Tensor]:
        """Return the batch as `generate` takes it, padded on the left."""

    def load(self, run: EvaluationRun) -> tuple[PreTrainedModel, PromptBuilder]:
        """Return model and prompt builder, ready to answer."""


@dataclass(frozen=True)
class MiniatureSource:
    """The miniatures that come with the repository, and their procedural scenes and clips.

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
        return ModelShape(
            num_layers=config["text_config"]["num_hidden_layers"],
            num_visual=get_miniature(model).num_visual,
            num_heads=config["text_config"]["num_attention_heads"],
            has_mrope="mrope_section" in config["text_config"].get("rope_parameters", {}),
            decoder=DecoderShape.from_text_config(config["text_config"]),
        )

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return the first questions of the miniature benchmark, at most `n`."""
        samples = get_miniature(model).samples(benchmark, n, seed)
        rows = [{**sample.to_json(), "prediction": sample.answer} for sample in samples]
        for group in groups_of(rows).values():
            # Raises now, not after hours of answering, if a group is not whole.
            get_benchmark(benchmark).sample_stats(group)
        return samples

    def media(self, model: str, samples: Sequence[Sample]) -> Iterator[list[Image]]:
        """Draw the samples' scenes or clips."""
        miniature = get_miniature(model)
        return (miniature.media(sample) for sample in samples)

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and pixels together."""
        return samples_digest(samples, self.media(model, samples))

    def prompt(self, model: str, sample: Sample) -> str:
        """Return the miniature's template around the question."""
        num_images = len(get_miniature(model).media(sample))
        return _writer(model).prompt(sample.question, num_images)

    def inputs(
        self, model: str, builder: PromptBuilder, batch: Sequence[Sample]
    ) -> dict[str, Tensor]:
        """Return the batch as `generate` takes it, padded on the left."""
        questions = [sample.question for sample in batch]
        return dict(builder.inputs(questions, list(self.media(model, batch))))

    def load(self, run: EvaluationRun) -> tuple[PreTrainedModel, PromptBuilder]:
        """Return the miniature in the run's dtype, with its attention kernel, on its device."""
        import torch

        from sparsevlm.miniature import load_miniature

        model, builder = load_miniature(run.model, Path(self.folder) / run.model)
        model.set_attn_implementation(run.attention)
        return model.to(run.device, getattr(torch, run.dtype)).eval(), builder


@lru_cache(maxsize=4)
def _writer(model: str) -> PromptBuilder:
    """A builder that only writes prompts: for that no config is needed."""
    return get_miniature(model).builder()
