"""Benchmarks from parquet files with the columns of the hub's copies: the samples are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_parquet import WRITERS, write_rows, write_synthetic_parquet

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.benchmarks.loaders import DataError, load, verify
from sparsevlm.benchmarks.loaders.parquet import PICTURES, READABLE, layout_of_copy
from sparsevlm.benchmarks.loaders.parquet_table import files_of, read_rows

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'sparsevlm-repro[a100]'")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By benchmark: the official folder, and the copy in parquet files of three parts."""
    root = tmp_path_factory.mktemp("parquet")
    return {
        name: (to / "official",
               write_synthetic_parquet(name, to / "official", to / "copy", parts=3))
        for name in WRITERS for to in [root / name]
    }  # fmt: skip


def without_names(samples, **same):
    """Without what names a sample or a file; a group of one has the name of its sample."""
    return [
        replace(s, id="-", media="", group="-" if s.group == s.id else s.group, **same)
        for s in samples
    ]


def test_every_readable_copy_has_fixtures():
    assert set(WRITERS) == set(READABLE)
    assert layout_of_copy("pope").splits["random"] == 3000


@pytest.mark.parametrize("name", WRITERS)
def test_a_copy_gives_the_samples_of_the_official_files(name, folders):
    official, copy = folders[name]
    want, got = load(name, official, complete=False), load(name, copy, complete=False)
    same = {"split": ""} if name == "gqa" else {}  # the copy says nothing of GQA's kinds
    assert without_names(got, **same) == without_names(want, **same)
    if name in ("gqa", "mme", "mmvet"):
        assert [sample.id for sample in got] == [sample.id for sample in want]
    assert len({sample.id for sample in got}) == len(got)
    for mine, theirs in zip(got, want, strict=True):
        assert (copy / mine.media).read_bytes() == (official / theirs.media).read_bytes()
        assert Path(mine.media).suffix == Path(theirs.media).suffix
    rows = [{**sample.to_json(), "prediction": sample.answer} for sample in got]
    result = get_benchmark(name).score(rows)
    assert result["score"] == pytest.approx(result.get("best", 100.0))
    assert verify(name, copy, complete=False) == []


def test_a_picture_is_written_once_and_again_when_it_is_damaged(folders):
    _, copy = folders["mme"]
    samples = load("mme", copy, complete=False)
    files = sorted((copy / PICTURES).iterdir())
    assert len(files) == len({sample.media for sample in samples}) < len(samples)
    whole, before = files[0].read_bytes(), files[1].stat().st_mtime_ns
    files[0].write_bytes(b"cut off")
    load("mme", copy, complete=False)
    assert files[0].read_bytes() == whole and files[1].stat().st_mtime_ns == before


def fault(name: str, folder: Path, complete: bool = False) -> str:
    with pytest.raises(DataError) as raised:
        load(name, folder, complete=complete)
    return str(raised.value)


def test_numbers_are_those_of_the_copy(folders):
    said = fault("pope", folders["pope"][1], complete=True)
    assert "the official benchmark has 9000" in said and "numbers of lmms-lab-encoder/POPE" in said


def test_files_that_are_missing_or_damaged(tmp_path):
    copy = write_synthetic_parquet("gqa", tmp_path / "official", tmp_path / "copy", parts=2)
    tables = files_of(copy, "testdev_balanced_instructions", "testdev")
    pictures = files_of(copy, "testdev_balanced_images", "testdev")
    pictures[1].rename(tmp_path / "away.parquet")
    assert "has 1 files like testdev-00000-of-00002.parquet" in fault("gqa", copy)
    pictures[0].rename(tmp_path / "also.parquet")
    assert "download testdev_balanced_images of lmms-lab-encoder/GQA" in fault("gqa", copy)
    one = read_rows([tmp_path / "away.parquet"], ("id", "image"))
    write_rows(copy / "testdev_balanced_images" / "testdev-00000-of-00001.parquet",
               list(one)[:1], ["image"])  # fmt: skip
    assert "testdev_balanced_images in" in fault("gqa", copy) and "no picture" in fault("gqa", copy)
    tables[0].write_bytes(tables[0].read_bytes()[:200])
    assert "cannot be read" in fault("gqa", copy) and "download it again" in fault("gqa", copy)


def test_a_table_without_a_column_or_a_picture(tmp_path):
    write_rows(tmp_path / "a" / "data" / "test-00000-of-00001.parquet", [{"question_id": "1"}])
    said = fault("mmvet", tmp_path / "a")
    assert "no column image, question, answer, capability; it has question_id" in said
    row = {"question_id": "v1_0", "question": "?", "answer": "a", "capability": "ocr"}
    row["image"] = {"bytes": b"", "path": "v1_0.png"}
    write_rows(tmp_path / "b" / "data" / "test-00000-of-00001.parquet", [row], ["image"])
    assert "'v1_0' in" in fault("mmvet", tmp_path / "b")


def test_datasets_takes_a_written_picture_for_one(folders):
    """lmms-eval's tasks read these files with `datasets`, which looks at the notes in them."""
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in files_of(folders["pope"][1], "default", "test")]
    import json

    import pyarrow.parquet

    notes = json.loads(pyarrow.parquet.read_schema(files[0]).metadata[b"huggingface"])
    features = datasets.Features.from_dict(notes["info"]["features"])
    assert features["image"] == datasets.Image()
    assert features["question"] == datasets.Value("string")


def test_unknown_fixtures(tmp_path):
    with pytest.raises(ValueError, match="no parquet fixtures for 'seed'; known: gqa, mme"):
        write_synthetic_parquet("seed", tmp_path / "a", tmp_path / "b")
