"""Figure 11: at least one question of every benchmark, drawn as Figure 6 computed it."""

from __future__ import annotations

import matplotlib
import pytest

from sparsevlm.analysis import ask
from sparsevlm.miniature.facts import Facts
from sparsevlm.paper.figures import figure_6, figure_11

matplotlib.use("Agg")


def test_all_eight_benchmarks_are_there_and_no_example_of_figure_6():
    assert len({kind for kind, *_ in figure_11.ASKED}) == 8 <= len(figure_11.ASKED)
    assert not {one[1:3] for one in figure_11.ASKED} & {one[:2] for one in figure_6.ASKED}


@pytest.mark.parametrize("asked", figure_11.ASKED, ids=lambda one: one[2])
def test_the_true_answers_are_true(asked):
    kind, seed, question, reference = asked
    facts = Facts(ask.scene_of(seed))
    target = ask.target_of(seed, question)
    if question.startswith("is there"):
        assert reference == ("yes" if target else "no")
        return
    owners = {int(facts.scene.patch_objects.reshape(-1)[i]) for i in target}
    (thing,) = (facts.scene.objects[index] for index in owners)
    true = {"color": thing.color, "shape": thing.kind, "side": thing.side, "letter": thing.glyph}
    options = question.split("?")[1].split() if "?" in question else []
    values = dict(zip(options[::2], options[1::2], strict=True))
    answer = values.get(reference, reference)
    if question.startswith("describe"):
        assert answer.split() == [thing.color, thing.side, thing.height]
    elif question.startswith("how many corners"):
        assert (thing.kind, answer) == ("triangle", "three")
    elif question.startswith("is the letter"):
        assert thing.glyph == "L" and reference == "yes"
    else:
        assert answer == true[question.split()[1]]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    asked = (figure_11.ASKED[0], figure_11.ASKED[4], figure_11.ASKED[9])
    return figure_11.measure("mini", 64, asked, tmp_path_factory.mktemp("figure_11"))


def test_the_figure_has_every_stage_of_every_question(found):
    figure = figure_11.draw(found, ("GQA", "POPE", "SEED"))
    stages = 1 + len(found[0].stages)
    assert sum(bool(axes.images) for axes in figure.axes) == stages * len(found)
    written = {t.get_text() for t in figure.texts} | {
        t.get_text() for axes in figure.axes for t in axes.texts
    }
    assert {"GQA", "POPE", "SEED", "ring", "after layer 0", "hourglass"} <= written


def test_the_table_counts_the_patches_of_the_target(found):
    table = figure_11.table(found, ("GQA", "POPE", "SEED"))
    kept, target = set(found[0].stages[-1]["kept"]), set(ask.target_of(0, figure_11.ASKED[0][2]))
    assert table.loc[0, "left after layer 3"] == len(kept & target)
    assert table["target"].tolist()[1] == 0  # asks for what is not there
