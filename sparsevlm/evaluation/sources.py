"""Where the model and the questions of a run come from. Here: the bundled miniatures.

Nothing is imported before it is needed, so that planning what is done already needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.benchmarks.counting import groups_of
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.results.run import EvaluationRun, digest, samples_digest
from sparsevlm.miniature.registry import NUM_VISUAL, get_kit
from sparsevlm.models.sizes import ModelSizes

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from transformers import PreTrainedModel, ProcessorMixin


class Source(Protocol):
    """Supplies models, questions and images; picklable, for it goes to the worker processes."""

    def revision(self, model: str) -> str:
        """Return the digest of everything of the model that can change an answer."""

    def shape(self, model: str) -> ModelSizes:
        """Return the sizes of the model, without loading its weights."""

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return at most `n` samples, whole groups; asking for as many as came gives the same."""

    def media(self, model: str, samples: Sequence[Sample]) -> Iterable[list[Image]]:
        """Return the images of each sample: one, or the frames of a clip."""

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and pictures."""

    def prompt(self, model: str, sample: Sample) -> str:
        """Return the text that the processor gets."""

    def inputs(
        self, model: str, processor: ProcessorMixin, batch: Sequence[Sample]
    ) -> dict[str, Tensor]:
        """Return the batch as `generate` takes it, padded on the left."""

    def load(self, run: EvaluationRun) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Return model and processor, ready to answer."""


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

    def shape(self, model: str) -> ModelSizes:
        """Return the sizes that config.json states."""
        config = json.loads(self._file(model, "config.json").read_text(encoding="utf-8"))
        return ModelSizes.from_text_config(config["text_config"], NUM_VISUAL[model])

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return the first questions of the miniature benchmark, at most `n`."""
        samples = get_kit(model).samples(benchmark, n, seed)
        rows = [{**sample.to_json(), "prediction": sample.answer} for sample in samples]
        for group in groups_of(rows).values():
            # Raises now, not after hours of answering, if a group is not whole.
            get_benchmark(benchmark).sample_stats(group)
        return samples

    def media(self, model: str, samples: Sequence[Sample]) -> Iterator[list[Image]]:
        """Draw the samples' scenes or clips."""
        kit = get_kit(model)
        return (kit.media(sample) for sample in samples)

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and pixels together."""
        return samples_digest(samples, self.media(model, samples))

    def prompt(self, model: str, sample: Sample) -> str:
        """Return the miniature's template around the question."""
        return get_kit(model).prompt(sample.question)

    def inputs(
        self, model: str, processor: ProcessorMixin, batch: Sequence[Sample]
    ) -> dict[str, Tensor]:
        """Return the batch as the miniature's processor makes it."""
        return dict(get_kit(model).batch_inputs(processor, batch))

    def load(self, run: EvaluationRun) -> tuple[PreTrainedModel, ProcessorMixin]:
        """Return the miniature in the run's dtype, with its attention kernel, on its device."""
        import torch

        from sparsevlm.miniature import load_miniature

        model, processor = load_miniature(run.model, Path(self.folder) / run.model)
        model.set_attn_implementation(run.attention)
        return model.to(run.device, getattr(torch, run.dtype)).eval(), processor
