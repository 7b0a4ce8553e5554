"""The table of data sets, `data/datasets.yaml`."""

from __future__ import annotations

from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import ConfigDict, Field, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from sparsevlm.models.checkpoints.declared import Repository

FILE = Path(__file__).resolve().parents[3] / "data" / "datasets.yaml"
_STRICT = ConfigDict(extra="forbid")
PART = "part.json"


@dataclass(frozen=True, config=_STRICT)
class Source:
    """Files of one repository at one commit.

    Attributes
    ----------
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
    """Where a benchmark's videos lie, and a repository that has them, in zip archives or not.

    Attributes
    ----------
    folder, prefix : str
        Of the videos in the benchmark's folder, and before the name that the questions use.
    of : Repository
        Its size is that of the videos that are asked about, a guess.
    hints : tuple of str
        Words one of which is in the path of everything that belongs to the benchmark; () for all.
    """

    of: Repository
    hints: tuple[str, ...]
    folder: str
    prefix: str = ""


@dataclass(frozen=True, config=_STRICT)
class Part:
    """What the file `part.json` in a benchmark's folder says: only a part of it is there.

    Attributes
    ----------
    rows, splits : int and dict of str to int
        As in `Layout`, of the part.
    note : str
        Which part it is, for tables: "questions about images only".
    """

    rows: PositiveInt
    note: Annotated[str, Field(min_length=1)]
    splits: dict[str, PositiveInt] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Layout:
    """What must be on disk.

    Attributes
    ----------
    folder : str
        Name of the benchmark's folder, as LLaVA's scripts have it.
    files : dict of str to str
        Files and folders in it, each with where it comes from.
    rows, splits : int and dict of str to int
        Samples of the complete benchmark, and by `Sample.split`; 0 where that is not known for
        certain.
    hint : str
        Added to a wrong count: the usual cause.
    owner : str
        Whose numbers `rows` and `splits` are.
    spare : tuple of str
        Those of `files` that a folder with only a part of the benchmark may lack.
    """

    folder: str
    files: dict[str, str]
    rows: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    hint: str = ""
    owner: str = "the official benchmark"
    spare: tuple[str, ...] = ()

    def of_part(self, part: Part | None) -> Layout:
        """Return what a folder must hold that says to be a part; itself without one."""
        if part is None:
            return self
        files = {name: source for name, source in self.files.items() if name not in self.spare}
        hint = f"correct {PART}, or delete it if the folder holds the whole benchmark"
        return replace(self, files=files, rows=part.rows, splits=part.splits, hint=hint, owner=PART)

    def missing(self, folder: Path) -> list[str]:
        """Return a sentence for each source of files that are not there."""
        if not folder.is_dir():
            return [f"there is no folder {folder}; it must hold {', '.join(self.files)}"]
        absent: dict[str, list[str]] = {}
        for name, source in self.files.items():
            if not (folder / name).exists():
                absent.setdefault(source, []).append(name)
        return [
            f"{folder} lacks {', '.join(names)}, which {source} has"
            for source, names in absent.items()
        ]


@dataclass(frozen=True, config=_STRICT)
class HubCopy:
    """A copy of a benchmark in parquet files of the hub, and how it is read.

    Attributes
    ----------
    id : str
        Of the data set since the move of 30 July 2026; lmms-lab/NAME, its name before, redirects.
    config, split : str
        As `datasets.load_dataset` takes them.
    differs : str
        Why a copy is not read.
    key : str
        The column that names a row; equal names are numbered. "" where there is none.
    columns : tuple of str
        What is used of it; () for a copy that is not read.
    rows, splits
        As in `Layout`: those of the copy, which may differ from the official ones.
    pictures : tuple of str
        Configuration that has the images apart and the column that names them; () where
        an image is in its row.
    """

    id: str
    split: str
    config: str = "default"
    differs: str = ""
    key: str = "question_id"
    columns: tuple[str, ...] = ()
    rows: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Dataset:
    """How the data of a benchmark are had.

    Attributes
    ----------
    layout : Layout
        What must be on disk.
    sources : tuple of Source
        What is fetched, in this order.
    copy : HubCopy or None
        A copy that the loaders read where the official files are not there.
    part : Part or None
        What `part.json` must say, where not the whole benchmark can be had as it is official.
    by_hand : str
        What is left to do by hand, or another way.
    """

    layout: Layout
    sources: tuple[Source, ...] = ()
    videos: Videos | None = None
    copy: HubCopy | None = None
    part: Part | None = None
    by_hand: str = ""

    @property
    def repositories(self) -> tuple[Repository, ...]:
        """All that something is fetched from."""
        return tuple(one.of for one in (*self.sources, self.videos) if one)


@cache
def datasets() -> dict[str, Dataset]:
    """Return how the data of each benchmark are had, by its name."""
    rows = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, Dataset]).validate_python(rows)
