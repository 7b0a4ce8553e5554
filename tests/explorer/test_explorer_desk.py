"""The desk: bundled traces, sessions as files, forced patches and switched raters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.explorer.bundle import asks
from sparsevlm.explorer.engine import Engine
from sparsevlm.explorer.run import Ask, Session
from sparsevlm.explorer.samples import open_picture, sample_pictures
from sparsevlm.explorer.session import TRACES, Desk, forced, next_choice

SCENES = [sample for sample in sample_pictures().values() if sample.kind == "miniature"]


@pytest.fixture(scope="module")
def desk():
    found = Desk("mini")
    found.put("scene_6")
    return found


@pytest.fixture(scope="module")
def picture():
    return open_picture("scene_6")


def texts(answer):
    return [token.text for token in answer]


@pytest.mark.parametrize("sample", SCENES, ids=lambda sample: sample.name)
def test_bundled_traces_are_of_the_bundled_weights(sample):
    path = TRACES / f"{sample.name}.json.gz"
    session = Session.load(path)
    remedy = "record them again: sparsevlm bundle"
    assert session.model.revision == MiniatureBackend().revision("mini-llava"), remedy
    assert [run.ask for run in session.runs] == asks(sample.questions), remedy
    assert path.stat().st_size < 200_000


def test_a_bundled_answer_is_what_the_model_says(desk, picture):
    ask = Ask("what letter is on the brown card ?", "pdrop", 64)
    recorded, now = desk.answer(ask), desk.engine().ask(picture, ask)[0]
    assert recorded.sample.stages[0].kept == now.sample.stages[0].kept
    assert texts(recorded.pruned) == texts(now.pruned)


def test_a_session_survives_a_file(desk, picture, tmp_path):
    ask = Ask("what color is the ring ?", keep=(3,), drop=(4,), raters=(1, 2))
    run = desk.answer(ask)
    path = desk.session([run]).save(tmp_path / "s.json.gz")
    again = Session.load(path)
    assert again.runs[0].ask == ask and again.runs[0].sample == run.sample
    assert again.runs[0].dense == run.dense and again.model == desk.model
    assert again.geometry == desk.geometry
    assert np.array_equal(again.picture.frames[0], desk.picture.frames[0])


def test_files_that_are_no_session(tmp_path, monkeypatch, desk):
    path = tmp_path / "s.json.gz"
    with pytest.raises(FileNotFoundError):
        Session.load(path)
    path.write_bytes((TRACES / "scene_6.json.gz").read_bytes()[:900])
    with pytest.raises(ValueError, match="not a complete explorer session"):
        Session.load(path)
    monkeypatch.setattr("sparsevlm.explorer.run.MAX_BYTES", 1000)
    run = desk.answer(Ask("what letter is on the brown card ?"))
    with pytest.raises(ValueError, match="more than 1000"):
        desk.session([run]).save(tmp_path / "large.json.gz")
    assert not (tmp_path / "large.json.gz").exists()


def test_traces_of_other_weights_are_not_shown(monkeypatch):
    monkeypatch.setattr(MiniatureBackend, "revision", lambda self, model: "another")
    desk = Desk("mini")
    desk.put("scene_6")
    assert not desk.is_known(Ask("what letter is on the brown card ?"))


def test_a_session_of_another_model_takes_no_new_questions(desk, tmp_path):
    run = desk.answer(Ask("what letter is on the brown card ?"))
    session = desk.session([run])
    other = replace(session, model=replace(session.model, name="llava-hf/llava-1.5-7b-hf"))
    other.save(tmp_path / "s.json.gz")
    fresh = Desk("mini")
    fresh._engine = desk.engine()
    fresh.load(tmp_path / "s.json.gz")
    assert fresh.answer(run.ask) == replace(run, attention=fresh.answer(run.ask).attention)
    with pytest.raises(ValueError, match="recorded with llava-hf"):
        fresh.answer(Ask("what color is the ring ?"))


def test_nothing_on_the_desk():
    with pytest.raises(RuntimeError, match="no picture"):
        Desk("mini").answer(Ask("what ?"))
    with pytest.raises(RuntimeError, match="nothing to save"):
        Desk("mini").session([])
    with pytest.raises(ValueError, match="unknown profile"):
        Desk("maxi")


def test_warming_up_loads_the_model_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(Engine, "of", classmethod(lambda cls, *a: loaded.append(a) or "engine"))
    desk = Desk("mini")
    desk.warm_up().join()
    assert desk.engine() == "engine" and len(loaded) == 1


def test_forcing_and_releasing():
    ask = forced(Ask("q"), [5, 3], "keep")
    assert (ask.keep, ask.drop) == ((3, 5), ())
    ask = forced(ask, [3, 9], "drop")
    assert (ask.keep, ask.drop) == ((5,), (3, 9))
    assert next_choice(ask, 5, True) == next_choice(ask, 9, False) == "free"
    assert next_choice(ask, 1, True) == "drop" and next_choice(ask, 1, False) == "keep"
    ask = forced(ask, [3, 5, 9], "free")
    assert ask.is_plain
    with pytest.raises(ValueError, match="choice must be"):
        forced(ask, [1], "stay")


def test_switching_raters(desk):
    ask = Ask("what letter is on the brown card ?")
    assert desk.answer(ask).raters == (6,)
    more = desk.toggled_raters(ask, 5)
    assert more.raters == (5, 6) and not more.is_plain
    assert desk.toggled_raters(more, 5) == ask, "the method's own choice again"
    with pytest.raises(ValueError, match="one word at least"):
        desk.toggled_raters(ask, 6)


def test_compared_methods():
    desk, names = Desk("mini"), ["sparsevlm", "fastv", "pdrop", "tome", "random", "uniform"]
    assert [a.method for a in desk.compared(Ask("q"))] == names
    assert [a.method for a in desk.compared(Ask("q", "tome"))] == ["tome", *names[:3], *names[4:]]
    assert [a.method for a in desk.compared(Ask("q", "sparsevlm-plus"))][:2] == [
        "sparsevlm-plus", "fastv"
    ]  # fmt: skip
