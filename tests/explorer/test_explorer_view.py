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
from sparsevlm.analysis.survivors import rgb, word_lines  # noqa: E402
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
CODES = encode(np.array([[[0.2] * 6, [0.5, 1e-3, 0, 1e-5, 0.1, 1e-6], [0.3] * 5 + [0.4]]]))
ROWS = WordAttention((0, 1, 2), (LayerRows(0, (0, 1, 2, 3, 4, 5), CODES),), ((4,),),
                     single_heads=True)  # fmt: skip
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
    assert [len(shot.kept) + len(shot.groups) for shot in through] == [6, 4, 2]
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
            assert stage.num_left == len(shot.kept) + len(shot.groups)


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
    d, m = 8, 16
    flops, dense = (
        sum(4 * n * d**2 + 2 * n**2 * d + 3 * n * d * m for n in entering)
        for entering in ((16, 14, 14, 12), (16, 16, 16, 16))
    )
    kv, whole = 2 * (16 + 14 + 14 + 12) * 8 * 4, 2 * 4 * 16 * 8 * 4
    made = scene.scene([FOUND], MODEL, PLACE, _plain(), ColorChoice())
    assert made["labels"][0] == "input: 6 tokens"
    assert made["labels"][3] == "after layer 2: 4 tokens in, 2 out"
    totals = {name: (value, hint) for name, value, hint in made["panels"][1]["totals"]}
    assert totals["tokens out"][0] == "3.0" and "the budget of the paper" in totals["tokens out"][1]
    assert totals["tokens in"][0] == "4.0" and "computed and stored" in totals["tokens in"][1]
    assert totals["FLOPs"][0] == f"{flops / dense:.0%}"
    assert f"{flops / 1e3:.3g} k of {dense / 1e3:.3g} k" in totals["FLOPs"][1]
    assert totals["KV cache"][0] == f"{kv / whole:.0%}"
    assert f"{kv / 1e3:.3g} kB of {whole / 1e3:.3g} kB" in totals["KV cache"][1]


def test_colors_of_the_status():
    found = colors.color_map(FOUND, ColorChoice())
    assert found.at == (0, 1, 1, 2, 2)
    assert found.codes[0] == (0,) * 6 and found.codes[1] == (0, 1, 3, 3, 0, 0)
    assert found.codes[2] == (0, 2, 1, 1, 4, 1), "dropped long ago is paler than dropped now"


def test_colors_of_when_it_was_lost():
    found = colors.color_map(FOUND, ColorChoice("lost"))
    assert set(found.at) == {0} and found.codes[0] == (0, 1, 3, 3, 4, 3)
    assert len(found.styles) == 5 and found.styles[4].dot
    # The longer a patch was worth keeping, the louder its color: further from white.
    first, last = (rgb(found.styles[code].color) for code in (1, 3))
    assert sum(first) > sum(last) and max(last) - min(last) > max(first) - min(first)


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


def test_every_panel_of_attention_has_its_own_scale():
    found = colors.color_map(FOUND, ColorChoice("attention"))
    assert found.codes[0] == found.codes[1], "before any layer that of layer 0"
    assert found.codes[1][0] == colors.LEVELS and found.codes[1][5] == 1
    assert found.scales[1] == ("≤ 1e-06", "0.49"), "the lowest and the highest value of this layer"
    assert set(found.codes[4]) == {0} and not found.scales[4], "a layer that was not recorded"
    assert found.notes[4].startswith("The attention of layer 3 is not recorded: it decides nothing")
    assert found.notes[1] == ""
    other = colors.color_map(FOUND, ColorChoice("attention", word=2))
    assert other.scales[1] == ("0.3", "0.4") and other.codes[1][5] == colors.LEVELS
    text = colors.quantity(FOUND, ColorChoice("attention", head=0, word=1))
    assert text == "attention of “<b>” in this layer of the pruned model, head 0, logarithmic"
    with pytest.raises(ValueError, match="unknown mode"):
        ColorChoice("heat")


