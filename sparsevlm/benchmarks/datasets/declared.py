"""The table of data sets, `data/datasets.yaml`."""

from __future__ import annotations

from dataclasses import field
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from sparsevlm.benchmarks.loaders.layout import Part
from sparsevlm.models.checkpoints.declared import Repository

FILE = Path(__file__).resolve().parents[3] / "data" / "datasets.yaml"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Source:
    """Files of one repository at one commit.

    Attributes
    ----------
    of : Repository
        What is fetched.
    unpack : dict of str to str
        For an archive: files, or folders with "/" at their end, that are made of its members of a
        pattern, by their last names. The archive is deleted afterwards.
    gives : tuple of str
        For a table that is deleted afterwards: official files that are made of it.
    """

    of: Repository
    unpack: dict[str, str] = field(default_factory=dict)
    gives: tuple[str, ...] = ()

    @property
    def passing(self) -> tuple[str, ...]:
        """What is left of it in the benchmark's folder; () where it is the files themselves."""
        return (*self.unpack, *self.gives)


@dataclass(frozen=True, config=_STRICT)
class Videos:
    """A repository that has a benchmark's videos, as files or inside zip archives.

    Attributes
    ----------
    of : Repository
        Its size is that of the videos that are asked about, a guess.
    hints : tuple of str
        Words one of which is in the path of everything that belongs to the benchmark; () for all.
    """

    of: Repository
    hints: tuple[str, ...]


@dataclass(frozen=True, config=_STRICT)
class Dataset:
    """How the data of a benchmark are had.

    Attributes
    ----------
    sources : tuple of Source
        What is fetched, in this order.
    videos : Videos or None
        Where the videos are.
    part : Part or None
        What `part.json` must say, where not the whole benchmark can be had as it is official.
    by_hand : str
        What is left to do by hand, or another way.
    """

    sources: tuple[Source, ...] = ()
    videos: Videos | None = None
    part: Part | None = None
    by_hand: str = ""

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All that something is fetched from."""
        return tuple(one.of for one in (*self.sources, self.videos) if one)


@cache
def datasets() -> dict[str, Dataset]:
    """Return how the data of each benchmark are had, by its name."""
    import yaml

    rows = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, Dataset]).validate_python(rows)
