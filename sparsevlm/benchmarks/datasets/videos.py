"""The videos of the first questions of a benchmark, out of a repository whose listing we never saw.

Its files are looked through, and the members of its zip archives, for the names that the questions
have. Of an archive only the members that are needed come: it is read from the hub in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from pydantic import TypeAdapter

from sparsevlm.benchmarks.datasets.declared import PART, Dataset, Part, Videos, datasets
from sparsevlm.benchmarks.datasets.unpack import UNREADABLE, extract
from sparsevlm.benchmarks.loaders.frames import KINDS, VIDEOS, read_frames
from sparsevlm.benchmarks.loaders.layout import DataError, write_file
from sparsevlm.benchmarks.loaders.parquet import files_of, read_rows
from sparsevlm.benchmarks.loaders.videoqa import ANSWERS, QUESTIONS, read
from sparsevlm.models.checkpoints import places
from sparsevlm.models.checkpoints.hub import CHANGED, download, explained, listing
from sparsevlm.models.checkpoints.orders import Say

BLOCK = 1 << 23  # bytes that are asked for at a time
SHOWN = 3  # of many names
TABLE = "test"  # split of the table that has ActivityNet-QA's questions


def needs_videos(name: str, folder: Path) -> bool:
    """Return whether questions or videos of a benchmark are missing in its folder."""
    return bool(datasets()[name].layout.missing(folder) or _missing(name, folder))


def collect(name: str, data: Path, endpoint: str | None, say: Say) -> None:
    """Get the questions of a benchmark, where they are missing, and the videos they are about.

    Raises
    ------
    CheckpointError
        Something is not in the repository, or a video cannot be decoded. What came stays.
    """
    dataset = datasets()[name]
    folder, way_out = data / dataset.layout.folder, dataset.by_hand
    to, prefix = folder / dataset.videos.folder, dataset.videos.prefix
    to.mkdir(parents=True, exist_ok=True)
    _questions_of_table(folder, dataset)
    if needs_videos(name, folder):
        shelf = _Shelf(dataset.videos, data, endpoint)
        for file in (QUESTIONS, ANSWERS):
            if not (folder / file).exists():
                shelf.get({Path(file).stem: folder}, (Path(file).suffix,))
            if not (folder / file).exists():
                raise places.CheckpointError(
                    f"{shelf} has no {file} of {name}; put it at {folder / file} by hand, then the "
                    f"same command looks for the videos; {way_out}"
                )
        missing = _missing(name, folder)
        say(f"{name}: {len(missing)} videos to find in {shelf}")
        shelf.get({stem: to for one in missing for stem in (one, one.removeprefix(prefix))}, KINDS)
        if missing := _missing(name, folder):
            raise places.CheckpointError(
                f"{shelf} has not {len(missing)} of the videos that are asked about, such as "
                f"{', '.join(missing[:SHOWN])}; put them into {to} by hand; {way_out}"
            )
    _require_decodable(name, folder, way_out)


def write_part(folder: Path, dataset: Dataset) -> None:
    """Write down that a folder holds a part of its benchmark, unless it says so already."""
    if dataset.part and not (folder / PART).exists():
        text = TypeAdapter(Part).dump_json(dataset.part, exclude_defaults=True)
        (folder / PART).write_bytes(text + b"\n")


def _questions_of_table(folder: Path, dataset: Dataset) -> None:
    """Write the questions of a table on the hub as the files that the loader reads."""
    if all((folder / file).exists() for file in (QUESTIONS, ANSWERS)):
        return
    if not (files := files_of(folder, "default", TABLE)):
        return
    columns = {QUESTIONS: ("video_name", "question"), ANSWERS: ("answer", "type")}
    rows = list(read_rows(files, ("question_id", *columns[QUESTIONS], *columns[ANSWERS])))
    for file, names in columns.items():
        some = [{key: row[key] for key in ("question_id", *names)} for row in rows]
        write_file(folder / file, json.dumps(some).encode())
    write_part(folder, dataset)


def _missing(name: str, folder: Path) -> list[str]:
    """Names, prefix included, of the videos that are asked about and not there."""
    try:
        samples = read(name, folder)
    except (DataError, LookupError, TypeError) as error:
        raise places.CheckpointError(
            f"the questions of {name} cannot be read ({error}); delete {QUESTIONS} and {ANSWERS} "
            f"in {folder}, then `sparsevlm fetch {name}` gets them again"
        ) from error
    media = dict.fromkeys(sample.media for sample in samples)
    return [Path(one).stem for one in media if not (folder / one).exists()]


def _require_decodable(name: str, folder: Path, way_out: str) -> None:
    bad = []
    for media in dict.fromkeys(sample.media for sample in read(name, folder)):
        path = folder / media
        if path.suffix in VIDEOS and find_spec("av") is None:
            raise places.CheckpointError(
                f"the videos of {name} are there and were not looked into: pip install "
                "'sparsevlm-repro[a100]', then run the same command again"
            )
        try:
            read_frames(path)
        except DataError as error:
            bad.append(str(error))
            if path.is_file():
                path.unlink()
    if bad:
        raise places.CheckpointError(
            f"{len(bad)} videos of {name} cannot be decoded and were thrown away ({bad[0]}); run "
            f"the same command again, and if they come broken again: {way_out}"
        )


class _Shelf:
    """The files of a repository, and those inside its zip archives."""

    def __init__(self, videos: Videos, data: Path, endpoint: str | None) -> None:
        self.hints, self.endpoint, self.data = videos.hints, endpoint, data
        self.repository, locks = videos.of, places.read_lock(data)
        key = f"{videos.of.id} videos"
        if key in locks:  # what an earlier fetch pinned stays pinned
            self.repository = replace(self.repository, revision=locks[key].revision)
        self.locked = listing(self.repository, endpoint)
        places.write_lock(data, {**locks, key: places.Locked(self.locked.revision, ())})

    def __str__(self) -> str:
        return f"{self.repository.id} at {self.locked.revision[:12]}"

    def get(self, wanted: Mapping[str, Path], kinds: Sequence[str]) -> None:
        """Bring files of some names, by stem, into the folders that they are wanted in."""
        plain = [file for file in self.locked.files if self._fits(file.name, wanted, kinds)]
        staged = self.data / ".fetch" / "videos"
        some = [file for file in plain if places.fault(staged, file, read=False)]
        if some:
            download(self.repository, self.locked, some, staged, self.endpoint)
        for file in plain:
            path = PurePosixPath(file.name)
            if wrong := places.fault(staged, file):
                (staged / path).unlink(missing_ok=True)
                raise places.CheckpointError(CHANGED.format(wrong, self.repository.id))
            (staged / path).replace(wanted[path.stem] / path.name)
        names = [f.name for f in self.locked.files if f.name.lower().endswith(".zip")]
        # Those of the benchmark's name first.
        for archive in sorted(names, key=lambda n: (not any(h in n for h in self.hints), n)):
            lacking = {
                stem: to for stem, to in wanted.items()
                if not any((to / f"{stem}{kind}").exists() for kind in kinds)
            }  # fmt: skip
            if lacking:
                self._get_members(archive, lacking, kinds)

    def _fits(self, name: str, wanted: Mapping[str, Path], kinds: Sequence[str]) -> bool:
        path = PurePosixPath(name)
        hinted = not self.hints or any(hint.lower() in name.lower() for hint in self.hints)
        return hinted and path.suffix.lower() in kinds and path.stem in wanted

    def _get_members(self, archive: str, wanted: Mapping[str, Path], kinds: Sequence[str]) -> None:
        from huggingface_hub import HfFileSystem

        files = HfFileSystem(endpoint=self.endpoint, skip_instance_cache=True)
        where = f"datasets/{self.repository.id}@{self.locked.revision}/{archive}"
        try:
            with explained(self.repository), files.open(where, "rb", block_size=BLOCK) as remote:
                with ZipFile(remote) as opened:
                    for member in opened.infolist():
                        if self._fits(f"{archive}/{member.filename}", wanted, kinds):
                            path = PurePosixPath(member.filename)
                            extract(opened, member, wanted[path.stem] / path.name)
        except UNREADABLE as error:
            raise places.CheckpointError(
                f"{archive} of {self} cannot be read ({error}); run the same command again"
            ) from error
