"""Fetching the data of all twelve benchmarks from a server that speaks the hub's protocol."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkpoint_hub import Hub, serving
from dataset_hub import (
    EVAL_ZIP,
    commits,
    declared_with,
    repositories,
    write_fetched,
    write_part,
    zipped,
)

from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.datasets import declared
from sparsevlm.benchmarks.datasets.stocks import kept, of_benchmark, problems, tidied
from sparsevlm.benchmarks.loaders import layout_of, load, part_of, verify
from sparsevlm.benchmarks.loaders.parquet import layout_of_copy
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.models.checkpoints.fetch import check, fetch
from sparsevlm.models.checkpoints.places import CheckpointError, read_lock

N = 8
ROWS = {"mmbench": 6, "seed": 6}  # of N: whole questions; those about images
MIRROR = "ej2/llava_eval"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The official data of every benchmark, and the repositories that hold them."""
    root = tmp_path_factory.mktemp("official")
    return root, repositories(root, n=N)


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    """A running hub with all of them; the table knows the digest of its eval.zip."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    files = {name: dict(content) for name, content in made[1].items()}
    table = declared_with(files[EVAL_ZIP]["eval.zip"], tmp_path / "datasets.yaml")
    monkeypatch.setattr(declared, "FILE", table)
    declared.datasets.cache_clear()
    with serving(Hub(files, commits=commits(files))) as running:
        monkeypatch.setenv("SPARSEVLM_GITHUB", running.address)
        yield running
    declared.datasets.cache_clear()


def get(hub, data, *names, **options):
    """Fetch benchmarks of which only a few questions exist; returns what was said."""
    said = []
    for name in names:
        folder = data / layout_of(name).folder
        if not folder.exists():
            write_part(name, folder, ROWS.get(name, N))
    stocks = [of_benchmark(name, data, hub.address) for name in names]
    fetch([*stocks, tidied(data)], endpoint=hub.address, say=said.append, **options)
    return said


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def downloads(hub):
    return [path for path, _ in hub.asked if "/resolve/" in path]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_fetched_is_what_the_official_scripts_ask(name, hub, made, tmp_path):
    said = get(hub, tmp_path, name)
    folder = tmp_path / layout_of(name).folder
    got = load(name, folder)
    want = load(name, made[0] / name, complete=False)
    if name == "seed":
        want = [sample for sample in want if "video" not in sample.media]
    assert [sample.question for sample in got] == [sample.question for sample in want]
    assert [sample.answer for sample in got] == [sample.answer for sample in want]
    assert [sample.split for sample in got] == [sample.split for sample in want]
    assert [sample.id for sample in got] == [sample.id for sample in want]
    for mine, theirs in zip(got, want, strict=True):
        if mine.media and BENCHMARKS[name].media == "image":
            assert (folder / mine.media).read_bytes() == (
                made[0] / name / theirs.media
            ).read_bytes()
    assert f"{name}: complete in {folder}" in said[-2]
    left = files(tmp_path)
    assert not [file for file in left if file.endswith((".zip", ".partial"))]
    assert not [file for file in left if "never_asked" in file or ".cache" in file]
    assert problems([name], tmp_path) == []
    assert check([kept(name, tmp_path)]) == []


def test_a_second_fetch_asks_for_nothing(hub, tmp_path):
    get(hub, tmp_path, "gqa", "pope")
    hub.asked.clear()
    said = get(hub, tmp_path, "gqa", "pope")
    assert said[:2] == [f"{name}: is complete in {tmp_path / name}" for name in ("gqa", "pope")]
    assert hub.asked == []


def test_archives_come_once_for_all_that_take_from_them(hub, tmp_path):
    get(hub, tmp_path, "pope", "textvqa", "scienceqa", "seed")
    assert sum(path.endswith("eval.zip") for path in downloads(hub)) == 1
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "pope", "textvqa", "scienceqa", "seed_bench"
    }  # fmt: skip


@pytest.mark.parametrize("knows_digits", [True, False])
def test_first_digits_of_a_commit_are_pinned_as_the_whole_one(hub, tmp_path, knows_digits):
    hub.knows_digits = knows_digits
    get(hub, tmp_path, "gqa")
    pinned = {locked.revision for locked in read_lock(tmp_path).values()}
    assert pinned == {"6ac3999af690e1f5631e2bf1efcf51e9a9afee4b", "a4a19b5".ljust(40, "0")}


def test_digits_that_no_commit_has(hub, tmp_path):
    hub.commits["lmms-lab-encoder/GQA"] = ["6ac3999af690e1f5631e2bf1efcf51e9a9afee4b"]
    with pytest.raises(CheckpointError, match="lmms-lab-encoder/GQA, but not its revision a4a"):
        get(hub, tmp_path, "gqa")


def _gone(hub):
    del hub.repositories[EVAL_ZIP]


def _another(hub):
    hub.repositories[EVAL_ZIP] = {"eval.zip": zipped({"pope/llava_pope_test.jsonl": b"{}"})}


@pytest.mark.parametrize("change", [_gone, _another])
def test_a_mirror_serves_what_the_first_does_not(change, hub, tmp_path):
    hub.repositories[MIRROR] = hub.repositories[EVAL_ZIP]
    hub.commits[MIRROR] = ["09bf828e2e9cc9fba62d01bdc47eacaf3eeff45f"]
    change(hub)
    assert any(line.startswith(f"{MIRROR} @ 09bf828e2e9c") for line in get(hub, tmp_path, "pope"))
    del hub.repositories[MIRROR]
    (tmp_path / "pope" / "llava_pope_test.jsonl").unlink()
    with pytest.raises(CheckpointError, match="benchmark_llava .*; .*does not show studymakes"):
        get(hub, tmp_path, "pope")


def test_a_renamed_repository_is_followed(hub, tmp_path):
    hub.moved = {"lmms-lab-encoder/MMVet": "somebody/MMVet"}
    hub.repositories["somebody/MMVet"] = hub.repositories.pop("lmms-lab-encoder/MMVet")
    hub.commits["somebody/MMVet"] = hub.commits["lmms-lab-encoder/MMVet"]
    get(hub, tmp_path, "mmvet")


def refuse(hub):
    hub.gated = {"lmms-lab-encoder/POPE"}


def lose(hub):
    del hub.repositories["lmms-lab-encoder/POPE"]


def lose_labels(hub):
    del hub.repositories["AoiDragon/POPE"]


def move_file(hub):
    files = hub.repositories["lmms-lab-encoder/POPE"]
    files["new/test-0.parquet"] = files.pop("data/test-00001-of-00002.parquet")
    del files["data/test-00000-of-00002.parquet"]


def alter(hub):
    hub.altered = {"data/test-00001-of-00002.parquet"}


def alter_labels(hub):
    hub.altered = {"output/coco/coco_pope_random.json"}


def break_off(hub):
    hub.broken = {"data/test-00001-of-00002.parquet"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (refuse, "lmms-lab-encoder/POPE asks for its terms to be accepted.*`hf auth login`"),
        (lose, "the hub does not show lmms-lab-encoder/POPE"),
        (lose_labels, "GitHub does not show AoiDragon/POPE at e3e39262.*by hand"),
        (move_file, "lmms-lab-encoder/POPE at 4db127.* has no file data/test-.*by hand"),
        (alter, "data/test-00001-of-00002.parquet of lmms-lab-encoder/POPE came with another"),
        (alter_labels, "coco/coco_pope_random.json of AoiDragon/POPE came with another content"),
        (break_off, "the connection to the hub failed .*the same command goes on"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_sentence(fault, said, hub, tmp_path):
    whole = dict(hub.repositories)
    fault(hub)
    with pytest.raises(CheckpointError, match=said) as raised:
        get(hub, tmp_path, "pope")
    assert "\n" not in str(raised.value)
    there = {file for file in files(tmp_path / "pope") if file.endswith(".parquet")}
    hub.asked.clear()
    hub.repositories, hub.gated, hub.altered, hub.broken = whole, set(), set(), set()
    hub.repositories["lmms-lab-encoder/POPE"].pop("new/test-0.parquet", None)
    if fault is move_file:
        return
    get(hub, tmp_path, "pope")  # nothing that had come comes again
    assert not {path for path in downloads(hub) for file in there if path.endswith(file)}


def test_a_full_disk_in_the_middle_of_an_archive(hub, tmp_path, monkeypatch):
    copy, calls = shutil.copyfileobj, []

    def full(*args):
        calls.append(args)
        if len(calls) == 4:  # the questions, then two pictures
            raise OSError(28, "No space left on device")
        return copy(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(CheckpointError, match="the disk is full at .*the same command goes on"):
            get(hub, tmp_path, "seed")
    left = files(tmp_path / "seed_bench")
    assert "SEED-Bench-image.zip" in left and not [file for file in left if "partial" in file]
    hub.asked.clear()
    get(hub, tmp_path, "seed")
    assert not [path for path in downloads(hub) if path.endswith("image.zip")]


def test_an_interrupt_while_unpacking(hub, tmp_path, monkeypatch):
    copy, calls = shutil.copyfileobj, []

    def interrupt(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return copy(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(hub, tmp_path, "seed")
    assert not (tmp_path / "seed_bench" / "SEED-Bench-image").exists()
    hub.asked.clear()
    get(hub, tmp_path, "seed")
    assert not [path for path in downloads(hub) if path.endswith("image.zip")]
    assert verify("seed", tmp_path / "seed_bench") == []


def test_an_archive_that_is_damaged_on_the_disk_comes_anew(hub, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            get(hub, tmp_path, "seed")
    archive = tmp_path / "seed_bench" / "SEED-Bench-image.zip"
    archive.write_bytes(bytes(archive.stat().st_size))
    with pytest.raises(CheckpointError, match="image.zip cannot be unpacked .*thrown away"):
        get(hub, tmp_path, "seed")
    get(hub, tmp_path, "seed")


def cut(whole):
    return whole[: len(whole) // 2]


def encrypted(whole):
    """Set the flag of encryption in all headers."""
    changed = bytearray(whole)
    for mark, flag in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        for found in re.finditer(re.escape(mark), whole):
            changed[found.start() + flag] |= 1
    return bytes(changed)


def packed_otherwise(whole):
    changed = bytearray(whole)
    for found in re.finditer(re.escape(b"PK\x01\x02"), whole):
        changed[found.start() + 10] = 99
    return bytes(changed)


def twice(whole):
    with zipfile.ZipFile(io.BytesIO(whole)) as opened:
        files_ = {name: opened.read(name) for name in opened.namelist()}
    return zipped(files_ | {f"other/{Path(name).name}": b"another" for name in files_})


@pytest.mark.parametrize(("change", "said"), [
    (cut, "cannot be unpacked .* it is kept in"),
    (encrypted, "cannot be unpacked .*encrypted.* it is kept in"),
    (packed_otherwise, "cannot be unpacked .*compression.* it is kept in"),
    (twice, "has both SEED-Bench-image/.* and other/.*one of which would be lost"),
])  # fmt: skip
def test_an_archive_that_cannot_be_unpacked_is_kept(hub, tmp_path, change, said):
    files_ = hub.repositories["AILab-CVC/SEED-Bench"]
    files_["SEED-Bench-image.zip"] = change(files_["SEED-Bench-image.zip"])
    with pytest.raises(CheckpointError, match=said):
        get(hub, tmp_path, "seed")
    assert "SEED-Bench-image.zip" in files(tmp_path / "seed_bench")


def test_a_file_out_of_an_archive_that_is_damaged_is_made_anew(hub, tmp_path):
    get(hub, tmp_path, "scienceqa")
    path = tmp_path / "scienceqa" / "llava_test_CQM-A.json"
    content = path.read_bytes()
    path.write_bytes(content[:99])
    with pytest.raises(CheckpointError, match="not JSON .*llava_test_CQM-A.json, .*delete what is"):
        get(hub, tmp_path, "scienceqa")
    path.unlink()
    get(hub, tmp_path, "scienceqa")
    assert path.read_bytes() == content


def test_members_that_lead_out_of_the_folder_do_not(hub, tmp_path):
    files_ = hub.repositories["AILab-CVC/SEED-Bench"]
    with zipfile.ZipFile(io.BytesIO(files_["SEED-Bench-image.zip"])) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    members |= {
        "../../../out.jpg": b"x",
        "/absolute.jpg": b"x",
        "a/.DS_Store": b"1",
        ".DS_Store": b"2",
    }
    files_["SEED-Bench-image.zip"] = zipped(members)
    get(hub, tmp_path / "data", "seed")
    here = {path for path in files(tmp_path) if "out.jpg" in path or "absolute" in path}
    pictures = "data/seed_bench/SEED-Bench-image"
    assert here == {f"{pictures}/out.jpg", f"{pictures}/absolute.jpg"}


def test_tables_go_also_where_their_pictures_were_written_later(hub, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sparsevlm.benchmarks.loaders.parquet.write_file", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            get(hub, tmp_path, "pope")
    assert verify("pope", tmp_path / "pope") == []
    assert get(hub, tmp_path, "pope")[-1] == "nothing had to be fetched"
    assert not [
        path for path in files(tmp_path) if path.endswith((".parquet", ".zip", ".metadata"))
    ]


@pytest.mark.parametrize("content", [b"<html>", b"[{}]", b"{}"])
def test_questions_that_cannot_be_read(hub, tmp_path, content):
    videos = hub.repositories["ermu2001/PLLaVATesting"]
    name = next(n for n in videos if "MSVD" in n and n.endswith("test_q.json"))
    whole, videos[name] = videos[name], content
    with pytest.raises(CheckpointError, match="questions of msvd cannot be read .*delete test_q"):
        get(hub, tmp_path, "msvd")
    videos[name] = whole
    with pytest.raises(CheckpointError, match="questions of msvd cannot be read .*delete test_q"):
        get(hub, tmp_path, "msvd")
    for file in ("test_q.json", "test_a.json"):
        (tmp_path / layout_of("msvd").folder / file).unlink()
    get(hub, tmp_path, "msvd")


def test_seed_is_the_half_about_images_and_says_so(hub, tmp_path):
    get(hub, tmp_path, "seed")
    (tmp_path / "seed_bench" / "part.json").unlink()
    with pytest.raises(CheckpointError, match="6 samples, part.json has 14233"):
        fetch([of_benchmark("seed", tmp_path)], endpoint=hub.address, say=list)
    part = part_of(tmp_path / "seed_bench")
    assert (part.rows, part.note) == (14233, "questions about images only")


@pytest.mark.parametrize("size", [None, 1000])
def test_a_table_that_was_damaged_on_the_disk_comes_anew(hub, tmp_path, size):
    get(hub, tmp_path, "mme")
    table = tmp_path / "MME" / "data" / "test-00001-of-00002.parquet"
    content = table.read_bytes()
    table.write_bytes(content[:size] if size else b"?" * len(content))
    (said,) = problems(["mme"], tmp_path)
    assert "cannot be read" in said and "download it again" in said
    get(hub, tmp_path, "mme")
    assert table.read_bytes() == content


def test_a_table_without_a_column_is_named_and_kept(hub, tmp_path):
    files_ = hub.repositories["lmms-lab-encoder/MMVet"]
    other = hub.repositories["lmms-lab-encoder/MME"]
    hub.repositories["lmms-lab-encoder/MMVet"] = {name: other[name] for name in files_}
    with pytest.raises(CheckpointError, match="mmvet was fetched, but .* has no column capability"):
        get(hub, tmp_path, "mmvet")
    assert files_.keys() < files(tmp_path / "mm-vet")


def test_a_video_that_cannot_be_decoded(hub, tmp_path):
    videos = hub.repositories["ermu2001/PLLaVATesting"]
    name = next(n for n in videos if "MSVD" in n and n.endswith(".mp4") and "never" not in n)
    whole, videos[name] = videos[name], b"no film at all"
    with pytest.raises(CheckpointError, match="1 videos of msvd cannot be decoded .*Video-LLaVA's"):
        get(hub, tmp_path, "msvd")
    videos[name] = whole
    hub.asked.clear()
    get(hub, tmp_path, "msvd")
    assert [path for path in downloads(hub) if path.endswith(".mp4")] == [
        path for path in downloads(hub) if path.endswith(name)
    ]


@pytest.mark.parametrize(("lost", "said"), [
    ("test_q.json", "has no test_q.json of msvd; put it at"),
    (".mp4", "of the videos that are asked about, such as clip.*Video-LLaVA's archives"),
])  # fmt: skip
def test_a_repository_without_what_is_looked_for(lost, said, hub, tmp_path):
    videos = hub.repositories["ermu2001/PLLaVATesting"]
    hub.repositories["ermu2001/PLLaVATesting"] = {
        name: content for name, content in videos.items()
        if not ("MSVD" in name and name.endswith(lost))
    }  # fmt: skip
    with pytest.raises(CheckpointError, match=said):
        get(hub, tmp_path, "msvd")


def test_activitynet_says_whose_order_its_questions_have(hub, tmp_path):
    get(hub, tmp_path, "activitynet")
    folder = tmp_path / layout_of("activitynet").folder
    (folder / "part.json").unlink()
    for file in ("test_q.json", "test_a.json"):
        (folder / file).unlink()
    with pytest.raises(CheckpointError, match="8 samples, part.json has 1000"):
        fetch([of_benchmark("activitynet", tmp_path)], endpoint=hub.address, say=list)
    assert "in the order of lmms-eval/ActivityNetQA" in part_of(folder).note


def test_without_the_package_that_reads_tables_nothing_comes(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CheckpointError, match="sparsevlm-repro.a100.' first .nothing was fetched"):
        get(hub, tmp_path, "pope")
    assert hub.asked == []


def test_a_fetch_needs_room_for_what_is_unpacked(hub, tmp_path):
    hub.sizes = {"SEED-Bench-image.zip": 10**18}
    with pytest.raises(CheckpointError, match="2000000000.* GB are to be fetched"):
        get(hub, tmp_path, "seed")
    assert downloads(hub) == []


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_folder_of_a_rehearsal_is_complete(name, tmp_path):
    folder = write_fetched(name, tmp_path, N)
    assert verify(name, folder) == [] and part_of(folder).note == "drawn, for a rehearsal"


def test_the_page_names_what_comes_of_every_benchmark():
    text = (ROOT / "docs" / "a100.md").read_text(encoding="utf-8")
    block = text[text.index("| benchmark | folder") :].split("\n\n")[0]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in block.splitlines()
    ]
    assert [row[0] for row in rows[2:]] == list(declared.datasets()) and len(rows[2:]) == 12
    assert set(declared.datasets()) == set(BENCHMARKS)
    for name, folder, questions, _, size in rows[2:]:
        one, layout = declared.datasets()[name], layout_of(name)
        assert float(size) == round(sum(part.about_bytes for part in one.repositories) / 1e9, 1)
        known = (one.part.rows if one.part else 0) or layout.rows or layout_of_copy(name).rows
        assert (folder, int(questions.replace(",", ""))) == (layout.folder, known)


# The command


def command(hub, tmp_path, *words):
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address if hub else "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0", "SPARSEVLM_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "SPARSEVLM_DATA": str(tmp_path / "data"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "sparsevlm", "fetch", *words],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip


def test_a_dry_run_of_a_table_names_repository_commit_and_size_of_every_file(hub, tmp_path):
    hub.repositories["llava-hf/llava-1.5-7b-hf"] = {"model.safetensors": b"x" * 2000}
    hub.commits["llava-hf/llava-1.5-7b-hf"] = ["b234b804b114d9e37bb655e11cbbb5f5e971b7a9"]
    # The digest in the table is the true one, which no drawn archive has.
    done = command(hub, tmp_path, "--dry-run", "table_1")
    assert done.returncode == 1 and "is not the file that is needed (SHA-256 2df" in done.stderr
    done = command(hub, tmp_path, "--dry-run", "llava-7b", "gqa", "mme", "activitynet")
    assert done.returncode == 0, done.stderr
    size = len(hub.repositories["lmms-lab-encoder/MME"]["data/test-00001-of-00002.parquet"])
    for line in (
        "llava-hf/llava-1.5-7b-hf @ b234b804b114: 0.0 MB to fetch (Llama 2 Community License)",
        "    model.safetensors: 2,000 bytes",
        f"    data/test-00001-of-00002.parquet: {size:,} bytes",
        "lmms-eval/ActivityNetQA @ 83e5a35: the videos of the first 1000 questions",
        "would fetch 5.00 GB into",
    ):
        assert line in done.stdout, line
    assert downloads(hub) == []


def test_a_dry_run_without_a_network_names_what_the_table_knows(tmp_path):
    done = command(None, tmp_path, "--dry-run", "table_1")
    assert done.returncode == 0, done.stderr
    for line in (
        "llava-hf/llava-1.5-7b-hf @ b234b804b114: about 14.13 GB to fetch (Llama 2",
        "lmms-lab-encoder/GQA @ a4a19b5: about 65.6 MB to fetch (MIT (copy)",
        "    testdev_balanced_images/testdev-*.parquet",
        "    output/coco/coco_pope_random.json",
        "seed, by hand: the questions about videos need v1_video.zip.001 to .032",
        "sizes and commits are those of our table; exact ones need the hub: the connection",
        "would fetch 18.28 GB into",
    ):
        assert line in done.stdout, line
