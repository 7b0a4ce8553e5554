"""The real benchmarks' folders: prompts, references, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from sparsevlm.benchmarks import BENCHMARKS, Sample, get_benchmark
from sparsevlm.benchmarks.loaders import DataError, layout_of, load, part_of, select, verify
from sparsevlm.benchmarks.loaders.parquet import COPIES, READABLE
from sparsevlm.benchmarks.uploads import write_upload

# Data in the official layout, written by hand; PROMPTS has what LLaVA's scripts ask for them.
FROZEN = Path(__file__).parent / "loaders"
PROMPTS = FROZEN / "prompts"
BETWEEN = "\n-----\n"
IMAGE_BENCHMARKS = [name for name, benchmark in BENCHMARKS.items() if benchmark.media == "image"]
PICTURES = {
    "gqa": ["data/images/n1.jpg"],
    "mmbench": [],
    "mme": [f"MME_Benchmark_release_version/{name}" for name in
            ("count/0001.jpg", "artwork/images/77.jpg")],
    "pope": ["val2014/COCO_val2014_000000000001.jpg"],
    "scienceqa": ["images/test/3/image.png"],
    "seed": ["SEED-Bench-image/1_22", "SEED-Bench-video-image/10_v7.png"],
    "textvqa": ["train_images/00aa.jpg"],
    "mmvet": ["images/v1_0.png"],
}  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """Return a function from a benchmark's name to a copy of its frozen folder, with pictures."""

    def copy(name: str) -> Path:
        folder = tmp_path / layout_of(name).folder
        shutil.copytree(FROZEN / folder.name, folder)
        for picture in PICTURES[name]:
            path = folder / picture
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (3, 2)).save(path, "PNG")
        return folder

    return copy


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def fault(name: str, folder: Path) -> str:
    with pytest.raises(DataError) as raised:
        load(name, folder, complete=False)
    assert verify(name, folder, complete=False) == [str(raised.value)]
    return str(raised.value)


# What comes out


