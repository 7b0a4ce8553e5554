"""What is shown: the life of every token, colours, accounts, the browser's values, the figure."""

from __future__ import annotations

import json
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from sparsevlm.analysis.style import METHOD_STYLE  # noqa: E402
from sparsevlm.explorer import static
from sparsevlm.explorer.run import AnswerToken, Ask, Model, Run, Session  # noqa: E402
from sparsevlm.explorer.session import TRACES  # noqa: E402
from sparsevlm.explorer.view import (
    accounts,  # noqa: E402
    palette,
    panels,
)
from sparsevlm.explorer.view import color_map as paint
from sparsevlm.explorer.view import token_status as fate
from sparsevlm.explorer.view.color_map import Choice  # noqa: E402
from sparsevlm.explorer.view.geometry import padded, stretched  # noqa: E402
from sparsevlm.explorer.view.heads import Attention, LayerRows, encode  # noqa: E402
from sparsevlm.explorer.view.montage import montage  # noqa: E402
from sparsevlm.models.sizes import ModelSizes  # noqa: E402
from sparsevlm.runtime.trace import SampleTrace, StageTrace  # noqa: E402

# Six patches, two stages. Token 0 stays; 1 goes at the first cut; 2 and 3 are recycled into the
# first group (id 6), which the second cut drops; 4 is recycled by the second (id 7); 5 goes.
FIRST = StageTrace(0, [0, 4, 5], [[2, 3]], [6], [0.6, 0.1, 0.2, 0.2, 0.5, 0.4], [0, 1, 2, 3, 4, 5],
                 [1], 4)  # fmt: skip
SECOND = StageTrace(2, [0], [[4]], [7], [0.9, 0.3, 0.01, 0.2], [0, 4, 5, 6], [1], 2)
SAMPLE = SampleTrace(6, (2, 3), [FIRST, SECOND], [6, 4, 4, 2], [4, 4, 2, 2])
CODES = encode(np.array([[[0.5, 1e-3, 0, 1e-5, 0.1, 1e-6]]]))
ROWS = Attention((1,), (LayerRows(0, (0, 1, 2, 3, 4, 5), CODES),), ((4,),), single_heads=True)
RUN = Run(
    Ask("what <b> ?", keep=(0,), drop=(1,)), {"name": "sparsevlm"}, ("what", "<b>", "?"),
    (0.1, 0.8, 0.1), SAMPLE, 10, (AnswerToken("a<b", 0.9, 0.2),), (AnswerToken("c", 0.7, 0.0001),),
    ROWS,
)  # fmt: skip
MODEL = Model("m", "", "miniature model, not LLaVA-1.5", ModelSizes(4, 8, 16, heads=2), 4)
PLACE = stretched((60, 40), (2, 3), 6)


@pytest.fixture(scope="module")
def session():
    return Session.load(TRACES / "scene_6.json.gz")


def shown(session):
    return montage(session.picture, session.geometry)


def test_the_life_of_every_token():
    through = fate.segments(SAMPLE)
    assert [segment.num_left for segment in through] == [6, 4, 2]
    assert [f.state for f in through[1].fates] == [
        "kept", "dropped", "recycled", "recycled", "kept", "kept"
    ]  # fmt: skip
    last = [(f.state, f.group, f.since) for f in through[2].fates]
    assert last == [
        ("kept", None, None), ("dropped", None, 0), ("dropped", None, 2), ("dropped", None, 2),
        ("recycled", 1, 2), ("dropped", None, 2),
    ]  # fmt: skip
    assert through[1].groups == {0: (2, 3)} and through[2].kept == (0,)


def test_every_stage_of_a_real_trace_adds_up(session):
    for run in session.runs:
        for segment, stage in zip(fate.segments(run.sample)[1:], run.sample.stages, strict=True):
            states = [found.state for found in segment.fates]
            assert states.count("kept") == len(stage.kept)
            assert states.count("recycled") == sum(len(group) for group in stage.groups)
            assert segment.num_left == len(segment.kept) + len(segment.groups)


