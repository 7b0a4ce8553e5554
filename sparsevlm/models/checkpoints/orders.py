"""What is to be fetched: repositories, where their files go, and what is done with them then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsevlm.models.checkpoints.declared import Repository
from sparsevlm.models.checkpoints.places import FileEntry, Locked, fault, place

GB, MB = 1e9, 1e6
Say = Callable[[str], object]


def shown(size: float) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / GB:.2f} GB" if size >= 100 * MB else f"{size / MB:.1f} MB"


@dataclass(frozen=True)
class Order:
    """A repository to be fetched.

    Attributes
    ----------
    repository : Repository
        Which.
    folder : Path
        Has the lock file.
    into : Path or None
        Where its files go; None for their own place below `folder` (see places.py).
    unpacked : bool
        Whether as much space again is needed, to unpack it.
    """

    repository: Repository
    folder: Path
    into: Path | None = None
    unpacked: bool = False


@dataclass(frozen=True)
class Stock:
    """Orders that belong together: a checkpoint's, or a benchmark's.

    Attributes
    ----------
    orders : tuple of Order
        What is fetched.
    finish : (jobs, say) -> None
        What is done once all of it is there.
    notes : tuple of str
        Said before anything comes.
    about_bytes : int
        Of what `finish` will fetch by itself.
    """

    orders: tuple[Order, ...]
    finish: Callable[[Sequence[Job], Say], None] = lambda jobs, say: None
    notes: tuple[str, ...] = ()
    about_bytes: int = 0
    folder: Path = Path()


@dataclass(frozen=True)
class Job:
    """One order, what the repository holds and where that goes.

    `locked` has no files where the hub could not be asked.
    """

    order: Order
    locked: Locked

    @property
    def repository(self) -> Repository:
        """The repository of the order."""
        return self.order.repository

    @property
    def place(self) -> Path:
        """Where its files go."""
        own = place(self.repository, self.locked.revision, self.order.folder)
        return self.order.into or own

    @property
    def todo(self) -> list[FileEntry]:
        """Files that are still to be fetched."""
        return [f for f in self.locked.files if fault(self.place, f, read=False)]

    @property
    def left(self) -> int:
        """Bytes that are still to be fetched."""
        if not self.locked.files:
            return self.repository.about_bytes
        return sum(file.size for file in self.todo)

    def __str__(self) -> str:
        known, left = self.locked.files, self.left
        if known and not left:
            state = f"{shown(sum(file.size for file in known))}, is there"
        else:
            state = f"{'' if known else 'about '}{shown(left)} to fetch"
        served = self.locked.source or self.repository.id
        return f"{served} @ {self.locked.revision[:12]}: {state} ({self.repository.licence})"

    def files(self) -> list[str]:
        """Return a line for each file, or for each pattern where the hub could not be asked."""
        if not self.locked.files:
            return [
                f"    {pattern}" for pattern in self.repository.files or ("*.safetensors, texts",)
            ]
        return [f"    {file.name}: {file.size:,} bytes" for file in self.locked.files]