@pytest.mark.parametrize("name", IMAGE_BENCHMARKS)
def test_the_prompt_is_the_one_of_the_official_script(name, data):
    samples = load(name, data(name), complete=False)
    prompts = BETWEEN.join(sample.question for sample in samples)
    assert prompts + "\n" == (PROMPTS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", IMAGE_BENCHMARKS)
def test_the_references_are_right_by_the_benchmarks_own_scorer(name, data):
    samples = load(name, data(name), complete=False)
    rows = [{**sample.to_json(), "prediction": sample.answer} for sample in samples]
    result = get_benchmark(name).score(rows)
    assert result["score"] == pytest.approx(result.get("best", 100.0))


def test_what_the_fields_hold(data):
    assert [s.split for s in load("gqa", data("gqa"), complete=False)] == ["verify", "query"]
    mme = load("mme", data("mme"), complete=False)
    assert [s.answer for s in mme] == ["Yes", "Yes", "No", "No"]
    assert [s.group for s in mme] == ["count/0001.jpg", "artwork/images/77.jpg"] * 2
    assert [s.split for s in mme] == ["count", "artwork"] * 2
    science = load("scienceqa", data("scienceqa"), complete=False)
    assert [(s.media, s.split) for s in science] == [
        ("images/test/3/image.png", "image"),
        ("", "text"),
    ]
    vet = load("mmvet", data("mmvet"), complete=False)
    assert vet[0].answers == ("water <OR> tea", "2 litres") and vet[0].split == "rec+ocr"
    text = load("textvqa", data("textvqa"), complete=False)
    assert [s.id for s in text] == ["00aa.0", "00aa.1"]
    assert text[0].answers[7:] == ("HOT", "2l", "unanswerable")


def test_mmbench_has_the_rotations_of_a_question_together_the_original_first(data):
    folder = data("mmbench")
    samples = load("mmbench", folder, complete=False)
    assert [s.id for s in samples] == ["241", "1000241", "7", "1000007", "2000007", "3000007"]
    assert [s.group for s in samples] == ["241"] * 2 + ["7"] * 4
    assert [s.answer for s in samples] == list("ABCBAD")
    assert len({s.media for s in samples}) == len(list((folder / "images").iterdir())) == 1
    written = (folder / samples[0].media).stat().st_mtime_ns
    assert load("mmbench", folder, complete=False) == samples
    assert (folder / samples[0].media).stat().st_mtime_ns == written


@pytest.mark.parametrize("word", ["None", "nan", "NA", ""])
def test_mmbench_options_end_where_pandas_sees_no_value(word, data):
    folder = data("mmbench")
    table = folder / "mmbench_dev_20230712.tsv"
    change(table, "a kettle\ta mug\t\t\tA", f"a kettle\ta mug\t{word}\tafter\tA")
    change(table, "a mug\ta kettle\t\t\tB", f"a mug\ta kettle\t{word}\tafter\tB")
    first = load("mmbench", folder, complete=False)[0]
    assert first.options == ("a kettle", "a mug") and "after" not in first.question


def test_a_line_of_json_may_hold_any_unicode(data):
    folder = data("gqa")
    change(folder / "llava_gqa_testdev_balanced.jsonl", "the kettle on", "the\u2028kettle on")
    assert "the\u2028kettle" in load("gqa", folder, complete=False)[0].question


# What is wrong with the data


@pytest.mark.parametrize("name", IMAGE_BENCHMARKS)
def test_every_missing_file_is_named_with_its_source(name, data, tmp_path):
    folder = data(name)
    for file, source in layout_of(name).files.items():
        shutil.move(folder / file, tmp_path / "away")
        said = fault(name, folder)
        assert f"{folder} lacks {file}, which {source} has" in said
        shutil.move(tmp_path / "away", folder / file)
    shutil.rmtree(folder)
    assert f"there is no folder {folder}" in fault(name, folder)


@pytest.mark.parametrize("name", [n for n in IMAGE_BENCHMARKS if layout_of(n).rows])
def test_a_part_of_a_benchmark_is_not_taken_for_the_whole(name, data):
    folder = data(name)
    with pytest.raises(DataError, match=f"official benchmark has {layout_of(name).rows}"):
        load(name, folder)
    assert len(verify(name, folder)) == 1 and verify(name, folder, complete=False) == []


def test_a_folder_that_says_to_be_a_part_is_complete_as_such(data):
    folder = data("pope")
    rows = len(load("pope", folder, complete=False))
    assert part_of(folder) is None
    part = {"rows": rows, "note": "the first pictures", "splits": {"random": 1}}
    (folder / "part.json").write_text(json.dumps(part))
    assert verify("pope", folder) == [] and part_of(folder).note == "the first pictures"
    assert part_of(folder).rows == rows and part_of(folder).splits == {"random": 1}
    (folder / "part.json").write_text(json.dumps(part | {"rows": rows + 1}))
    (said,) = verify("pope", folder)
    assert f"all: {rows} samples, part.json has {rows + 1}" in said and "delete it if" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the file: Invalid JSON"),
        ("[]", "the file: Input should be"),
        ('{"rows": 3}', "note: Field required"),
        ('{"rows": 3, "note": ""}', "note: String should have at least 1"),
        ('{"rows": "3", "note": "a"}', "rows: Input should be a valid integer"),
        ('{"rows": 0, "note": "a"}', "rows: Input should be greater than 0"),
        ('{"rows": 3, "note": "a", "split": {}}', "split: Unexpected keyword argument"),
        ('{"rows": 3, "note": "a", "splits": {"b": -1}}', "splits.b: Input should be greater"),
    ],
)
def test_a_wrong_part_is_one_sentence(text, said, data):
    folder = data("gqa")
    (folder / "part.json").write_text(text)
    (found,) = verify("gqa", folder)
    assert found.startswith(f"{folder / 'part.json'} must be like") and said in found
    assert "\n" not in found


@pytest.mark.parametrize("name", [n for n in IMAGE_BENCHMARKS if PICTURES[n]])
def test_a_missing_picture_is_named(name, data):
    folder = data(name)
    (folder / PICTURES[name][0]).unlink()
    assert f"pictures are missing, such as {PICTURES[name][0]}" in fault(name, folder)


def test_a_damaged_picture_is_named(data):
    folder = data("pope")
    picture = folder / PICTURES["pope"][0]
    Image.effect_noise((64, 64), 50).save(picture, "PNG")
    picture.write_bytes(picture.read_bytes()[:2000])
    (said,) = verify("pope", folder, complete=False)
    assert PICTURES["pope"][0] in said and "download it again" in said


