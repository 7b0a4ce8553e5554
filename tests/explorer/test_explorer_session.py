"""The session: bundled traces, sessions as files, forced patches and switched raters."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.explorer import explore
from sparsevlm.explorer.engine import Engine
from sparsevlm.explorer.exploration import Query, SavedSession
from sparsevlm.explorer.images import ImageInput
from sparsevlm.explorer.session import TRACES, ExplorerSession, bundled_images, bundled_queries
from sparsevlm.explorer.state import ExplorerState


@pytest.fixture(scope="module")
def session():
    found = ExplorerSession("mini")
    found.put("scene_6")
    return found


@pytest.fixture(scope="module")
def image():
    return ImageInput.open("scene_6")


def texts(answer):
    return [token.text for token in answer]


@pytest.mark.parametrize("sample", bundled_images(), ids=lambda sample: sample.name)
def test_bundled_traces_are_of_the_bundled_weights(sample):
    path = TRACES / f"{sample.name}.json.gz"
    saved = SavedSession.load(path)
    remedy = "record them again: sparsevlm bundle"
    assert saved.model.revision == MiniatureBackend().revision("mini-llava"), remedy
    assert [found.query for found in saved.explorations] == bundled_queries(sample), remedy
    assert path.stat().st_size < 200_000


def test_a_bundled_answer_is_what_the_model_says(session, image):
    query = Query("what letter is on the white card ?", "pdrop", 64)
    recorded, now = session.answer(query), session.engine().explore(image, query)[0]
    assert recorded.trace.stages[0].kept == now.trace.stages[0].kept
    assert texts(recorded.pruned) == texts(now.pruned)


def test_a_session_survives_a_file(session, image, tmp_path):
    query = Query("what color is the ring ?", keep=(3,), drop=(4,), raters=(1, 2))
    found = session.answer(query)
    path = session.saved([found]).save(tmp_path / "s.json.gz")
    again = SavedSession.load(path)
    assert again.explorations[0].query == query and again.explorations[0].trace == found.trace
    assert again.explorations[0].dense == found.dense and again.model == session.model
    assert again.geometry == session.geometry
    assert np.array_equal(again.image.frames[0], session.image.frames[0])


def damaged():
    """Files that are no session, by what is wrong."""
    good = (TRACES / "scene_6.json.gz").read_bytes()
    content = json.loads(gzip.decompress(good))

    def packed(**changes):
        return gzip.compress(json.dumps({**content, **changes}).encode())

    broken = {**content["image"], "frames": [base64.b64encode(b"no image").decode()]}
    return {
        "empty": b"", "text": b"hello", "a half": good[: len(good) // 2],
        "a flipped bit": good[:3000] + bytes([good[3000] ^ 255]) + good[3001:],
        "no JSON": gzip.compress(b"hello"), "a list": gzip.compress(b"[1]"),
        "no UTF-8": gzip.compress(b"\xff\xfe"), "another format": packed(format="x-9"),
        "no answers": packed(explorations=[]), "a broken picture": packed(image=broken),
        "no geometry": packed(geometry=None),
    }  # fmt: skip


@pytest.mark.parametrize("name", damaged())
def test_files_that_are_no_session(name, tmp_path):
    path = tmp_path / "s.json.gz"
    path.write_bytes(damaged()[name])
    with pytest.raises(ValueError, match="not a complete explorer session.*share it again") as told:
        explore(session=str(path))
    assert str(path) in str(told.value)


def test_sessions_that_are_not_there_or_too_large(tmp_path, monkeypatch, session):
    with pytest.raises(FileNotFoundError):
        SavedSession.load(tmp_path / "s.json.gz")
    monkeypatch.setattr("sparsevlm.explorer.exploration.MAX_BYTES", 1000)
    found = session.answer(Query("what letter is on the brown card ?"))
    with pytest.raises(ValueError, match="more than 1000"):
        session.saved([found]).save(tmp_path / "large.json.gz")
    assert not (tmp_path / "large.json.gz").exists()


def test_traces_of_other_weights_are_not_shown(monkeypatch):
    monkeypatch.setattr(MiniatureBackend, "revision", lambda self, model: "another")
    session = ExplorerSession("mini")
    session.put("scene_6")
    assert not session.is_known(Query("what letter is on the brown card ?"))


def test_traces_of_another_model_are_left_without_a_look_at_its_weights(monkeypatch):
    monkeypatch.setenv("SPARSEVLM_CHECKPOINTS", "/nonexistent")
    session = ExplorerSession("a100")
    assert session.put("scene_6").name == "scene_6" and not session.is_bundled


def test_a_session_of_another_model_takes_no_new_questions(session, tmp_path):
    found = session.answer(Query("what letter is on the brown card ?"))
    saved = session.saved([found])
    other = replace(saved, model=replace(saved.model, name="llava-hf/llava-1.5-7b-hf"))
    other.save(tmp_path / "s.json.gz")
    fresh = ExplorerSession("mini")
    fresh.load(tmp_path / "s.json.gz")
    again = fresh.answer(found.query)
    assert again == replace(found, attention=again.attention)
    with pytest.raises(ValueError, match="recorded with llava-hf"):
        fresh.answer(Query("what color is the ring ?"))


def test_nothing_to_ask_about():
    with pytest.raises(RuntimeError, match="no image"):
        ExplorerSession("mini").answer(Query("what ?"))
    with pytest.raises(RuntimeError, match="nothing to save"):
        ExplorerSession("mini").saved([])
    with pytest.raises(ValueError, match="unknown profile"):
        ExplorerSession("maxi")


def test_warming_up_loads_the_model_once(monkeypatch):
    loaded = []
    monkeypatch.setattr(Engine, "of", classmethod(lambda cls, *a: loaded.append(a) or "engine"))
    session = ExplorerSession("mini")
    session.warm_up().join()
    assert session.engine() == "engine" and len(loaded) == 1


def test_forcing_and_releasing():
    query = Query("q").forced([5, 3], "keep")
    assert (query.keep, query.drop) == ((3, 5), ())
    query = query.forced([3, 9], "drop")
    assert (query.keep, query.drop) == ((5,), (3, 9))
    assert query.next_choice(5, True) == query.next_choice(9, False) == "free"
    assert query.next_choice(1, True) == "drop" and query.next_choice(1, False) == "keep"
    assert query.forced([3, 5, 9], "free").is_plain
    with pytest.raises(ValueError, match="choice must be"):
        query.forced([1], "stay")


def test_switching_raters(session):
    state = ExplorerState(session, Query("what letter is on the brown card ?"))
    before = state.query
    assert session.answer(before).raters == (6,)
    state.switch(5)
    assert state.query.raters == (5, 6) and not state.query.is_plain
    state.switch(5)
    assert state.query == before, "the method's own choice again"
    with pytest.raises(ValueError, match="one word at least"):
        state.switch(6)


@pytest.mark.parametrize("method", ["sparsevlm", "tome", "sparsevlm-plus"])
def test_compared_methods(method):
    known = ["sparsevlm", "fastv", "pdrop", "tome", "random", "uniform"]
    found = [query.method for query in Query("q", method, 128).compared()]
    assert found[0] == method and len(found) == 6
    assert found[1:] == [name for name in known if name != method.removesuffix("-plus")]


def test_attention_that_was_not_saved_is_asked_for_again():
    """A bundled file has room for the raters' alone; any word can be looked at all the same."""
    session = ExplorerSession("mini")
    session.put("scene_6")
    query = Query("what letter is on the white card ?")
    recorded = session.answer(query)
    assert not recorded.attention.is_whole(len(recorded.words))
    whole = session.answer(query, whole=True)
    assert whole.attention.is_whole(len(whole.words)) and whole.trace == recorded.trace
    assert session.answer(query) is whole


def test_attention_of_another_model_is_not_asked_for(session, tmp_path):
    found = session.answer(Query("what letter is on the white card ?", "pdrop"))
    saved = session.saved([found])
    fresh = ExplorerSession("mini")
    other = replace(saved, model=replace(saved.model, name="another"))
    fresh.load(other.save(tmp_path / "s.json.gz"))
    assert fresh.answer(found.query, whole=True).trace == found.trace
