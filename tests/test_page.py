"""What a notebook starts with: checked parameters, a profile, and a place for its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sparsevlm.evaluation.paths import FIGURES, NOTEBOOKS, ROOT
from sparsevlm.paper.page import begin, open_page

SOURCE = """\
# %% tags=["parameters"]
profile: str = "mini"
limit: int = 0
model: str = ""
tokens: int = 64
method: str = "sparsevlm"
question: str = ""
"""


@pytest.fixture
def opened(tmp_path):
    (tmp_path / "probe.py").write_text(SOURCE)
    return lambda **given: open_page("probe", given, tmp_path)


def test_no_run_writes_to_the_tracked_folder(opened):
    page, own = opened(), FIGURES / "mini"
    assert (page.folder, page.stem(), page.stem("scores")) == (own, "probe", "probe_scores")
    assert opened(profile="mini", tokens=64, limit=0, model="").folder == own


@pytest.mark.parametrize(
    ("given", "folder", "name"),
    [
        ({"tokens": 128}, "mini", "probe_part_tokens-128"),
        ({"limit": 8}, "mini-8", "probe_part"),
        ({"profile": "mini-8"}, "mini-8", "probe_part"),
        ({"model": "mini-llava"}, "mini+mini-llava", "probe_part"),
        ({"profile": "a100", "tokens": 128}, "a100", "probe_part_tokens-128"),
        ({"model": "llava-13b", "profile": "a100"}, "a100+llava-hf_llava-1.5-13b-hf", "probe_part"),
        ({"question": "is it red ?"}, "mini", "probe_part_question-is-it-red"),
        ({"question": "/home/me/a photo.jpg"}, "mini", "probe_part_question-a-photo-d2e522f0"),
    ],
)
def test_what_differs_from_it_has_a_folder_and_a_name_of_its_own(opened, given, folder, name):
    page = opened(**given)
    assert (page.folder, page.stem("part")) == (FIGURES / folder, name)


def test_long_values_have_short_names_that_differ(opened):
    names = {opened(question="what is in " + 9 * "the picture " + end).stem() for end in "ab"}
    assert len(names) == 2 and all(len(name) < 60 for name in names)


def test_limit_and_model_are_applied(opened):
    profile = opened(limit=8, model="mini-llava").profile
    assert (profile.samples_per_benchmark, profile.model) == (8, "mini-llava")
    assert profile.for_study("table_1").model == "mini-llava"


def test_a_figure_is_saved_there(opened, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from sparsevlm.analysis import style
    from sparsevlm.paper import page as pages

    monkeypatch.setattr(pages, "FIGURES", tmp_path)
    monkeypatch.setattr(style, "ROOT", tmp_path)
    for given in ({}, {"tokens": 128}, {"limit": 8}, {"profile": "a100", "tokens": 128}):
        page = opened(**given)
        figure = Figure(figsize=(2, 1))
        files = page.save(figure, "part", sources=["b"])
        assert [path.name for path in files] == [
            f"{page.stem('part')}.{kind}" for kind in ("pdf", "png", "svg")
        ]
        assert {path.parent for path in files} == {page.folder}


def test_a_profile_that_cannot_run_is_refused_with_the_reason(opened):
    with pytest.raises(NotImplementedError, match="it has no accuracy"):
        opened(profile="shape")


WRONG = [
    ({"tokens": "many"}, "parameter 'tokens' must be int (for example 64), got 'many'"),
    ({"tokens": 0}, "parameter 'tokens' must be a positive number, got 0"),
    ({"profile": "maxi"}, "unknown profile 'maxi'; known: mini, a100, shape"),
    ({"method": "nosuch"}, "unknown method 'nosuch'; known: dense, sparsevlm, "),
    ({"model": "nosuch"}, "unknown model 'nosuch', and no folder; known: mini-llava, "),
    ({"limit": 2}, "limit must be at least 4"),
    ({"limt": 8}, "unknown parameter 'limt' of notebook probe; known: profile, limit, model, "),
]


@pytest.mark.parametrize(("given", "sentence"), WRONG)
def test_a_wrong_parameter_is_one_sentence(opened, given, sentence):
    with pytest.raises(ValueError) as caught:
        opened(**given)
    assert str(caught.value).startswith(sentence) and "\n" not in str(caught.value)


def test_own_variables_of_a_reader_are_no_parameters():
    """A reader's first cell, and the second run of a cell, set names that are not declared."""
    namespace = {"profile": "mini", "tokens": 64, "mine": 3, "In": ["", "mine = 3"]}
    assert begin("figure_6", namespace).parameters["tokens"] == 64
    namespace["In"].append("# Parameters\ntokens = 64\nmine = 3\n")
    with pytest.raises(ValueError, match="unknown parameter 'mine' of notebook figure_6"):
        begin("figure_6", namespace)


# --- Under plain papermill, from another folder ---------------------------------------------------


def papermill(folder, *parameters: str) -> subprocess.CompletedProcess:
    given = [word for pair in zip(parameters[::2], parameters[1::2], strict=True)
             for word in ("-p", *pair)]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "papermill", str(NOTEBOOKS / "figure_6.ipynb"), "out.ipynb", *given],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_a_notebook_runs_from_any_folder(tmp_path):
    files = [FIGURES / "mini-5" / f"figure_6_tokens-100.{kind}" for kind in ("pdf", "png", "svg")]
    for path in files:
        path.unlink(missing_ok=True)
    before = {path: path.stat().st_mtime_ns for path in FIGURES.iterdir() if path.is_file()}
    done = papermill(tmp_path, "profile", "mini", "limit", "5", "tokens", "100")
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(path.exists() for path in files)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for path in files:
        path.unlink()
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    assert any("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", ()))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "limt",
            "8",
            "ValueError: unknown parameter 'limt' of notebook figure_6; known: ",
        ),
        ("tokens", "many", "ValueError: parameter 'tokens' must be int (for example 64), got"),
    ],
)
def test_papermill_fails_with_the_sentence(tmp_path, name, value, sentence):
    done = papermill(tmp_path, name, value)
    assert done.returncode != 0 and sentence in done.stderr
