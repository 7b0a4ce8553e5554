"""A run: one measurement, named by everything that can change its result.

Read next: plan.py (which runs a profile has), store.py (how results are kept), workers.py (how
they are made).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean

from sparsevlm.benchmarks import Sample
from sparsevlm.core.schedule import plain

ID_LENGTH = 16  # hexadecimal digits; enough for any number of runs one can run


def canonical_json(value: object) -> str:
    """Return JSON in which equal values give equal text: keys sorted, no blanks, no nan."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def digest(*parts: str | bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of `parts`, kept apart by length."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:ID_LENGTH]


def id_of(run: Mapping) -> str:
    """Return the id of a run as JSON values, of another version too (`EvaluationRun.id`)."""
    return digest(canonical_json({k: v for k, v in run.items() if k != "device"}))


@dataclass(frozen=True)
class EvaluationRun:
    """One model on one benchmark under one pruner.

    Attributes
    ----------
    revision : str
        Digest of weights and processor.
    samples : str
        Digest of the chosen questions and images; there are `num_samples`, chosen with `seed`.
    method : str
        Name in `sparsevlm.METHODS`.
    tokens : int or None
        Budget; None for the dense model.
    pruner : str
        Canonical JSON of the pruner that these give.
    batch : int
        Samples in one forward pass.
    max_new_tokens : int
        Longest answer.
    algorithm : str
        Digest of the code that prunes, answers and scores (`digests.code_digest`), so that no
        result outlives the code that made it.
    device : str
        Where it runs; not part of the id, but of the record's provenance.
    """

    model: str
    revision: str
    benchmark: str
    samples: str
    num_samples: int
    seed: int
    method: str
    tokens: int | None
    pruner: str
    dtype: str
    attention: str
    batch: int
    max_new_tokens: int = 8
    algorithm: str = ""
    device: str = field(default="cpu", compare=False)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in ("num_samples", "batch", "max_new_tokens"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise ValueError(f"EvaluationRun.{name} must be a positive integer, got {value!r}")
        object.__setattr__(self, "pruner", canonical_json(json.loads(self.pruner)))

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that change with every field but the device."""
        return id_of(self.to_json())

    @property
    def questions(self) -> tuple:
        """What is equal in two runs that ask one model the same, in the same batches."""
        asked = (self.benchmark, self.samples, self.num_samples, self.seed, self.batch)
        return (self.model, self.revision, self.dtype, self.attention, self.device, *asked)

    @property
    def title(self) -> str:
        """For people: "pope, sparsevlm at 64 tokens"."""
        budget = "" if self.tokens is None else f" at {self.tokens} tokens"
        return f"{self.benchmark}, {self.method}{budget}"

    def to_json(self) -> dict:
        """Return the fields as plain JSON values."""
        return {**asdict(self), "pruner": json.loads(self.pruner)}

    @classmethod
    def from_json(cls, values: Mapping) -> EvaluationRun:
        """Return the run of `to_json`.

        Raises
        ------
        ValueError
            A field is missing or unknown: the file was written by another version.
        """
        known = {f.name for f in fields(cls)}
        if odd := known.symmetric_difference(values):
            raise ValueError(f"not a run of this version, it differs in: {', '.join(sorted(odd))}")
        return cls(**{**values, "pruner": canonical_json(values["pruner"])})


@dataclass(frozen=True)
class Record:
    """A finished run with what the benchmark's `score` made of its answers.

    Attributes
    ----------
    predictions : sequence of dict
        One row per sample, in the samples' order: the fields of `Sample`, "prompt", "prediction",
        "tokens_in" and "tokens_out" (visual tokens entering and left by each layer) and
        "text_tokens". Read from disk when they are asked for.
    sessions : tuple of dict
        Provenance of every run that added samples; several where a run was stopped and resumed.
        With the "events" of each: memory that ran short, samples without an answer.
    seconds : float
        Time spent answering, without loading the model.
    """

    run: EvaluationRun
    predictions: tuple[dict, ...]
    scores: dict
    sessions: tuple[dict, ...]
    seconds: float

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def tokens_in(self) -> float:
        """Visual tokens entering a layer, mean over layers and samples: what is computed."""
        return fmean(fmean(row["tokens_in"]) for row in self.predictions)

    @property
    def tokens_out(self) -> float:
        """Visual tokens left by a layer, mean over layers and samples: the paper's budget."""
        return fmean(fmean(row["tokens_out"]) for row in self.predictions)


def samples_digest(samples: Iterable[Sample], media: Iterable[Iterable]) -> str:
    """Return the digest of questions and pixels together: the version of a benchmark.

    ``media`` holds for every sample its images: one, or the frames of a clip.
    """
    parts: list[str | bytes] = []
    for sample, images in zip(samples, media, strict=True):
        parts.append(canonical_json(sample.to_json()))
        for image in images:
            parts += [f"{image.mode} {image.size}", image.tobytes()]
    return digest(*parts)