GQA = "llava_gqa_testdev_balanced.jsonl"
TEXTVQA = "llava_textvqa_val_v051_ocr.jsonl"
RELEASE = "MME_Benchmark_release_version"
# What is changed in a file of a benchmark, and what is said then.
FAULTS = [
    ("gqa", GQA, "20000002", "20000001", "sample '20000001' is there twice"),
    ("gqa", GQA, '{"question_id": "20000002"', "{", "line 2 of"),
    ("gqa", "data/testdev_balanced_questions.json", '"20000002"', '"20000004"',
     "has no question '20000002'"),
    ("gqa", "data/testdev_balanced_questions.json", '"answer": "mug"', '"answer": " "',
     "Sample.answer must be a non-empty string"),
    ("pope", "coco/coco_pope_random.json", '"label"', '"labels"', "line 1 of"),
    ("pope", "coco/coco_pope_random.json", '"label"', '"labels"', "['label'] missing"),
    ("mme", "llava_mme.jsonl", "titled the mug", "titled the cup",
     "no answer to 'Is this artwork titled the cup?'"),
    ("scienceqa", "pid_splits.json", '"test": ["3", "8"]', '"test": ["3", "8", "9"]',
     "1 of 3 questions in pid_splits.json, test are not in"),
    ("textvqa", TEXTVQA, "Reference OCR token: \\n", "", "not the file without OCR"),
    ("textvqa", TEXTVQA, "HOT, ", "HOT\\n", "the prompt of '00aa.0' must be the question"),
    ("mmbench", "mmbench_dev_20230712.tsv", "\tiVBO", "\t????", "is no base64"),
    ("mmbench", "mmbench_dev_20230712.tsv", "\tA\tobject", "\ta\tobject",
     "row 241 of mmbench_dev_20230712.tsv has the answer 'a', not one of 'A', 'B', 'C', 'D'"),
    ("mme", f"{RELEASE}/count/0001.txt", "\tYes", "\tmaybe", "MME answers are yes or no"),
    ("seed", "SEED-Bench.json", '"answer": "B"', '"answer": "b"', "'1001' in SEED-Bench.json has"),
    ("seed", "llava-seed-bench.jsonl", '"SEED-Bench-image/1_22"', "7", "1 of 2 pictures"),
    *(("scienceqa", "problems.json", '"answer": 1', f'"answer": {value}',
       "'8' in problems.json has the answer ") for value in ('"1"', 2, -1, "true", "null")),
    ("scienceqa", "llava_test_CQM-A.json", '"value"', '"text"', "version (KeyError('value'))"),
    ("textvqa", "TextVQA_0.5.1_val.json", '"HOT"', "null", "Sample.answers must be strings"),
    ("mmvet", "mm-vet.json", '"capability"', '"answer": null, "capability"', "another version ("),
    ("gqa", "data/testdev_balanced_questions.json", '"types"', '"types": null, "was"',
     "another version (AttributeError"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "old", "new", "said"), FAULTS)
def test_a_fault_of_the_data_is_named(name, file, old, new, said, data):
    folder = data(name)
    change(folder / file, old, new)
    assert said in fault(name, folder)


def test_bytes_that_are_no_text_are_a_fault_of_the_data(data):
    folder = data("gqa")
    (folder / GQA).write_bytes(b'{"question_id": "\xff"}')
    assert f"the files in {folder} are damaged" in fault("gqa", folder)


def test_pope_wants_the_version_with_2910_random_questions(data):
    labels = data("pope") / "coco/coco_pope_random.json"
    text = labels.read_text()
    labels.write_text(text + text.replace("giraffe", "zebra"))
    said = fault("pope", labels.parents[1])
    assert "has 2 rows" in said and "asks 1 questions" in said and "commit e3e39262c85a6" in said
    labels.write_text(text.replace("giraffe", "zebra"))
    said = fault("pope", labels.parents[1])
    assert "its label is for 'Is there a zebra in the image?'" in said


def test_mme_wants_pairs(data):
    folder = data("mme")
    lines = (folder / "llava_mme.jsonl").read_text().splitlines(keepends=True)
    (folder / "llava_mme.jsonl").write_text("".join(lines[:3]))
    assert "'artwork/images/77.jpg' needs its two questions, got 1" in fault("mme", folder)


