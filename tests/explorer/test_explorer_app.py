"""The explorer and its widgets, without a browser: what is chosen, shown, shared, and said."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

import sparsevlm as sv  # noqa: E402
from sparsevlm.analysis.sample_images import first_sample, sample_images  # noqa: E402
from sparsevlm.analysis.style import METHOD_STYLE  # noqa: E402
from sparsevlm.evaluation.paths import ROOT  # noqa: E402
from sparsevlm.explorer import explore, is_live  # noqa: E402
from sparsevlm.explorer.app import VARIANTS, Controls  # noqa: E402
from sparsevlm.explorer.color_map import ColorChoice  # noqa: E402
from sparsevlm.explorer.exploration import Query  # noqa: E402
from sparsevlm.explorer.geometry import Geometry  # noqa: E402
from sparsevlm.explorer.session import ExplorerSession  # noqa: E402

WHITE, BROWN = (f"what letter is on the {color} card ?" for color in ("white", "brown"))
RING = "what color is the ring ?"


@pytest.fixture
def explorer():
    """Opened as a user does; the model is loaded once for all."""
    return explore()


@pytest.fixture
def controls(explorer):
    return explorer.controls


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_opening_a_bundled_trace_loads_nothing_heavy():
    code = """
import sys
from sparsevlm.explorer.app import Explorer
from sparsevlm.explorer.session import ExplorerSession
ExplorerSession.warm_up = lambda session: None
from sparsevlm.explorer import explore
explore().controls
print([name for name in ("torch", "transformers", "matplotlib", "pandas") if name in sys.modules])
"""
    assert run_python(code) == "[]"


def own(controls):
    """The panel of what is left: the picture, or what is looked at, is at its left."""
    return controls.view.scene["panels"][1]


def test_it_opens_on_a_success_with_the_picture_beside_it(explorer, controls):
    assert explorer.query == Query(WHITE) and explorer.second == RING
    assert controls.question.value == WHITE and controls.tokens.value == 64
    assert controls.view.position == 4
    titles = [panel["title"] for panel in controls.view.scene["panels"]]
    assert titles == ["the picture", "SparseVLM, 64 tokens"]
    assert "✓ Same answer" in own(controls)["answer"]
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize(
    ("model", "image", "first"),
    [("", "scene_6", "Miniature scene 6"), ("mini-video-llava", "clip_2", "Miniature clip 2")],
)
def test_it_opens_on_what_the_model_was_made_for(model, image, first):
    assert first_sample(model or "mini-llava") == image
    offered = ExplorerSession("mini", model).offered()
    assert offered[0][0] == first
    for title, name in offered:
        is_photograph = sample_images()[name].kind == "photograph"
        assert ("means nothing to a miniature" in title) == is_photograph, "not without that word"
    kinds = {sample_images()[name].kind for _, name in offered}
    assert kinds == {sample_images()[image].kind, "photograph"}, "others would be refused"


def test_a_real_checkpoint_opens_on_a_photograph():
    real = ExplorerSession("a100")
    assert sample_images()[first_sample(real.profile.model)].kind == "photograph"
    assert "nothing" not in str(real.offered()) and len(real.offered()) == len(sample_images())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"profile": "maxi"}, ValueError, "unknown profile"),
        ({"model": "no-model"}, ValueError, "no-model"),
        ({"method": "magic"}, ValueError, "unknown method"),
        ({"image": "nowhere"}, FileNotFoundError, "no image"),
        ({"session": "nowhere"}, FileNotFoundError, "nowhere"),
    ],
)
def test_opening_what_is_not_there(options, error, match):
    with pytest.raises(error, match=match):
        explore(**options)


def test_a_file_of_ones_own_needs_a_question(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "own.png")
    with pytest.raises(ValueError, match="give a question"):
        explore(image=str(tmp_path / "own.png"))
    assert explore(image=str(tmp_path / "own.png"), question="what ?").query.question == "what ?"


def test_asking_by_typing(explorer, controls):
    controls.question.value = "what shape is the blue thing ?"
    assert own(controls)["words"][4]["text"] == "blue"
    assert "ring" in own(controls)["answer"]
    assert controls.hint.value == "", "it is none of the suggestions"
    controls.hint.value = "what shape is the pink thing ?"
    assert controls.question.value == explorer.query.question == controls.hint.value


def test_methods_and_variants(controls, explorer):
    controls.method.value = "fastv"
    assert own(controls)["title"] == "FastV, 64 tokens" and controls.variant.disabled
    controls.method.value = "sparsevlm"
    controls.variant.value = "sparsevlm-paper"
    assert own(controls)["title"] == "SparseVLM (paper), 64 tokens"
    assert not controls.variant.disabled and controls.method.value == "sparsevlm"
    controls.tokens.value = 128
    assert explorer.query == Query(WHITE, "sparsevlm-paper", 128)
    controls.method.value = "dense"
    assert own(controls)["title"] == "Dense" and controls.tokens.disabled
    offered = {value for _, value in controls.method.options} | set(VARIANTS.values())
    # Ablations and the pooled grid belong to the tables; nobody needs them at hand here. CDPruner
    # needs a CLIP of its own, and a budget per tile LLaVA-NeXT.
    apart = {"pooled", "sparsevlm-all-tokens", "sparsevlm-no-recycling", "sparsevlm-not-refilled"}
    apart |= {"cdpruner", "sparsevlm-kept-positions"}
    apart |= {name for name, method in sv.METHODS.items() if method.budget == "per_tile"}
    assert offered == set(sv.METHODS) - apart and set(METHOD_STYLE) == set(sv.METHODS)


def test_comparing(controls):
    controls.compare.value = "methods"
    names = ("SparseVLM", "FastV", "PDrop", "ToMe", "Random", "Uniform grid")
    titles = [panel["title"] for panel in controls.view.scene["panels"]]
    assert titles == ["the picture", *(f"{name}, 64 tokens" for name in names)]
    controls.compare.value = "question"
    assert len(controls.view.scene["panels"]) == 4 and controls.second.layout.display == "flex"
    controls.second.value = ""
    assert 'role="alert"' in controls.message.value and "second question" in controls.message.value
    assert controls.second.value == RING, "what is shown is asked"


def test_a_click_turns_what_is_seen_into_its_opposite(controls, explorer):
    last = explorer.session.answer(explorer.query).trace.stages[-1]
    lost, kept = next(i for i in range(576) if i not in last.kept), last.kept[0]
    controls._do(controls._clicked, {"type": "patches", "first": lost, "tokens": [lost, kept]})
    assert explorer.query.keep == tuple(sorted((lost, kept)))
    assert own(controls)["keep"] == list(explorer.query.keep)
    controls._do(controls._clicked, {"type": "patches", "first": kept, "tokens": [kept]})
    assert explorer.query.keep == (lost,)
    controls._do(controls._clicked, {"type": "patches", "first": kept, "tokens": [kept]})
    assert explorer.query.drop == (kept,) and not controls.release.disabled
    controls.release.click()
    assert explorer.query.is_plain and controls.release.disabled


def test_a_click_goes_by_the_layer_on_the_slider(controls, explorer):
    first, last = (explorer.session.answer(explorer.query).trace.stages[i] for i in (0, -1))
    token = next(i for i in first.kept if i not in last.kept)
    for position, expected in ((1, ((), (token,))), (4, ((token,), ()))):
        explorer.release()
        controls.view.position = position
        controls._do(controls._clicked, {"type": "patches", "first": token, "tokens": [token]})
        assert (explorer.query.keep, explorer.query.drop) == expected


def test_a_word_is_switched(controls, explorer):
    controls.question.value = BROWN
    controls._do(controls._clicked, {"type": "word", "index": 5})
    assert explorer.query.raters == (5, 6)
    words = own(controls)["words"]
    assert [word["text"] for word in words if word["rates"]] == ["brown", "card"]
    assert own(controls)["title"].endswith("by hand: “brown” and “card” rate")
    controls._do(controls._clicked, {"type": "word", "index": 5})
    controls._do(controls._clicked, {"type": "word", "index": 6})
    assert "one word at least" in controls.message.value and explorer.query.raters is None
    controls._do(controls._clicked, {"type": "word", "index": 5})
    controls.question.value = RING
    assert explorer.query.raters is None, "they were those of the other question"


def test_the_attention_of_any_word_and_head(controls, explorer):
    controls.question.value = BROWN
    controls.mode.value = "attention"
    lens = controls.view.scene["panels"][0]
    assert controls.head.layout.display == "flex" and len(controls.head.options) == 5
    assert len(controls.word.options) == 1 + len(own(controls)["words"]), "also those of no rater"
    controls.head.value = 2
    assert controls.view.scene["panels"][0]["codes"] != lens["codes"]
    assert "“card”" in controls.view.scene["legend"][0][2]
    assert "head 2" in controls.view.scene["legend"][0][2]
    controls.word.value = 5
    assert (
        explorer.choice == ColorChoice("attention", 2, 5) and 5 not in explorer.query.plain().keep
    )
    assert "“brown”" in controls.view.scene["legend"][0][2], "which does not rate"
    assert own(controls)["palette"][0] == ["", "", 1], "beside it what is left of the same stage"
    controls.question.value = "what letter ?"
    assert controls.word.value == -1, "another question has other words"


def test_an_error_is_a_message_and_nothing_is_lost(controls, explorer):
    before = controls.view.scene
    controls.tokens.value = 4000
    assert 'role="alert"' in controls.message.value and "4000" in controls.message.value
    assert controls.tokens.value == 64 and explorer.query.tokens == 64
    assert controls.view.scene == before
    controls.question.value = "  "
    assert "question is empty" in controls.message.value and explorer.query.question == WHITE
    controls.say("<script>")
    assert "<script>" not in controls.message.value


def test_opening_an_image_of_ones_own(controls, explorer):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    content = memoryview(buffer.getvalue())
    file = {"name": "a.png", "type": "image/png", "size": len(content), "content": content,
            "last_modified": datetime.now()}  # fmt: skip
    controls.upload.value = (file,)
    assert controls.image.value == "own" and explorer.session.image.size == (40, 30)
    assert "drawn scenes" in controls.message.value
    assert any("drawn scenes" in text.get_text() for text in explorer.figure().texts)
    controls.upload.value = ({**file, "content": memoryview(b"no image")},)
    assert "a.png" in controls.message.value and 'role="alert"' in controls.message.value
    controls.image.value = "scene_5"
    assert own(controls)["words"][1]["text"] == "side"
    controls.question.value = "what zebra ?"
    assert "does not know “zebra”" in controls.message.value and "alert" in controls.message.value
    assert "hourglass" in controls.message.value, "it lists the words that it knows"
    controls.question.value = RING
    assert controls.message.value == ""


def test_the_figure_and_the_comparison(explorer):
    one, all_methods = explorer.figure(), explorer.comparison()
    assert explorer.compare == "nothing"
    assert all_methods.get_figheight() > 4 * one.get_figheight()
    plt.close("all")


def test_sharing_and_coming_back(explorer, tmp_path, capsys):
    explorer.compare = "question"
    explorer.change(tokens=128)
    folder = explorer.share(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert names == {"trace.json.gz", "session.json.gz", "figure.png", "figure.pdf",
                     "figure.svg", "again.py"}  # fmt: skip
    found = explorer.session.answer(explorer.query)
    assert sv.Trace.load(folder / "trace.json.gz").samples == [found.trace]
    again = explore(session=str(folder / "session.json.gz"))
    assert (again.query, again.second) == (explorer.query, explorer.second)
    assert again.compare == "question"
    assert again.scene()["panels"][1]["answer"] == explorer.scene()["panels"][1]["answer"]
    found_again = runpy.run_path(str(folder / "again.py"))["found"]
    assert found_again.pruned[0].text == found.pruned[0].text
    assert str(ROOT) not in (folder / "again.py").read_text()
    assert "dense:" in capsys.readouterr().out


def test_what_is_shared_names_every_change_by_hand(explorer, tmp_path):
    """Otherwise a picture that was helped passes for the method's own."""
    explorer.change(question=BROWN)
    explorer.switch(5)
    explorer.query = explorer.query.forced([3, 4], "drop")
    folder = explorer.share(tmp_path)
    wanted = ("“brown” and “card” rate", "2 patches forced to go (3, 4)", BROWN, "SparseVLM, 64")
    assert folder.name.startswith("sparsevlm-64-by-hand-")
    with Image.open(folder / "figure.png") as picture:
        png = json.loads(picture.info["Description"])["about"]
    content = json.loads(gzip.decompress((folder / "session.json.gz").read_bytes()))
    (session,) = content["about"]
    code = (folder / "again.py").read_text(encoding="utf-8")
    for text in (png, session, code):
        assert all(part in text for part in wanted), text
    for kind in ("svg", "pdf"):
        content = (folder / f"figure.{kind}").read_bytes()
        assert b"2 patches forced to go" in content and BROWN.encode() in content
    figure = explorer.figure()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    plt.close(figure)
    assert "by hand: “brown” and “card” rate, 2 patches forced to go" in " ".join(texts)


