"""Files out of zip archives: each whole or not at all, and none is lost when a disk is full."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from copy import copy
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from sparsevlm.models.checkpoints.places import CheckpointError, room_for

JUNK = "__MACOSX"
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError)


def unpack(archive: Path, folder: Path, wanted: Mapping[str, str]) -> None:
    """Make files and folders of the members of an archive; what is there already stays.

    Parameters
    ----------
    archive, folder : Path
        The archive, and where to.
    wanted : dict of str to str
        See `declared.Source.unpack`.

    Raises
    ------
    CheckpointError
        The archive is damaged, and then deleted; it lacks a member; or the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for target, pattern in wanted.items():
                if not (folder / target).exists():
                    _unpack(opened, folder / target, pattern, is_folder=target.endswith("/"))
    except DAMAGED as error:
        archive.unlink()
        raise CheckpointError(
            f"{archive.name} cannot be unpacked ({error}); it was thrown away, run the same "
            "command again"
        ) from error


def _unpack(opened: zipfile.ZipFile, to: Path, pattern: str, is_folder: bool) -> None:
    members = [
        member
        for member in opened.infolist()
        if not member.is_dir()
        and not member.filename.startswith(JUNK)
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
    partial = to.with_name(f"{to.name}.partial")
    try:
        for member in members:
            extract(opened, member, partial / PurePosixPath(member.filename).name)
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
    partial = to.with_name(f"{to.name}.partial")
    with room_for(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            renamed = copy(member)
            renamed.filename = partial.name
            opened.extract(renamed, to.parent)
            partial.replace(to)
        finally:
            partial.unlink(missing_ok=True)
