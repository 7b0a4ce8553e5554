"""Drawn data go the way of the real ones, and the way back gives the official upload files."""

from __future__ import annotations

import io
import json
import zipfile
from xml.etree import ElementTree

import pytest
from PIL import Image
from synthetic import WRITERS, write_synthetic

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.benchmarks.loaders import DataError, load, verify
from sparsevlm.benchmarks.loaders.layout import LETTER_ANSWER, SHORT_ANSWER
from sparsevlm.benchmarks.uploads import write_upload
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.results.uploads import scored_again, write_uploads

ENDS = {name: SHORT_ANSWER for name in ("gqa", "mme", "pope", "textvqa")} | {
    name: LETTER_ANSWER for name in ("mmbench", "scienceqa", "seed")
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic")
    return {name: write_synthetic(name, root / name, n=12) for name in WRITERS}


def answered(name, folder, says=None):
    samples = load(name, folder, complete=False)
    return [{**sample.to_json(), "prediction": says or sample.answer} for sample in samples]


@pytest.mark.parametrize("name", WRITERS)
def test_it_loads_asks_and_scores_like_the_real_one(name, folders):
    assert verify(name, folders[name], complete=False) == []
    rows = answered(name, folders[name])
    result = get_benchmark(name).score(rows)
    assert 4 <= len(rows) <= 12
    assert result["score"] == pytest.approx(result.get("best", 100))
    assert all(row["question"].endswith(ENDS.get(name, ".")) for row in rows)
    assert get_benchmark(name).score(answered(name, folders[name], "?"))["score"] < 100


def test_it_has_the_traps_of_the_real_ones(folders):
    rows = {name: answered(name, folder) for name, folder in folders.items()}
    assert "" in {row["media"] for row in rows["scienceqa"]}
    seed = get_benchmark("seed").score(rows["seed"])
    assert seed["image"] == seed["video"] == 100
    assert len({row["split"] for row in rows["pope"]}) == 3
    assert len({row["split"] for row in rows["mme"]}) >= 3
    sizes = {Image.open(folders["gqa"] / row["media"]).size for row in rows["gqa"]}
    assert sizes == {(96, 96), (144, 96)}


def test_the_same_seed_gives_the_same_data(folders, tmp_path):
    again = write_synthetic("gqa", tmp_path / "again", n=12)
    other = write_synthetic("gqa", tmp_path / "other", n=12, seed=1)
    assert answered("gqa", again) == answered("gqa", folders["gqa"]) != answered("gqa", other)


def test_videos_are_written_too(tmp_path):
    folder = write_synthetic("tgif", tmp_path / "tgif", n=2)
    assert verify("tgif", folder, complete=False) == []
    assert len(load("tgif", folder, complete=False)) == 2


def test_unknown_fixtures_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="no synthetic fixtures for 'vqa'; known: gqa"):
        write_synthetic("vqa", tmp_path)


# The way back


def test_gqa_is_lowered_and_loses_its_last_points(folders, tmp_path):
    rows = answered("gqa", folders["gqa"], "Red.. ")[:1]
    rows[0]["prediction"] = "A red thing.."
    path = write_upload("gqa", rows, folders["gqa"], tmp_path / "answers")
    assert path == tmp_path / "answers.json"
    assert json.loads(path.read_text()) == [
        {"questionId": rows[0]["id"], "prediction": "a red thing"}
    ]


def test_mmvet_maps_ids_to_answers(folders, tmp_path):
    rows = answered("mmvet", folders["mmvet"], "a ring")
    path = write_upload("mmvet", rows, folders["mmvet"], tmp_path / "answers")
    assert json.loads(path.read_text()) == {f"v1_{i}": "a ring" for i in range(len(rows))}


def test_seed_has_one_line_per_question(folders, tmp_path):
    rows = answered("seed", folders["seed"])
    path = write_upload("seed", rows, folders["seed"], tmp_path / "answers")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"question_id": r["id"], "prediction": r["prediction"]} for r in rows]
    assert {"v4", "v8"} < {line["question_id"] for line in lines}


def sheet(path):
    """Return the cells of a workbook of one sheet, by row and column letter."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        root = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    return [
        {cell.get("r").rstrip("0123456789"): "".join(cell.itertext()) for cell in row}
        for row in root.iter(f"{space}row")
    ]


def test_mmbench_is_the_table_with_a_column_of_predictions(folders, tmp_path):
    rows = answered("mmbench", folders["mmbench"])
    rows[0]["prediction"] = 'A <"&">\x07\uffff\ud800 é'
    path = write_upload("mmbench", rows, folders["mmbench"], tmp_path / "v1.5")
    assert path == tmp_path / "v1.5.xlsx"
    head, *lines = sheet(path)
    columns = "index question A B C D prediction answer split".split()
    assert head == dict(zip("ABCDEFGHI", columns, strict=True))
    by_index = {line["A"]: line for line in lines}
    assert len(lines) == len(rows) and list(by_index) == sorted(by_index, key=int)
    assert by_index[rows[0]["id"]]["G"] == 'A <"&"> é'
    for row in rows[1:]:
        line = by_index[row["id"]]
        assert (line["G"], line["H"]) == (row["prediction"], row["answer"])
        found = [line.get(letter) for letter in "CDEF"]
        assert found == [*row["options"], None, None][:4]
    assert write_upload("mmbench", rows, folders["mmbench"], tmp_path / "v").read_bytes() == (
        path.read_bytes()
    )
    with pytest.raises(DataError, match="1 of .* rows .* have no answer"):
        write_upload("mmbench", rows[1:], folders["mmbench"], tmp_path / "part")
    assert not (tmp_path / "part.xlsx").exists()


def finish(store, rows_of, open_ones=()):
    """Keep rows as runs, all but some of them finished, and return the runs."""
    runs = []
    for benchmark, rows in rows_of.items():
        run = EvaluationRun(
            model="m", revision="r", benchmark=benchmark, samples="s", num_samples=len(rows),
            seed=0, method="fastv", tokens=64, pruner="{}", dtype="float32", attention="sdpa",
            batch=1,
        )  # fmt: skip
        runs.append(run)
        with store.writing(run, [row["id"] for row in rows]) as writer:
            writer.append(rows)
            if benchmark not in open_ones:
                writer.finish({})
    return runs


def test_finished_runs_are_written_for_the_official_scorers(folders, tmp_path):
    store = Store(tmp_path / "results")
    rows_of = {name: answered(name, folders[name]) for name in ("gqa", "pope", "seed")}
    runs = finish(store, rows_of, open_ones=("seed",))
    written = write_uploads(runs, store, tmp_path / "out", tmp_path)
    assert [path.name for path in written] == [f"gqa_fastv_64_{runs[0].id[:8]}.json"]
    answers = {row["questionId"]: row["prediction"] for row in json.loads(written[0].read_text())}
    assert answers == {row["id"]: row["answer"] for row in answered("gqa", folders["gqa"])}


def test_finished_answers_are_scored_by_another_version_of_the_rules(folders, tmp_path):
    store = Store(tmp_path / "results")
    rows = answered("mmbench", folders["mmbench"])
    said = [{**row, "prediction": f"The answer is {row['answer']}."} for row in rows]
    runs = finish(store, {"mmbench": said, "pope": answered("pope", folders["pope"])})
    current, older = get_benchmark("mmbench").readings
    title, letters = "mmbench, fastv at 64 tokens", [row["answer"] for row in rows]
    assert scored_again(runs, store, current) == [f"{title}: 100.0 %, 0 answers unread"]
    assert scored_again(runs, store, older) == [
        f"{title}: 0.0 %, {letters.count('A')} answers unread"
    ]
