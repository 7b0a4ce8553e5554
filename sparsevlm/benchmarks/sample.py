"""One question about one image or clip, as every benchmark here sees it.

Read next: counting.py (how answers become a score), then any benchmark, gqa.py being the shortest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

DRAWN = ("scene", "clip")


@dataclass(frozen=True)
class Sample:
    """A question, its image or clip and what counts as a right answer.

    Attributes
    ----------
    id : str
        Unique within its benchmark.
    media : str
        The image or clip: ``"scene:7"`` or ``"clip:7"`` is the one that the miniature draws from
        seed 7; anything else is a file, or a folder of frames, relative to the folder of the
        benchmark's data. Empty for a question without an image.
    question : str
        As a user would type it; multiple-choice options are part of the text.
    answer : str
        The reference answer (a letter for multiple choice).
    group : str
        Samples that are judged together share it: the two questions of an MME image, the rotations
        of a circular question. Otherwise it equals `id`.
    split : str
        POPE: random | popular | adversarial. MME: subtask. SEED, MMBench, MM-Vet: ability.
    answers : tuple of str
        TextVQA: the ten human answers. MM-Vet: the required facts.
    options : tuple of str
        The texts of the options, in the order A, B, C, ...; None for one that does not exist.

    Raises
    ------
    ValueError
        `id`, `question` or `answer` is no text or empty, or another field has another type.
    """

    id: str
    media: str
    question: str
    answer: str
    group: str = ""
    split: str = ""
    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("id", "question", "answer"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"Sample.{name} must be a non-empty string, got {value!r}")
        for name in ("group", "split"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"Sample.{name} must be a string, got {getattr(self, name)!r}")
        for name in ("answers", "options"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"Sample.{name} must be a list, got {getattr(self, name)!r}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if odd := [value for value in self.answers if not isinstance(value, str)]:
            raise ValueError(f"Sample.answers must be strings, {self.id!r} has {odd[0]!r}")
        object.__setattr__(self, "group", self.group or self.id)

    @property
    def seed(self) -> int:
        """Seed of a drawn scene or clip.

        Raises
        ------
        ValueError
            The image is a file.
        """
        kind, _, seed = self.media.partition(":")
        if kind not in DRAWN or not seed.isdecimal():
            raise ValueError(
                f"sample {self.id!r} shows the file {self.media!r}, not a drawn scene or clip"
            )
        return int(seed)

    def to_json(self) -> dict:
        """Return the fields as plain JSON values, to be stored in a record and hashed."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, row: Mapping) -> Sample:
        """Return the sample stored in a row of a record; other keys of the row are ignored."""
        missing = [f.name for f in fields(cls) if f.name not in row]
        if missing:
            raise ValueError(f"a row needs the keys of a Sample, {', '.join(missing)} missing")
        return cls(**{f.name: row[f.name] for f in fields(cls)})