def test_the_share_button_says_where_and_offers_a_download(controls, explorer, monkeypatch):
    share = explorer.share
    monkeypatch.setattr(explorer, "share", lambda: share(ROOT / "artifacts" / "explorer" / "test"))
    controls.share.click()
    (name, data) = re.search(r'download="(.*?)" href="data:application/zip;base64,(.*?)"',
                             controls.message.value).groups()  # fmt: skip
    assert "artifacts/explorer/test" in controls.message.value and name.startswith("sparsevlm-64-")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(data))) as file:
        names = {Path(path).name for path in file.namelist()}
    assert {"session.json.gz", "figure.png", "again.py"} <= names
    shutil.rmtree(ROOT / "artifacts" / "explorer" / "test")

    def fail():
        raise ValueError("no room")

    monkeypatch.setattr(explorer, "share", fail)
    controls.share.click()
    assert "no room" in controls.message.value and 'role="alert"' in controls.message.value


def test_padding_is_shown_on_request(explorer, controls):
    explorer.session.geometry = Geometry.of("pad", (96, 48), (24, 24), 576)
    controls.show()
    assert controls.view.scene["size"] == [96, 48]
    controls.padding.value = True
    assert controls.view.scene["size"] == [96, 96]


def test_where_a_widget_can_be_used(monkeypatch):
    for name in ("JPY_SESSION_NAME", "SERVER_SOFTWARE"):
        monkeypatch.delenv(name, raising=False)
    assert not is_live()
    monkeypatch.setenv("JPY_SESSION_NAME", "explore.ipynb")
    assert is_live()


def test_our_javascript_is_short():
    source = (ROOT / "sparsevlm" / "explorer" / "patch_view.js").read_text()
    assert len(source.splitlines()) <= 240
    assert [path.name for path in (ROOT / "sparsevlm").rglob("*.js")] == ["patch_view.js"]


def test_a_second_view_of_the_same_explorer(explorer):
    assert isinstance(explorer.controls, Controls) and explorer.controls is explorer.controls