def test_attention_that_a_method_reads_later_only():
    later = replace(ROWS, layers=(replace(ROWS.layers[0], layer=2),))
    found = colors.color_map(replace(FOUND, attention=later), ColorChoice("attention"))
    assert "this method reads that of later ones" in found.notes[1] and not found.notes[3]


@pytest.mark.parametrize("name", ["scene_3", "scene_5", "scene_6"])
def test_groups_that_touch_differ_in_color(name):
    saved = SavedSession.load(TRACES / f"{name}.json.gz")
    touching = 0
    for one in saved.explorations:
        hues = status.group_hues(one.trace, len(colors.HUES))
        for shot in status.snapshots(one.trace):
            grid = np.full(576, -1)
            for group, tokens in shot.groups.items():
                grid[list(tokens)] = group
            grid = grid.reshape(24, 24)
            pairs = [(grid[:, 1:], grid[:, :-1]), (grid[1:], grid[:-1]),
                     (grid[1:, 1:], grid[:-1, :-1]), (grid[1:, :-1], grid[:-1, 1:])]  # fmt: skip
            for a, b in pairs:
                apart = (a != b) & (a >= 0) & (b >= 0)
                touching += apart.sum()
                assert all(hues[x] != hues[y] for x, y in zip(a[apart], b[apart], strict=True))
    assert touching > 1000, "else this shows nothing"


def test_more_groups_than_hues_share_where_they_touch_least():
    stage = StageTrace(0, [], [[0], [1], [2]], [6, 7, 8], [], [], [], 3)
    trace = SampleTrace(6, (2, 3), [stage], [6], [3])
    hues = status.group_hues(trace, 2)
    assert set(hues.values()) == {0, 1} and hues[0] != hues[1] != hues[2]


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
    assert json.loads(json.dumps(made)) == made and len(made["panels"]) == 7
    picture, *panels = made["panels"]
    assert picture["title"] == "the picture" and picture["palette"] == [["", "", 0]]
    assert made["positions"] == 9 and made["stages"] == [0, 1, 2, 4]
    assert made["marker"] == "miniature model, not LLaVA-1.5"
    for panel, one in zip(panels, found, strict=True):
        assert panel["color"] == METHOD_STYLE[one.query.method].color
        assert len(panel["at"]) == len(panel["captions"]) == len(panel["sinks"]) == 9
        assert all(len(codes) == len(panel["info"]) == 576 for codes in panel["codes"])
        assert max(map(max, panel["codes"])) < len(panel["palette"])
        assert panel["captions"][-1].startswith(f"{len(one.trace.stages[-1].kept)} kept")
    assert [panel["editable"] for panel in made["panels"]] == [True] * 2 + [False] * 5
    assert panels[0]["switchable"] and not panels[1]["switchable"]


@pytest.mark.parametrize("mode", colors.MODES)
def test_beside_what_is_left_is_what_was_chosen(mode):
    """The picture, scores or attention, and beside them the survivors of the same stage."""
    made = scene.scene([FOUND], MODEL, PLACE, _plain(), ColorChoice(mode))
    lens, own = made["panels"]
    assert lens["title"] == scene.LENSES[mode] + (" of “<b>”" if mode == "attention" else "")
    assert own["title"] == FOUND.title
    survivors = colors.color_map(FOUND, ColorChoice())
    assert own["codes"] == [list(codes) for codes in survivors.codes]
    if mode != "status":
        chosen = colors.color_map(FOUND, ColorChoice(mode))
        assert lens["codes"] == [list(codes) for codes in chosen.codes]
    assert lens["editable"] and own["editable"], "a patch can be forced in either"


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
    assert titles == ["the picture", "1: SparseVLM, 64 tokens", "2: SparseVLM, 64 tokens",
                      "difference"]  # fmt: skip
    assert [key[2] for key in made["legend"]][-2:] == ["only by 1", "only by 2"]
    panel = made["panels"][-1]
    codes = panel["codes"][panel["at"][-1]]
    first, second = set(one.trace.stages[-1].kept), set(two.trace.stages[-1].kept)
    assert codes.count(0) == len(first & second) and codes.count(2) == len(first - second)
    assert codes.count(3) == len(second - first) and set(panel["codes"][panel["at"][0]]) == {0}


