"""Where model and questions of a run come from when both are real: checkpoints and data folders.

The data lie in the layout of LLaVA's and Video-LLaVA's evaluation scripts, below one folder: that
of the environment variable SPARSEVLM_DATA, else ``~/.cache/sparsevlm/data``. Checkpoints lie where
`sparsevlm fetch` puts them. SPARSEVLM_QUANTIZATION=4bit loads them in four bits; that is
part of the model's revision, so such results are other runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.benchmarks import Sample
from sparsevlm.evaluation.results.run import EvaluationRun, canonical_json, digest
from sparsevlm.evaluation.sources import ModelShape
from sparsevlm.models.checkpoints.places import default_folder
from sparsevlm.models.checkpoints.verify import content_digest
from sparsevlm.models.flops import DecoderShape

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from transformers import PreTrainedModel

    from sparsevlm.models.prompt_builder import PromptBuilder

DATA_VARIABLE, QUANTIZATION_VARIABLE = "SPARSEVLM_DATA", "SPARSEVLM_QUANTIZATION"


def default_data() -> str:
    """Return the folder that holds the folders of the benchmarks."""
    named = os.environ.get(DATA_VARIABLE)
    return str(Path(named).expanduser() if named else Path.home() / ".cache/sparsevlm/data")


def _quantization() -> str | None:
    return os.environ.get(QUANTIZATION_VARIABLE) or None


@dataclass(frozen=True)
class HubSource:
    """A checkpoint of the paper, or a local folder, and the official data.

    Attributes
    ----------
    data : str
        Holds one folder per benchmark (`loaders.layout_of(name).folder`).
    checkpoints : str
        Where checkpoints were fetched to.
    quantization : str or None
        "4bit" or None.
    complete : bool
        Whether a benchmark must have its official number of samples; False for a rehearsal.
    """

    data: str = field(default_factory=default_data)
    checkpoints: str = field(default_factory=lambda: str(default_folder()))
    quantization: str | None = field(default_factory=_quantization)
    complete: bool = True

    @property
    def _folder(self) -> Path:
        return Path(self.checkpoints)

    def revision(self, model: str) -> str:
        """Return the digest of the checkpoint's files, marked where it is quantised."""
        from sparsevlm.models.checkpoints.shapes import identity

        return identity(model, self._folder, self.quantization)

    def shape(self, model: str) -> ModelShape:
        """Return the sizes of the model: from the table of checkpoints, or its config.json."""
        from sparsevlm.models.checkpoints.shapes import decoder_of

        sizes = decoder_of(model, self._folder)
        decoder = DecoderShape(sizes.hidden, sizes.intermediate, sizes.kv_heads, sizes.head_dim)
        return ModelShape(
            num_layers=sizes.layers,
            num_visual=sizes.visual,
            num_heads=sizes.hidden // sizes.head_dim,
            has_mrope=sizes.has_mrope,
            decoder=decoder,
        )

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return at most `n` samples (0: all), whole groups; `media` is relative to `data`.

        Raises
        ------
        DataError
            The benchmark's folder is missing, incomplete or of another version.
        """
        from sparsevlm.benchmarks.loaders import select

        return select(_all_samples(self.data, benchmark, self.complete), n, seed)

    def media(self, model: str, samples: Sequence[Sample]) -> Iterator[list[Image]]:
        """Open the pictures of each sample: none, one, or eight frames of its video."""
        return (self._open(sample) for sample in samples)

    def _open(self, sample: Sample) -> list[Image]:
        from sparsevlm.benchmarks.loaders.frames import read_frames
        from sparsevlm.models.images import load_image

        if not sample.media:
            return []
        path = Path(self.data) / sample.media
        return read_frames(path) if _is_video(path) else [load_image(path)]

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and files together.

        Of the files' bytes: decoding tens of thousands of pictures, and videos, takes an hour.
        """
        parts = []
        for sample in samples:
            parts.append(canonical_json(sample.to_json()))
            if sample.media:
                parts.append(_file_digest(Path(self.data) / sample.media))
        return digest(*parts)

    def prompt(self, model: str, sample: Sample) -> str:
        """Return the text of the prompt, with one placeholder for the picture or video."""
        from sparsevlm.benchmarks.loaders.frames import NUM_FRAMES

        video = sample.media and _is_video(Path(self.data) / sample.media)
        pictures = NUM_FRAMES if video else int(bool(sample.media))
        return _writer(model, self.checkpoints).prompt(sample.question, pictures)

    def inputs(
        self, model: str, builder: PromptBuilder, batch: Sequence[Sample]
    ) -> dict[str, Tensor]:
        """Return the batch as `generate` takes it, padded on the left."""
        questions = [sample.question for sample in batch]
        return dict(builder.inputs(questions, list(self.media(model, batch))))

    def load(self, run: EvaluationRun) -> tuple[PreTrainedModel, PromptBuilder]:
        """Return the checkpoint in the run's dtype, with its attention kernel, on its device.

        For "cuda" every worker takes a GPU of its own, see `gpu_of`.
        """
        import torch

        from sparsevlm.models.checkpoints.loading import load

        device = run.device
        if device == "cuda":
            device = gpu_of(current_process().name, torch.cuda.device_count())
        return load(
            run.model, dtype=run.dtype, device=device, attention=run.attention,
            quantization=self.quantization, folder=self._folder,
        )  # fmt: skip


def gpu_of(worker: str, count: int) -> str:
    """Return the device of a worker process: several workers go round all GPUs.

    Parameters
    ----------
    worker : str
        Name of the process. multiprocessing numbers the workers of a run one after the other, from
        1 in a new command: "SpawnProcess-3".
    count : int
        GPUs that torch sees.

    Returns
    -------
    str
        "cuda:N", or "cuda" where there is no choice, or no worker.
    """
    number = worker.rpartition("-")[2]
    return f"cuda:{(int(number) - 1) % count}" if count > 1 and number.isdigit() else "cuda"


def _is_video(path: Path) -> bool:
    """True for a video or a folder of frames; pictures of SEED-Bench have names of any form."""
    from sparsevlm.benchmarks.loaders.frames import KINDS

    return path.suffix.lower() in KINDS or path.is_dir()


@lru_cache(maxsize=16)
def _all_samples(data: str, benchmark: str, complete: bool) -> tuple[Sample, ...]:
    from sparsevlm.benchmarks.loaders import layout_of, load

    inside = layout_of(benchmark).folder
    samples = load(benchmark, Path(data) / inside, complete=complete)
    return tuple(
        replace(sample, media=f"{inside}/{sample.media}") if sample.media else sample
        for sample in samples
    )


@lru_cache(maxsize=100_000)
def _file_digest(path: Path) -> str:
    """Digest of name and content of a file, or of all files of a folder of frames."""
    parts = sorted(path.iterdir()) if path.is_dir() else [path]
    return digest(*(f"{part.name} {content_digest(part, 'sha256')}" for part in parts))


@lru_cache(maxsize=4)
def _writer(model: str, checkpoints: str) -> PromptBuilder:
    """A builder that only writes prompts: for that no tokenizer is needed."""
    from sparsevlm.models.checkpoints.shapes import family_and_config
    from sparsevlm.models.prompts import prompt_builder

    return prompt_builder(*family_and_config(model, Path(checkpoints)), tokenizer=None)