def test_positions_of_the_slider():
    assert [fate.segment_of_position(SAMPLE, p) for p in range(5)] == [0, 1, 1, 2, 2]
    assert fate.cut_positions(SAMPLE) == [1, 3]
    at_input = replace(SAMPLE, stages=[replace(FIRST, layer=-1)])
    assert fate.segment_of_position(at_input, 0) == 1 and fate.cut_positions(at_input) == [0]


def test_biographies():
    lines = fate.biographies(RUN, PLACE)
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
    lines = fate.biographies(RUN, padded((60, 15), (2, 3), 6))
    assert not any("padding" in line for line in lines), "both rows touch the picture"
    sample = replace(SAMPLE, num_visual=6)
    lines = fate.biographies(replace(RUN, sample=sample), padded((10, 60), (2, 3), 6))
    assert ["padding" in line for line in lines] == [True, False, True, True, False, True]


def test_accounts_follow_the_formulas_of_the_paper():
    found = accounts.account(RUN, MODEL)
    d, m = 8, 16
    expected = sum(4 * n * d**2 + 2 * n**2 * d + 3 * n * d * m for n in (16, 14, 14, 12))
    assert found.flops == expected and found.kv == 2 * (16 + 14 + 14 + 12) * 8 * 4
    assert (found.mean_out, found.mean_in) == (3.0, 4.0)
    assert accounts.at_position(found, 0) == "input: 6 visual tokens"
    assert accounts.at_position(found, 3) == "layer 2: 4 visual tokens in, 2 counted out"
    assert "3.0 out (the paper's budget), 4.0 in" in accounts.totals(found)


def test_colours_of_the_fate():
    found = paint.paint(RUN, Choice())
    assert found.at == (0, 1, 1, 2, 2)
    assert found.codes[0] == (0,) * 6 and found.codes[1] == (0, 1, 3, 3, 0, 0)
    assert found.codes[2] == (0, 2, 1, 1, 4, 1), "dropped long ago is paler than dropped now"


def test_colours_of_a_life():
    found = paint.paint(RUN, Choice("life"))
    assert set(found.at) == {0} and found.codes[0] == (0, 1, 3, 3, 4, 3)
    assert len(found.looks) == 5 and found.looks[4].dot


def test_colours_of_the_score_are_ranks():
    found = paint.paint(RUN, Choice("score"))
    at_input, after = found.codes[0], found.codes[3]
    assert at_input[0] == palette.LEVELS and at_input[1] == 1 and at_input[2] == at_input[3]
    # The group's score colours its patches; tokens that were gone have none.
    assert after[1] == 0 and after[2] == after[3] > 0 and after[5] == 1
    assert "no scores" in paint.quantity(
        replace(RUN, sample=replace(SAMPLE, stages=[replace(FIRST, scores=[], score_ids=[])])),
        Choice("score"),
    )


def test_colours_of_the_attention_have_a_fixed_scale():
    found = paint.paint(RUN, Choice("attention"))
    assert found.codes[0] == found.codes[1], "before any layer that of layer 0"
    assert found.codes[1][0] == palette.LEVELS and found.codes[1][5] == 1
    assert set(found.codes[4]) == {0}, "a layer that was not recorded"
    assert paint.level(1e-6) == paint.level(0) == 0 and paint.level(1e-1) == palette.LEVELS - 1
    text = paint.quantity(RUN, Choice("attention", head=0, word=1))
    assert text == "softmax attention of “<b>” in this layer of the pruned model, head 0"
    with pytest.raises(ValueError, match="unknown mode"):
        Choice("heat")


def test_the_difference_of_two_questions(session):
    one, two = (next(r for r in session.runs if r.ask.question == q) for q in
                dict.fromkeys(run.ask.question for run in session.runs))  # fmt: skip
    found = paint.difference(one, two)
    codes = found.codes[found.at[-1]]
    first, second = set(one.sample.stages[-1].kept), set(two.sample.stages[-1].kept)
    assert codes.count(0) == len(first & second) and codes.count(2) == len(first - second)
    assert codes.count(3) == len(second - first) and set(found.codes[found.at[0]]) == {0}


