"""Where the model and the questions of an evaluation run come from.

Two backends: the bundled miniatures with their procedural scenes, and checkpoints of the paper (or
a folder of that kind) with the official data. `backend_of` chooses by the model's name. What loads
torch is imported where it is needed, so that planning what is done already needs none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.benchmarks.counting import groups_of
from sparsevlm.benchmarks.datasets.declared import datasets
from sparsevlm.benchmarks.loaders import layout_of, load, part_of, select
from sparsevlm.benchmarks.loaders.frames import read_frames
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.results.run import canonical_json, digest, samples_digest
from sparsevlm.miniature.registry import MINIATURES, get_miniature
from sparsevlm.models.checkpoints.contents import family_and_config, identity, sizes_of
from sparsevlm.models.checkpoints.places import content_digest, default_folder
from sparsevlm.models.images import load_image
from sparsevlm.models.sizes import ModelSizes

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from sparsevlm.models.prompt_builder import PromptBuilder

DATA_VARIABLE, QUANTIZATION_VARIABLE = "SPARSEVLM_DATA", "SPARSEVLM_QUANTIZATION"


def _modules(builder: PromptBuilder, classes: Sequence[str]) -> tuple[str, ...]:
    """The builder's module, and those of the adapters that may be meant by a config's classes."""
    from sparsevlm.runtime.adapter import ADAPTERS

    known = [ADAPTERS[name] for name in classes if name in ADAPTERS] or list(ADAPTERS.values())
    adapters = [entry.partition(":")[0] if isinstance(entry, str) else entry.__module__
                for entry in known]  # fmt: skip
    return tuple(sorted({type(builder).__module__, *adapters}))


@dataclass(frozen=True)
class MiniatureBackend:
    """The miniatures that come with the repository, and their procedural scenes and clips.

    The folder holds one per miniature model.
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

    def _config(self, model: str) -> dict:
        return json.loads(self._file(model, "config.json").read_text(encoding="utf-8"))

    def revision(self, model: str) -> str:
        """Return the digest of the checksums that it was shipped with; loading verifies them."""
        return digest(self._file(model, "SHA256SUMS").read_bytes())

    def sizes(self, model: str) -> ModelSizes:
        """Return the sizes that config.json states."""
        text = self._config(model)["text_config"]
        return ModelSizes.from_text_config(text, get_miniature(model).num_visual)

    def modules(self, model: str) -> tuple[str, ...]:
        """Return the modules of its template, builder and adapter."""
        spec = get_miniature(model)
        builder = _modules(spec.builder(), self._config(model)["architectures"])
        return (spec.module, *builder)

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
        return (get_miniature(model).media(sample) for sample in samples)

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and pixels together."""
        return samples_digest(samples, self.media(model, samples))

    def note(self, benchmarks: Sequence[str]) -> str:
        """Return "": the model's own marker says what they are."""
        return ""

    def load(
        self, model: str, *, dtype: str | None, attention: str, device: str
    ) -> tuple[PreTrainedModel, PromptBuilder]:
        """Return the miniature and its prompt builder; MissingAssetError for damaged files."""
        import torch

        from sparsevlm.miniature import load_miniature

        loaded, builder = load_miniature(model, Path(self.folder) / model)
        loaded.set_attn_implementation(attention)
        return loaded.to(device, getattr(torch, dtype or "float32")).eval(), builder


def default_data() -> str:
    """Return the folder that holds the benchmarks' folders."""
    named = os.environ.get(DATA_VARIABLE)
    return str(Path(named).expanduser() if named else Path.home() / ".cache/sparsevlm/data")