def test_text_of_user_and_model_is_escaped():
    html = scene.answer_html(FOUND)
    assert "a&lt;b" in html and "a<b" not in html


def test_the_answers_are_compared_in_a_sentence():
    dense = (AnswerToken("Z", 0.998, 0.0001),)
    found = replace(FOUND, dense=dense, pruned=(AnswerToken("none", 0.975, 0.001),))
    assert scene.verdict(found) == (
        "✗ Another answer: “none” in place of “Z”, to which pruning leaves <0.1 %."
    )
    assert "SparseVLM after the same words &lt;0.1 %" in scene.answer_html(found)
    for other, expected in ((0.997, ""), (0.7, ", 30 points less sure")):
        same = (AnswerToken("Z", 0.998, other),)
        found = replace(FOUND, dense=same, pruned=same)
        assert scene.verdict(found) == f"✓ Same answer{expected}."
    longer = replace(FOUND, dense=dense, pruned=(*dense, *dense))
    assert "goes on where the other ends" in scene.verdict(longer)


def test_every_change_by_hand_is_named():
    assert FOUND.title == (
        "SparseVLM, 64 tokens · by hand: 1 patch forced to stay, 1 patch forced to go"
    )
    rated = replace(FOUND, query=Query("q", keep=(1, 2), raters=(0, 1)))
    assert rated.title.endswith("by hand: “what” and “<b>” rate, 2 patches forced to stay")
    assert rated.about == (
        "“q” · SparseVLM, 64 tokens · changed by hand: “what” and “<b>” rate, 2 patches forced to "
        "stay (1, 2)"
    )
    plain = replace(FOUND, query=Query("q", "dense", None))
    assert plain.title == "Dense" and plain.about.endswith("changed by hand: nothing")


def test_signs_and_sinks_are_in_the_legend():
    made = scene.scene([FOUND], MODEL, PLACE, _plain(), ColorChoice("attention"))
    texts = [key[2] for key in made["legend"]]
    assert texts[-3] == "+ forced to stay" and texts[-2] == "× forced to go"
    assert texts[-1].startswith("◎ sink") and made["panels"][0]["sinks"][1] == [4]
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
    assert "FastV, 64 tokens" in texts
    assert " ".join(texts).startswith(FOUND.title), "with all that was changed by hand"
    assert "a<b (90.0 %)" in texts and "c (70.0 %) ✗" in texts
    assert "tokens out 3.0, in 4.0" in texts
    labels = [axes.get_xlabel() for axes in fig.axes if axes.get_xlabel()]
    wanted = ["3 kept + 1 recycled", "1 kept + 1 recycled"]
    assert labels[:2] == (["≤ 1e-06 to 0.49", *wanted[1:]] if mode == "attention" else
                          ["lowest to highest"] * 2 if mode == "score" else wanted)  # fmt: skip
    plt.close(fig)


def test_outlines_follow_the_border_of_the_kept():
    edges = static.outline([(0, 0, 10, 10), (10, 0, 10, 10)])
    assert len(edges) == 6 and ((10, 0), (10, 10)) not in edges


def test_words_are_broken_into_lines():
    words = ["what", "letter", "is", "on", "the", "brown", "card", "?"]
    lines = word_lines(words, 12)
    assert [i for line in lines for i in line] == list(range(8))
    assert all(sum(len(words[i]) + 1 for i in line) <= 13 for line in lines)
    assert word_lines(words, 10)[-1] == [5, 6, 7], "a mark stays at its word"
