"""Files out of zip archives: each whole or not at all, and none is lost when a disk is full."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from copy import copy
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from sparsevlm.models.atomic import replacing
from sparsevlm.models.checkpoints.places import CheckpointError, FileEntry, fault, room_for

JUNK = "__MACOSX"
# Damaged; or encrypted, or packed in a way that zipfile does not know.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def unpack(place: Path, archive: FileEntry, folder: Path, wanted: Mapping[str, str]) -> None:
    """Make files and folders of the members of an archive; what is there already stays.

    What is wanted is as in `declared.Source.unpack`.

    Raises
    ------
    CheckpointError
        The archive is damaged on this disk, and then deleted; it came as it is and cannot be read,
        and is kept; it lacks a member; or the disk is full.
    """
    try:
        with zipfile.ZipFile(place / archive.name) as opened:
            for target, pattern in wanted.items():
                if not (folder / target).exists():
                    _unpack(opened, folder / target, pattern, is_folder=target.endswith("/"))
    except UNREADABLE as error:
        said = f"{archive.name} cannot be unpacked ({error})"
        if fault(place, archive):
            (place / archive.name).unlink()
            raise CheckpointError(
                f"{said}; it was thrown away, run the same command again"
            ) from error
        raise CheckpointError(
            f"{said}, though it is what the hub states; it is kept in {place}: get "
            f"{', '.join(wanted)} from the authors and put it into {folder}"
        ) from error


def _unpack(opened: zipfile.ZipFile, to: Path, pattern: str, is_folder: bool) -> None:
    members = [
        member
        for member in opened.infolist()
        if not member.is_dir()
        and not member.filename.startswith(JUNK)
        and not PurePosixPath(member.filename).name.startswith(".")
        and fnmatch(f"/{member.filename}", pattern)
    ]
    if not members:
        raise CheckpointError(
            f"{opened.filename} has no {pattern}; it is another archive than the one expected: get "
            f"{to.name} from its authors and put it at {to}"
        )
    if not is_folder:
        extract(opened, members[0], to)
        return
    by_name = {PurePosixPath(member.filename).name: member for member in members}
    for member in members:
        other = by_name[PurePosixPath(member.filename).name]
        if member.CRC != other.CRC:
            raise CheckpointError(
                f"{opened.filename} has both {member.filename} and {other.filename}, one of which "
                f"would be lost; unpack it by hand into {to}"
            )
    partial = to.with_name(f"{to.name}.partial")
    try:
        for name, member in by_name.items():
            extract(opened, member, partial / name)
    except CheckpointError:  # no room: what an interrupt leaves is used again
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(to)


def extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path) -> None:
    """Write one member to a file, unless that is there with its size.

    Raises
    ------
    CheckpointError
        The disk is full.
    """
    if to.is_file() and to.stat().st_size == member.file_size:
        return
    with room_for(to), replacing(to, many=True) as partial:
        renamed = copy(member)
        renamed.filename = partial.name
        opened.extract(renamed, to.parent)