@dataclass(frozen=True)
class CheckpointBackend:
    """A checkpoint of the paper, or a local folder, and the official data.

    The data lie in the layout of LLaVA's and Video-LLaVA's evaluation scripts, below one folder:
    that of SPARSEVLM_DATA, else ``~/.cache/sparsevlm/data``. Checkpoints lie where `sparsevlm
    fetch` puts them. SPARSEVLM_QUANTIZATION=4bit loads them in four bits; that is part of the
    revision, so such results are other runs.

    Attributes
    ----------
    data : str
        Holds one folder per benchmark (`loaders.layout_of(name).folder`).
    checkpoints : str
        Where checkpoints were fetched to.
    quantization : str or None
        "4bit" or None.
    complete : bool
        Whether a benchmark must have its official number of samples.
    """

    data: str = field(default_factory=default_data)
    checkpoints: str = field(default_factory=lambda: str(default_folder()))
    quantization: str | None = field(
        default_factory=lambda: os.environ.get(QUANTIZATION_VARIABLE) or None
    )
    complete: bool = True

    def revision(self, model: str) -> str:
        """Return the digest of the checkpoint's files, marked where it is quantised."""
        return identity(model, Path(self.checkpoints), self.quantization)

    def sizes(self, model: str) -> ModelSizes:
        """Return the sizes of the model: from the table of checkpoints, or its config.json."""
        return sizes_of(model, Path(self.checkpoints))

    def modules(self, model: str) -> tuple[str, ...]:
        """Return the modules of its prompt builder and adapter."""
        from sparsevlm.models.prompts import prompt_builder

        architecture, config = family_and_config(model, Path(self.checkpoints))
        builder = prompt_builder(architecture, config, tokenizer=None)
        return _modules(builder, config.architectures or ())

    def samples(self, model: str, benchmark: str, n: int, seed: int) -> list[Sample]:
        """Return at most `n` samples (0: all), whole groups; `media` is relative to `data`.

        Raises
        ------
        DataError
            The benchmark's folder is missing, incomplete or of another version.
        """
        return select(_all_samples(self.data, benchmark, self.complete), n, seed)

    def media(self, model: str, samples: Sequence[Sample]) -> Iterator[list[Image]]:
        """Open the images of each sample, as the scripts do: none, one, or eight of its video."""
        return (self._open(sample) for sample in samples)

    def _open(self, sample: Sample) -> list[Image]:
        path = Path(self.data) / sample.media
        # By its benchmark, not its name: a .gif is a video of TGIF, or the image of a question.
        if sample.media.startswith(
            tuple(one.layout.folder for one in datasets().values() if one.videos)
        ):
            return read_frames(path)
        return [load_image(path, "official")] if sample.media else []

    def version(self, model: str, samples: Sequence[Sample]) -> str:
        """Return the digest of questions and files together.

        Of the files' bytes: decoding tens of thousands of images, and videos, takes an hour.
        """
        parts = []
        for sample in samples:
            parts.append(canonical_json(sample.to_json()))
            if sample.media:
                parts.append(_file_digest(Path(self.data) / sample.media))
        return digest(*parts)

    def note(self, benchmarks: Sequence[str]) -> str:
        """Return which of the benchmarks are there in part only: "SEED-Bench: images only"."""
        parts = {name: part_of(Path(self.data) / layout_of(name).folder) for name in benchmarks}
        named: dict[str, list[str]] = {}
        for name, part in parts.items():
            if part is not None:
                named.setdefault(part.note, []).append(get_benchmark(name).label)
        return "; ".join(f"{', '.join(names)}: {note}" for note, names in named.items())

    def load(
        self, model: str, *, dtype: str | None, attention: str, device: str
    ) -> tuple[PreTrainedModel, PromptBuilder]:
        """Return the checkpoint and its prompt builder; CheckpointError where it cannot be loaded.

        For "cuda" every worker takes a GPU of its own, see `placement.gpu_of`.
        """
        import torch

        from sparsevlm.models.checkpoints.loading import load
        from sparsevlm.models.placement import gpu_of

        if device == "cuda":
            device = gpu_of(current_process().name, torch.cuda.device_count())
        return load(
            model, dtype=dtype, device=device, attention=attention,
            quantization=self.quantization, folder=Path(self.checkpoints),
        )  # fmt: skip


EvalBackend = MiniatureBackend | CheckpointBackend  # picklable: it is sent to worker processes


@lru_cache(maxsize=64)  # studies share benchmarks, and runs their questions
def versioned_samples(
    backend: EvalBackend, model: str, benchmark: str, n: int, seed: int
) -> tuple[list[Sample], str]:
    """Return the samples of a run and their version, made once per process."""
    samples = backend.samples(model, benchmark, n, seed)
    return samples, backend.version(model, samples)


def backend_of(model: str) -> EvalBackend:
    """Return where a model and its questions come from."""
    return MiniatureBackend() if model in MINIATURES else CheckpointBackend()


@lru_cache(maxsize=16)
def _all_samples(data: str, benchmark: str, complete: bool) -> tuple[Sample, ...]:
    inside = layout_of(benchmark).folder
    samples = load(benchmark, Path(data) / inside, complete=complete)
    return tuple(
        replace(sample, media=f"{inside}/{sample.media}") if sample.media else sample
        for sample in samples
    )


@lru_cache(maxsize=100_000)
def _file_digest(path: Path) -> str:
    """Digest of name and content of a file, or of all files of a folder of frames."""
    try:
        parts = sorted(path.iterdir()) if path.is_dir() else [path]
        return digest(*(f"{part.name} {content_digest(part, 'sha256')}" for part in parts))
    except PermissionError as error:  # a content of its own: only its questions are left open
        return digest(f"{path.name} {error.strerror}")
