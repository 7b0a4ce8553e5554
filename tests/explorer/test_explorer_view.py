"""What is shown: token histories, colors, costs, the browser's values, the figure."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from sparsevlm.analysis.style import METHOD_STYLE  # noqa: E402
from sparsevlm.analysis.survivors import rgb  # noqa: E402
from sparsevlm.explorer import color_map as colors  # noqa: E402
from sparsevlm.explorer import scene, static  # noqa: E402
from sparsevlm.explorer import token_status as status  # noqa: E402
from sparsevlm.explorer.attention import LayerRows, WordAttention, encode  # noqa: E402
from sparsevlm.explorer.color_map import ColorChoice  # noqa: E402
from sparsevlm.explorer.exploration import (  # noqa: E402
    AnswerToken,
    Exploration,
    ModelInfo,
    Query,
    SavedSession,
)
from sparsevlm.explorer.geometry import Geometry, montage  # noqa: E402
from sparsevlm.explorer.images import ImageInput  # noqa: E402
from sparsevlm.explorer.session import TRACES  # noqa: E402
from sparsevlm.models.sizes import ModelSizes  # noqa: E402
from sparsevlm.runtime.trace import SampleTrace, StageTrace  # noqa: E402

# Six patches, two stages. Token 0 stays; 1 goes at the first cut; 2 and 3 are recycled into the
# first group (id 6), which the second cut drops; 4 is recycled by the second (id 7); 5 goes.
FIRST = StageTrace(0, [0, 4, 5], [[2, 3]], [6], [0.6, 0.1, 0.2, 0.2, 0.5, 0.4], [0, 1, 2, 3, 4, 5],
                 [1], 4)  # fmt: skip
SECOND = StageTrace(2, [0], [[4]], [7], [0.9, 0.3, 0.01, 0.2], [0, 4, 5, 6], [1], 2)
TRACE = SampleTrace(6, (2, 3), [FIRST, SECOND], [6, 4, 4, 2], [4, 4, 2, 2])
CODES = encode(np.array([[[0.5, 1e-3, 0, 1e-5, 0.1, 1e-6]]]))
ROWS = WordAttention((1,), (LayerRows(0, (0, 1, 2, 3, 4, 5), CODES),), ((4,),), single_heads=True)
FOUND = Exploration(
    Query("what <b> ?", keep=(0,), drop=(1,)), {"name": "sparsevlm"}, ("what", "<b>", "?"),
    (0.1, 0.8, 0.1), TRACE, 10, (AnswerToken("a<b", 0.9, 0.2),), (AnswerToken("c", 0.7, 0.0001),),
    ROWS,
)  # fmt: skip
MODEL = ModelInfo("m", "", "miniature model, not LLaVA-1.5", ModelSizes(4, 8, 16, heads=2), 4)
PLACE = Geometry.of("stretch", (60, 40), (2, 3), 6)


@pytest.fixture(scope="module")
def session():
    return SavedSession.load(TRACES / "scene_6.json.gz")


def shown(session):
    return montage(session.image, session.geometry)


def test_the_status_of_every_token():
    through = status.snapshots(TRACE)
    assert [shot.num_left for shot in through] == [6, 4, 2]
    assert [token.state for token in through[1].tokens] == [
        "kept", "dropped", "recycled", "recycled", "kept", "kept"
    ]  # fmt: skip
    last = [(token.state, token.group, token.since) for token in through[2].tokens]
    assert last == [
        ("kept", None, None), ("dropped", None, 0), ("dropped", None, 2), ("dropped", None, 2),
        ("recycled", 1, 2), ("dropped", None, 2),
    ]  # fmt: skip
    assert through[1].groups == {0: (2, 3)} and through[2].kept == (0,)


def test_every_snapshot_of_a_real_trace_adds_up(session):
    for one in session.explorations:
        for shot, stage in zip(status.snapshots(one.trace)[1:], one.trace.stages, strict=True):
            states = [found.state for found in shot.tokens]
            assert states.count("kept") == len(stage.kept)
            assert states.count("recycled") == sum(len(group) for group in stage.groups)
            assert shot.num_left == len(shot.kept) + len(shot.groups)


def test_positions_of_the_slider():
    assert [status.stages_before(TRACE, p) for p in range(5)] == [0, 1, 1, 2, 2]
    assert status.stage_positions(TRACE) == [1, 3]
    at_input = replace(TRACE, stages=[replace(FIRST, layer=-1)])
    assert status.stages_before(at_input, 0) == 1 and status.stage_positions(at_input) == [0]


def test_token_histories():
    lines = status.token_histories(FOUND, PLACE)
    assert lines[0] == (
        "patch 0 (row 0, column 0) · forced to stay · after layer 0: score 6.00e-01, rank 1 of 6, "
        "kept · after layer 2: score 9.00e-01, rank 1 of 4, kept"
    )
    assert lines[1].endswith("forced to go · after layer 0: score 1.00e-01, rank 6 of 6, dropped")
    # Equal scores share a rank; a recycled token goes on by its group.
    assert "rank 4 of 6, recycled into group 0 of 2 patches" in lines[3]
    assert lines[3].endswith("after layer 2: score 2.00e-01, rank 3 of 4, dropped")
    assert "sink in layers 0" in lines[4] and lines[4].endswith("group 1 of 1 patches")


def test_padding_is_named():
    lines = status.token_histories(FOUND, Geometry.of("pad", (60, 15), (2, 3), 6))
    assert not any("padding" in line for line in lines), "both rows touch the picture"
    lines = status.token_histories(FOUND, Geometry.of("pad", (10, 60), (2, 3), 6))
    assert ["padding" in line for line in lines] == [True, False, True, True, False, True]


def test_the_cost_follows_the_formulas_of_the_paper():
    found = scene.PrefillCost.of(FOUND, MODEL)
    d, m = 8, 16
    expected = sum(4 * n * d**2 + 2 * n**2 * d + 3 * n * d * m for n in (16, 14, 14, 12))
    assert found.flops == expected and found.kv == 2 * (16 + 14 + 14 + 12) * 8 * 4
    assert (found.mean_out, found.mean_in) == (3.0, 4.0)
    (panel,) = scene.scene([FOUND], MODEL, PLACE, _plain(), ColorChoice())["panels"]
    assert panel["layers"][0] == "input: 6 visual tokens"
    assert panel["layers"][3] == "layer 2: 4 visual tokens in, 2 counted out"
    assert "3.0 out (the paper's budget), 4.0 in" in panel["totals"] == str(found)


def test_colors_of_the_status():
    found = colors.color_map(FOUND, ColorChoice())
    assert found.at == (0, 1, 1, 2, 2)
    assert found.codes[0] == (0,) * 6 and found.codes[1] == (0, 1, 3, 3, 0, 0)
    assert found.codes[2] == (0, 2, 1, 1, 4, 1), "dropped long ago is paler than dropped now"


def test_colors_of_when_it_was_lost():
    found = colors.color_map(FOUND, ColorChoice("lost"))
    assert set(found.at) == {0} and found.codes[0] == (0, 1, 3, 3, 4, 3)
    assert len(found.styles) == 5 and found.styles[4].dot


def test_colors_of_the_score_are_ranks():
    found = colors.color_map(FOUND, ColorChoice("score"))
    at_input, after = found.codes[0], found.codes[3]
    assert at_input[0] == colors.LEVELS and at_input[1] == 1 and at_input[2] == at_input[3]
    # The group's score colors its patches; tokens that were gone have none.
    assert after[1] == 0 and after[2] == after[3] > 0 and after[5] == 1
    assert "no scores" in colors.quantity(
        replace(FOUND, trace=replace(TRACE, stages=[replace(FIRST, scores=[], score_ids=[])])),
        ColorChoice("score"),
    )


def test_colors_of_the_attention_have_a_fixed_scale():
    found = colors.color_map(FOUND, ColorChoice("attention"))
    assert found.codes[0] == found.codes[1], "before any layer that of layer 0"
    assert found.codes[1][0] == colors.LEVELS and found.codes[1][5] == 1
    assert set(found.codes[4]) == {0}, "a layer that was not recorded"
    assert (
        colors.attention_level(1e-6) == colors.attention_level(0) == 0
        and colors.attention_level(1e-1) == colors.LEVELS - 1
    )
    text = colors.quantity(FOUND, ColorChoice("attention", head=0, word=1))
    assert text == "softmax attention of “<b>” in this layer of the pruned model, head 0"
    with pytest.raises(ValueError, match="unknown mode"):
        ColorChoice("heat")


def test_the_difference_of_two_questions(session):
    one, two = (next(r for r in session.explorations if r.query.question == q) for q in
                dict.fromkeys(one.query.question for one in session.explorations))  # fmt: skip
    found = colors.difference_map(one, two)
    codes = found.codes[found.at[-1]]
    first, second = set(one.trace.stages[-1].kept), set(two.trace.stages[-1].kept)
    assert codes.count(0) == len(first & second) and codes.count(2) == len(first - second)
    assert codes.count(3) == len(second - first) and set(found.codes[found.at[0]]) == {0}


def test_styles_differ_without_color():
    """Kept is outlined, recycled dotted, dropped pale: no state is told by its hue alone."""

    def other(look):
        return (bool(look.dot), look.outlined, round(look.share, 1))

    kinds = {other(colors.OUTLINED), other(colors.GROUPS[0]), other(colors.PALE)}
    assert len(kinds) == 3
    levels = [rgb(colors.heat_color(level)) for level in range(colors.LEVELS)]
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in levels]
    assert luminance == sorted(luminance), "a heat map read in grey keeps its order"


def test_the_browser_gets_plain_values(session):
    first = session.explorations[0]
    wanted = first.query.compared()
    found = [next(f for f in session.explorations if f.query == query) for query in wanted]
    made = scene.scene(
        found, session.model, session.geometry, shown(session), ColorChoice(), "methods"
    )
    assert json.loads(json.dumps(made)) == made and len(made["panels"]) == 6
    assert made["positions"] == 9 and made["stages"] == [0, 1, 2, 4]
    assert made["marker"] == "miniature model, not LLaVA-1.5"
    for panel, one in zip(made["panels"], found, strict=True):
        assert panel["color"] == METHOD_STYLE[one.query.method].color
        assert len(panel["at"]) == len(panel["captions"]) == len(panel["sinks"]) == 9
        assert all(len(codes) == len(panel["info"]) == 576 for codes in panel["codes"])
        assert max(map(max, panel["codes"])) < len(panel["palette"])
        assert panel["captions"][-1].startswith(f"{len(one.trace.stages[-1].kept)} kept")
    assert [panel["editable"] for panel in made["panels"]] == [True] + [False] * 5
    assert not made["panels"][1]["switchable"]


def test_the_browser_gets_what_it_reads(session):
    """Every key that the JavaScript reads is there, in a panel of the model and of a difference."""
    one = session.explorations[0]
    two = next(f for f in session.explorations if f.query.question != one.query.question)
    made = scene.scene(
        [one, two], session.model, session.geometry, shown(session), ColorChoice(), "question"
    )
    source = (Path(scene.__file__).parent / "patch_view.js").read_text("utf-8")
    code = "\n".join(line.split("//")[0] for line in source.splitlines())
    assert set(re.findall(r"\bscene\.(\w+)", code)) <= set(made)
    wanted = set(re.findall(r"\bspec\.(\w+)", code))
    assert len(wanted) > 15 and all(wanted <= set(panel) for panel in made["panels"])


def test_two_questions_and_their_difference(session):
    one = session.explorations[0]
    two = next(f for f in session.explorations if f.query.question != one.query.question)
    made = scene.scene(
        [one, two], session.model, session.geometry, shown(session), ColorChoice(), "question"
    )
    titles = [panel["title"] for panel in made["panels"]]
    assert titles == ["question 1", "question 2", "difference"]
    assert [key[2] for key in made["legend"]][-2:] == ["only by question 1", "only by question 2"]


def test_text_of_user_and_model_is_escaped():
    html = scene.answer_html(FOUND)
    assert "a&lt;b" in html and "a<b" not in html
    assert "90.0%" in html and "▼ 20.0% pruned" in html and "&lt;0.1%" not in html
    assert "✗ another answer" in html
    same = scene.answer_html(replace(FOUND, pruned=FOUND.dense))
    assert "✓ same answer" in same


def test_signs_and_sinks_are_in_the_legend():
    made = scene.scene([FOUND], MODEL, PLACE, _plain(), ColorChoice("attention"))
    texts = [key[2] for key in made["legend"]]
    assert texts[-3] == "+ forced to stay" and texts[-2] == "× forced to go"
    assert texts[-1].startswith("◎ sink") and made["panels"][0]["sinks"][1] == [4]
    assert "1e-6 to 1e-1" in texts[0]
    plain = scene.scene([replace(FOUND, query=Query("q"))], MODEL, PLACE, _plain(), ColorChoice())
    assert not any("forced" in key[2] for key in plain["legend"])
    assert plain["panels"][0]["sinks"] == [[]] * 5


def _plain():
    from PIL import Image

    return montage(ImageInput("t", (Image.new("RGB", (60, 40)),)), PLACE)


@pytest.mark.parametrize("mode", colors.MODES)
def test_the_static_twin_shows_the_same(mode):
    fig = static.draw(
        [FOUND, replace(FOUND, query=Query("q", "fastv"))], MODEL, _plain(), ColorChoice(mode)
    )
    texts = [text.get_text() for axes in fig.axes for text in axes.texts]
    assert fig.get_figwidth() == 6.75
    assert "SparseVLM, 64" in texts and "FastV, 64" in texts
    assert "a<b (90.0%)" in texts and "c (70.0%) ✗" in texts
    assert "tokens out 3.0, in 4.0" in texts
    labels = [axes.get_xlabel() for axes in fig.axes if axes.get_xlabel()]
    assert labels[:2] == ["3 kept + 1 recycled of 6", "1 kept + 1 recycled of 6"]
    plt.close(fig)


def test_outlines_follow_the_border_of_the_kept():
    edges = static.outline([(0, 0, 10, 10), (10, 0, 10, 10)])
    assert len(edges) == 6 and ((10, 0), (10, 10)) not in edges


def test_words_are_broken_into_lines():
    words = ["what", "letter", "is", "on", "the", "brown", "card", "?"]
    lines = static.lines_of(words, 12)
    assert [i for line in lines for i in line] == list(range(8))
    assert all(sum(len(words[i]) + 1 for i in line) <= 13 for line in lines)
