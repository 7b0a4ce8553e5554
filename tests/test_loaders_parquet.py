"""Benchmarks from parquet files with the columns of the hub's copies: the samples are the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_parquet import WRITERS, write_rows, write_synthetic_parquet

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.benchmarks.loaders import (
    DataError,
    layout,
    layout_of,
    load,
    parquet,
    textvqa,
    verify,
)
from sparsevlm.benchmarks.loaders.parquet import (
    COMPLETED,
    PICTURES,
    READABLE,
    files_of,
    layout_of_copy,
    read_rows,
)

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


def without_names(samples):
    """Without what names a sample or a file; a group of one has the name of its sample."""
    return [
        replace(s, id="-", media="", group="-" if s.group == s.id else s.group) for s in samples
    ]


def test_every_readable_copy_has_fixtures():
    assert set(WRITERS) == set(READABLE)
    assert layout_of_copy("pope").splits["random"] == 3000


@pytest.mark.parametrize("name", WRITERS)
def test_a_copy_gives_the_samples_of_the_official_files(name, folders):
    official, copy = folders[name]
    want, got = load(name, official, complete=False), load(name, copy, complete=False)
    assert without_names(got) == without_names(want)
    if name in ("gqa", "mmbench", "mme", "mmvet"):
        assert [sample.id for sample in got] == [sample.id for sample in want]
    assert len({sample.id for sample in got}) == len(got)
    for mine, theirs in zip(got, want, strict=True):
        assert bool(mine.media) is bool(theirs.media)
        if not mine.media:  # a question of ScienceQA
            continue
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
    assert "lmms-lab-encoder/POPE on the hub has 9000" in said


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


@pytest.fixture
def beside(tmp_path, request):
    """A folder with official questions and a copy that gives the rest, as a fetch leaves it."""
    name = request.param
    folder = write_synthetic_parquet(name, tmp_path / "official", tmp_path / "copy", n=12)
    for file in layout_of(name).files:
        if file not in COMPLETED[name].FROM_COPY:
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "official" / file, folder / file)
    return name, folder


@pytest.mark.parametrize("beside", COMPLETED, indirect=True)
def test_a_copy_beside_official_questions_gives_what_they_lack(beside, tmp_path):
    name, folder = beside
    want = load(name, tmp_path / "official", complete=False)
    assert load(name, folder, complete=False) == want
    for table in folder.rglob("*.parquet"):
        table.unlink()
    assert load(name, folder, complete=False) == want  # the copy is not needed any more
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("beside", ["pope"], indirect=True)
def test_pictures_are_all_there_or_not_at_all(beside, monkeypatch):
    name, folder = beside
    write, calls = layout.write_file, []

    def stop(path, content):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_file", stop)
        with pytest.raises(KeyboardInterrupt):
            load(name, folder, complete=False)
    assert not (folder / "val2014").exists()
    assert verify(name, folder, complete=False) == []


@pytest.mark.parametrize("beside", ["textvqa"], indirect=True)
def test_other_ocr_tokens_than_those_of_the_copy_are_said(beside, caplog):
    name, folder = beside
    questions = folder / textvqa.QUESTIONS
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    question, _, end = rows[0]["text"].split("\n")
    rows[0]["text"] = "\n".join([question, f"{textvqa.OCR_LINE}another", end])
    questions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert "another" in load(name, folder, complete=False)[0].question
    assert "1 of 12 prompts of eval.zip have other OCR tokens than the copy" in caplog.text


@pytest.mark.parametrize("beside", ["scienceqa"], indirect=True)
def test_a_copy_of_another_version_than_the_problems(beside):
    name, folder = beside
    problems = json.loads((folder / "problems.json").read_text())
    problems["1"]["question"] += " Really?"
    (folder / "problems.json").write_text(json.dumps(problems))
    assert "is no test question of problems.json; fetch both again" in fault(name, folder)


@pytest.mark.parametrize("beside", ["pope"], indirect=True)
@pytest.mark.parametrize("nothing", [None, {"bytes": None, "path": "a.jpg"}])
def test_a_copy_without_one_of_its_pictures(beside, nothing):
    name, folder = beside
    (table,) = files_of(folder, "default", "test")
    rows = list(read_rows([table], ("image", "image_source")))
    write_rows(table, [{**rows[0], "image": nothing}, *rows[1:]], ["image"])
    assert "has no picture for val2014/COCO" in fault(name, folder)


PICTURE = {"bytes": b"GIF89a", "path": "a.gif"}


@pytest.mark.parametrize("beside", ["pope"], indirect=True)
@pytest.mark.parametrize(("change", "said"), [
    ({"image": [PICTURE, PICTURE]}, "a picture must be a structure of bytes and path, got a list"),
    ({"image": "a.jpg"}, "a picture must be a structure of bytes and path, got a str"),
    ({"image_source": None}, "damaged or of another version"),
    ({"image_source": "../../../out"}, "names a picture 'val2014/../../../out.jpg'"),
    ({"image_source": "elsewhere"}, "12 of 12 pictures are missing"),
])  # fmt: skip
def test_a_copy_with_odd_values(beside, change, said, tmp_path):
    name, folder = beside
    (table,) = files_of(folder, "default", "test")
    rows = list(read_rows([table], ("image", "image_source")))
    whole = table.read_bytes()
    write_rows(table, [{**row, **change} for row in rows], ["image"] * ("image" not in change))
    assert said in fault(name, folder)
    assert not (tmp_path / "out.jpg").exists() and not (folder / "val2014").exists()
    table.write_bytes(whole)  # as the next fetch brings it
    assert len(load(name, folder, complete=False)) == 12


def test_scienceqa_may_have_questions_without_a_picture(tmp_path):
    row = {"question": "Which is  colder?", "choices": ["ice", "steam"], "answer": 0, "hint": None}
    rows = [{**row, "image": None}, {**row, "image": {"bytes": None, "path": None}}]
    to = tmp_path / "ScienceQA-FULL" / "test-00000-of-00001.parquet"
    write_rows(to, rows, ["image"], {"answer": "int8", "hint": "string"})
    for sample in load("scienceqa", tmp_path, complete=False):
        assert sample.question == (
            "Context: N/A\nQuestion: Which is colder?\nOptions: (A) ice (B) steam\n"
            "Answer with the option's letter from the given choices directly."
        )
        assert (sample.media, sample.split, sample.answer) == ("", "text", "A")
    assert "all: 2 samples, lmms-lab-encoder/ScienceQA on the hub has 4241" in fault(
        "scienceqa", tmp_path, complete=True
    )


def test_datasets_takes_a_written_picture_for_one(folders):
    """lmms-eval's tasks read these files with `datasets`, which looks at the notes in them."""
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in files_of(folders["pope"][1], "default", "test")]
    import pyarrow.parquet

    notes = json.loads(pyarrow.parquet.read_schema(files[0]).metadata[b"huggingface"])
    features = datasets.Features.from_dict(notes["info"]["features"])
    assert features["image"] == datasets.Image()
    assert features["question"] == datasets.Value("string")


def test_unknown_fixtures(tmp_path):
    with pytest.raises(ValueError, match="no parquet fixtures for 'seed'; known: gqa, mmbench"):
        write_synthetic_parquet("seed", tmp_path / "a", tmp_path / "b")