def test_looks_differ_without_colour():
    """Kept is outlined, recycled dotted, dropped pale: no state is told by its hue alone."""

    def other(look):
        return (bool(look.dot), look.outlined, round(look.share, 1))

    kinds = {other(palette.KEPT), other(palette.RECYCLED[0]), other(palette.DROPPED)}
    assert len(kinds) == 3
    colours = [palette.rgb(palette.heat_colour(level)) for level in range(palette.LEVELS)]
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in colours]
    assert luminance == sorted(luminance), "a heat map read in grey keeps its order"


def test_the_browser_gets_plain_values(session):
    asked = session.runs[0].ask
    runs = [session.runs[0], *(r for r in session.runs[1:] if r.ask.question == asked.question
                               and r.ask.tokens == 64 and r.ask.method != "sparsevlm")]  # fmt: skip
    made = panels.scene(runs, session.model, session.geometry, shown(session), Choice(), "methods")
    assert json.loads(json.dumps(made)) == made and len(made["panels"]) == 6
    assert made["positions"] == 9 and made["cuts"] == [0, 1, 2, 4]
    assert made["marker"] == "miniature model, not LLaVA-1.5"
    for panel, run in zip(made["panels"], runs, strict=True):
        assert panel["colour"] == METHOD_STYLE[run.ask.method].color
        assert len(panel["at"]) == len(panel["captions"]) == len(panel["sinks"]) == 9
        assert all(len(codes) == len(panel["info"]) == 576 for codes in panel["codes"])
        assert max(map(max, panel["codes"])) < len(panel["palette"])
        assert panel["captions"][-1].startswith(f"{len(run.sample.stages[-1].kept)} kept")
    assert [panel["editable"] for panel in made["panels"]] == [True] + [False] * 5
    assert not made["panels"][1]["switchable"]


def test_two_questions_and_their_difference(session):
    one = session.runs[0]
    two = next(run for run in session.runs if run.ask.question != one.ask.question)
    made = panels.scene(
        [one, two], session.model, session.geometry, shown(session), Choice(), "question"
    )
    titles = [panel["title"] for panel in made["panels"]]
    assert titles == ["question 1", "question 2", "difference"]
    assert [key[2] for key in made["legend"]][-2:] == ["only by question 1", "only by question 2"]


def test_text_of_user_and_model_is_escaped():
    html = panels.answer_html(RUN)
    assert "a&lt;b" in html and "a<b" not in html
    assert "90.0%" in html and "▼ 20.0% pruned" in html and "&lt;0.1%" not in html
    assert "✗ another answer" in html
    same = panels.answer_html(replace(RUN, pruned=RUN.dense))
    assert "✓ same answer" in same


def test_signs_and_sinks_are_in_the_legend():
    made = panels.scene([RUN], MODEL, PLACE, _plain(), Choice("attention"))
    texts = [key[2] for key in made["legend"]]
    assert texts[-3] == "+ forced to stay" and texts[-2] == "× forced to go"
    assert texts[-1].startswith("◎ sink") and made["panels"][0]["sinks"][1] == [4]
    assert "1e-6 to 1e-1" in texts[0]
    plain = panels.scene([replace(RUN, ask=Ask("q"))], MODEL, PLACE, _plain(), Choice())
    assert not any("forced" in key[2] for key in plain["legend"])
    assert plain["panels"][0]["sinks"] == [[]] * 5


def _plain():
    from PIL import Image

    from sparsevlm.explorer.samples import Picture

    return montage(Picture("t", (Image.new("RGB", (60, 40)),)), PLACE)


@pytest.mark.parametrize("mode", paint.MODES)
def test_the_static_twin_shows_the_same(mode):
    fig = static.draw([RUN, replace(RUN, ask=Ask("q", "fastv"))], MODEL, _plain(), Choice(mode))
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