def test_seed_wants_questions_and_answers_of_one_version(data):
    folder = data("seed")
    answers = json.loads((folder / "SEED-Bench.json").read_text())
    del answers["questions"][1]
    (folder / "SEED-Bench.json").write_text(json.dumps(answers))
    said = fault("seed", folder)
    assert "1 of 2 questions in llava-seed-bench.jsonl are not in SEED-Bench.json" in said


def test_mmbench_wants_every_rotation(data):
    folder = data("mmbench")
    table = folder / "mmbench_dev_20230712.tsv"
    change(table, "3000007\t", "4000007\t")
    assert "'7' lacks its rotation 3000007" in fault("mmbench", folder)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    assert "'7' needs its 4 rotations, got 3" in fault("mmbench", folder)
    table.write_text("".join(line for line in lines if not line.startswith("7\t")))
    assert "'7' lacks its rotation 7" in fault("mmbench", folder)


def test_mmbench_takes_three_rotations_of_four_options_whose_last_stays(data):
    folder = data("mmbench")
    table = folder / "mmbench_dev_20230712.tsv"
    change(table, "one\ttwo\tthree\tfour\tC", "one\ttwo\tthree\tNone of these\tC")
    change(table, "two\tthree\tfour\tone\tB", "two\tthree\tone\tNone of these\tB")
    change(table, "three\tfour\tone\ttwo\tA", "three\tone\ttwo\tNone of these\tA")
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines[:-3], lines[-2], lines[-3]]))  # in any order
    samples = load("mmbench", folder, complete=False)
    assert [s.id for s in samples if s.group == "7"] == ["7", "1000007", "2000007"]
    assert all(s.question.count("D. None of these") == 1 for s in samples if s.group == "7")
    answered = [{**s.to_json(), "prediction": s.answer} for s in samples]
    assert get_benchmark("mmbench").score(answered)["score"] == 100
    sheet = write_upload("mmbench", answered, folder, folder / "sheet")
    with zipfile.ZipFile(sheet) as archive:
        assert archive.read("xl/worksheets/sheet1.xml").count(b"</row>") == 1 + len(samples) == 6


def test_parquet_files_of_the_hub_are_refused_with_the_reason(data):
    folder = data("seed")
    (folder / "llava-seed-bench.jsonl").rename(folder / "test-00000-of-00001.parquet")
    said = fault("seed", folder)
    assert "parquet files of the hub (lmms-lab-encoder/SEED-Bench), which are not read" in said
    assert "eight frames of each video in place of the middle one" in said
    assert "`sparsevlm fetch seed` gets the questions about images" in said
    assert set(COPIES) == set(IMAGE_BENCHMARKS) > set(READABLE)


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is installed")
def test_without_pyarrow_a_copy_of_the_hub_says_what_to_install(data):
    folder = data("pope")
    (folder / "llava_pope_test.jsonl").rename(folder / "test-00000-of-00001.parquet")
    assert "pip install 'sparsevlm-repro[a100]'" in fault("pope", folder)


def test_an_unknown_benchmark_is_answered_with_the_known_ones():
    for function in (load, verify):
        with pytest.raises(ValueError, match="unknown benchmark 'vqa'; known: gqa, mmbench"):
            function("vqa", ".")


# A part of a benchmark


def _samples():
    return [Sample(f"{i}", "scene:0", "q", "a", group=f"g{i // 2}") for i in range(20)]


def test_a_selection_has_whole_groups_in_order_and_grows():
    samples = _samples()
    small, large = select(samples, 7, 3), select(samples, 12, 3)
    assert len(small) == 6 and len(large) == 12
    assert set(small) <= set(large)
    assert [samples.index(s) for s in large] == sorted(samples.index(s) for s in large)
    assert all(count == 2 for count in Counter(s.group for s in large).values())
    uneven = [Sample(f"{i}.{j}", "", "q", "a", group=f"g{i}") for i in range(9) for j in range(i)]
    parts = [set(select(uneven, n, 0)) for n in range(9, len(uneven) + 1)]
    assert all(few <= more for few, more in zip(parts, parts[1:], strict=False))
    assert select(samples, 7, 3) == small != select(samples, 7, 4)
    assert select(samples, 0, 3) == select(samples, 20, 3) == select(samples, 99, 3) == samples


def test_a_selection_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="too small for a whole group, which has 2"):
        select(_samples(), 1, 0)
    for n in (-1, 2.5, True):
        with pytest.raises(ValueError, match="n must be 0 for all samples"):
            select(_samples(), n, 0)
