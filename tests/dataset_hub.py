"""The repositories that the benchmarks' data come from, with drawn data in their real layouts.

`repositories` is what a hub (checkpoint_hub.py) serves; `write_fetched` writes the folder that a
fetch of it leaves, without any hub.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import av
from synthetic import write_synthetic
from synthetic_parquet import WRITERS, write_rows, write_synthetic_parquet
from synthetic_videoqa import VIDEOS, Change, unchanged

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.datasets.declared import FILE, datasets
from sparsevlm.benchmarks.loaders import layout_of, load, seed
from sparsevlm.benchmarks.loaders.frames import read_frames
from sparsevlm.benchmarks.loaders.parquet import COMPLETED, COPIES
from sparsevlm.benchmarks.loaders.videoqa import ANSWERS, QUESTIONS

Files = dict[str, bytes]
EVAL_ZIP = "the-Lin/benchmark_llava"
HALVES = {"tgif": "TGIF_QA", "msvd": "MSVD_Zero_Shot_QA", "msrvtt": "MSRVTT_Zero_Shot_QA"}
HUB_FOLDER = "DATAS/VideoQA"


def write_fetched(
    name: str, data: Path, n: int = 24, seed_: int = 0, change: Change = unchanged
) -> Path:
    """Write what a fetch of a benchmark leaves in the data folder, and return its folder.

    GQA, MME, MMBench and MM-Vet are parquet files of the hub; POPE, ScienceQA and TextVQA official
    questions with pictures of a copy; SEED-Bench its questions about images; videos are .mp4.
    `change` as in `synthetic.write_synthetic`. `part.json` says how
    many questions there are, so that the loaders take the folder for complete.
    """
    folder = data / layout_of(name).folder
    if name in WRITERS and name not in COMPLETED:
        official = data / ".official"
        write_synthetic_parquet(name, official / name, folder, n=n, seed=seed_, change=change)
        shutil.rmtree(official)
    else:
        write_synthetic(name, folder, n, seed_, change)
    if name == "seed":
        shutil.rmtree(folder / seed.FRAMES)
    if name in VIDEOS:
        for path in sorted((folder / VIDEOS[name].folder).iterdir()):
            film = _mp4(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            path.with_name(f"{path.stem}.mp4").write_bytes(film)
    write_part(name, folder)
    return folder


def write_part(name: str, folder: Path, rows: int = 0) -> None:
    """Let a folder say how many questions it holds; 0 counts those that it has."""
    folder.mkdir(parents=True, exist_ok=True)
    part = {"rows": rows or 1, "note": "drawn, for a rehearsal"}
    (folder / "part.json").write_text(json.dumps(part), encoding="utf-8")
    if not rows:
        write_part(name, folder, len(load(name, folder, complete=False)))


def repositories(root: Path, names: Iterable[str] = BENCHMARKS, n: int = 8) -> dict[str, Files]:
    """Return the content of every repository that the data of some benchmarks come from.

    Parameters
    ----------
    root : Path
        A folder for the official data that all is made of, by benchmark.
    names, n : iterable of str and int
        Which benchmarks, and how many questions of each.
    """
    found: dict[str, Files] = {}
    questions: Files = {"__MACOSX/pope/._llava_pope_test.jsonl": b"junk"}
    for name in names:
        official = root / name
        if name in WRITERS:
            copy = write_synthetic_parquet(name, official, root / "copies" / name, n=n, parts=2)
            found[COPIES[name].id] = _read(copy)
        else:
            write_synthetic(name, official, n)
        if name in VIDEOS:
            _add_videos(name, official, found)
        for source in datasets()[name].sources:
            for file in source.unpack if source.of.sha256 else ():
                questions[f"{official.name}/{file}"] = (official / file).read_bytes()
            if source.of.kind == "github":
                files = {f: (official / f.removeprefix(source.of.strip)).read_bytes()
                         for f in source.of.files}  # fmt: skip
                found[source.of.id] = {**files, "README.md": b"code"}
    if "seed" in names:
        pictures = _read(root / "seed" / seed.IMAGES)
        found["AILab-CVC/SEED-Bench"] = {
            seed.ANSWERS: (root / "seed" / seed.ANSWERS).read_bytes(),
            "SEED-Bench-image.zip": zipped({f"{seed.IMAGES}/{k}": v for k, v in pictures.items()}),
            "v1_video.zip.001": b"part",
        }
    found[EVAL_ZIP] = {"eval.zip": zipped(questions), "README.md": b"a mirror"}
    return found


def _read(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of some files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _add_videos(name: str, official: Path, found: dict[str, Files]) -> None:
    """MSVD as plain files, the others in archives; all of them .mp4."""
    there = sorted((official / VIDEOS[name].folder).iterdir())
    videos = {f"{path.stem}.mp4": _mp4(path) for path in there}
    others = {f"never_asked_{number}.mp4": b"a film" for number in range(3)}
    if name == "activitynet":
        asked = json.loads((official / QUESTIONS).read_text())
        answers = {row["question_id"]: row for row in json.loads((official / ANSWERS).read_text())}
        rows = [{**row, **answers[row["question_id"]]} for row in asked]
        rows = [{**row, "type": str(row["type"])} for row in rows]
        path = official / "table" / "test-00000-of-00001.parquet"
        write_rows(path, rows)
        half = len(videos) // 2
        cut = [dict(list(videos.items())[:half]), dict(list(videos.items())[half:])]
        found["lmms-eval/ActivityNetQA"] = {f"data/{path.name}": path.read_bytes()} | {
            f"videos_{number}.zip": zipped({f"all_test/{k}": v for k, v in (some | others).items()})
            for number, some in enumerate(cut)
        }
        return
    files = found.setdefault("ermu2001/PLLaVATesting", {})
    where = f"{HUB_FOLDER}/{HALVES[name]}"
    for file in (QUESTIONS, ANSWERS):
        files[f"{where}/{file}"] = (official / file).read_bytes()
    if name == "msvd":
        files |= {f"{where}/videos/{k}": v for k, v in (videos | others).items()}
    else:
        files[f"{where}.zip"] = zipped({f"{where}/videos/{k}": v for k, v in videos.items()})


def _mp4(path: Path) -> bytes:
    """A video of the frames of another."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=8)
        frames = [av.VideoFrame.from_image(frame) for frame in read_frames(path)]
        track.width, track.height, track.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        for packet in [*(one for frame in frames for one in track.encode(frame)), *track.encode()]:
            container.mux(packet)
    return stream.getvalue()


def commits(repositories: Iterable[str]) -> dict[str, list[str]]:
    """Return commits of repositories, such that all declared revisions are among them."""
    found: dict[str, list[str]] = {name: [] for name in repositories}
    for one in datasets().values():
        for repository in one.repositories:
            if repository.revision != "main" and repository.id in found:
                found[repository.id].append(repository.revision.ljust(40, "0"))
    return {name: list(dict.fromkeys(known)) or ["b" * 40] for name, known in found.items()}


def declared_with(eval_zip: bytes, to: Path) -> Path:
    """Write the table of data sets with the digest of another eval.zip; return its path."""
    text = FILE.read_text(encoding="utf-8")
    sha = hashlib.sha256(eval_zip).hexdigest()
    text, times = re.subn(r"sha256: \w{64}", f"sha256: {sha}", text)
    assert times == 1
    to.write_text(text, encoding="utf-8")
    return to
