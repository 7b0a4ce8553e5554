"""The table of checkpoints, the paper's and two newer ones, `data/checkpoints.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from sparsevlm.models.sizes import ModelSizes

FILE = Path(__file__).resolve().parents[3] / "data" / "checkpoints.yaml"
_STRICT = ConfigDict(extra="forbid")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, config=_STRICT)
class Repository:
    """One repository on the hub or on GitHub, and what is fetched of it.

    Attributes
    ----------
    id, revision : str
        "organisation/name"; a commit, or its first digits, or "main" where none is known: the first
        fetch pins what it gets.
    licence : str
        As the repository states it, in short.
    about_bytes : int
        Size of what is fetched.
    required : bool
        Whether the checkpoint can be used without it.
    kind
        "model" or "dataset" of the hub, or "github".
    files : tuple of str
        Patterns of the files that are fetched; () for weights and the texts beside them.
    sha256 : str
        Of the one file, whoever serves it; "" where the hub's word is taken.
    mirrors : tuple of (str, str)
        Other repositories, with revisions, that have the same file.
    strip : str
        What the names of GitHub's files lose.
    """

    id: str
    revision: str
    licence: str
    about_bytes: int
    required: bool = True
    kind: Literal["model", "dataset", "github"] = "model"
    files: tuple[str, ...] = ()
    sha256: str = ""
    mirrors: tuple[tuple[str, str], ...] = ()
    strip: str = ""

    @property
    def pinned(self) -> bool:
        """True if the revision is a commit, or the first digits of one."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def key(self) -> str:
        """Its name in the lock file; a data set may come in parts, each at a commit of its own."""
        return self.id if self.kind == "model" else f"{self.id} {' '.join(self.files)}"

    def accepts(self, commit: str) -> bool:
        """Return whether a commit is the declared one."""
        return not self.pinned or commit.startswith(self.revision)

    def served(self) -> Iterator[Repository]:
        """Yield itself, then the same from each of its mirrors."""
        yield self
        for name, revision in self.mirrors:
            yield replace(self, id=name, revision=revision, mirrors=())


@dataclass(frozen=True, config=_STRICT)
class Checkpoint:
    """A model of the paper, or a newer one that is compared on.

    Attributes
    ----------
    name : str
        The id of its repository, which is also its name in profiles and records.
    short : str
        A name to type.
    family : str
        Of architectures; see `prompts.prompt_builder`.
    dtype : str
        What the paper (LLaVA, Video-LLaVA, MGM) or the release (Qwen, LLaVA-NeXT) computes in.
    parameters : int
        Counted on the architecture, vision towers included.
    sizes : ModelSizes
        So that planning and estimates need no file. Visual tokens are exact for all but Qwen, where
        they are the mean over the three benchmarks of the paper's Table 2 (1323, 1311, 1326), and
        LLaVA-NeXT, where they are those of a square picture.
    repositories : tuple of Repository
        The model's own first; for Mini-Gemini its towers after it.
    """

    name: str
    short: str
    family: str
    dtype: str
    parameters: int
    sizes: ModelSizes
    repositories: tuple[Repository, ...]


CHECKPOINTS = TypeAdapter(tuple[Checkpoint, ...]).validate_python(
    yaml.safe_load(FILE.read_text(encoding="utf-8"))
)


def find(name: str) -> Checkpoint:
    """Return the checkpoint of this name or short name, or that a repository belongs to.

    Raises
    ------
    ValueError
        It is not in the table; the message lists the names.
    """
    for checkpoint in CHECKPOINTS:
        ids = (repository.id for repository in checkpoint.repositories)
        if name in (checkpoint.short, *ids):
            return checkpoint
    known = ", ".join(f"{c.name} ({c.short})" for c in CHECKPOINTS)
    raise ValueError(f"unknown checkpoint {name!r}; known: {known}; or give a local folder")


def declared(name: str) -> Checkpoint | None:
    """Return the checkpoint of this name or short name, None for a folder."""
    return next((c for c in CHECKPOINTS if name in (c.name, c.short)), None)
