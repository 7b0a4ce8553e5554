"""Figure 11: at least one question of every benchmark, drawn as Figure 6 computed it."""

from __future__ import annotations

import matplotlib
import pytest
from other_models import QUICK, profile_of

from sparsevlm.analysis.examples import named_patches
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.scenes import make_scene
from sparsevlm.paper.figures import figure_6, figure_11

matplotlib.use("Agg")


def test_all_eight_benchmarks_are_there_and_no_example_of_figure_6():
    assert len({one.kind for one in figure_11.ASKED}) == 8 <= len(figure_11.ASKED)
    assert not {one[1:3] for one in figure_11.ASKED} & {one[:2] for one in figure_6.ASKED}


@pytest.mark.parametrize("asked", figure_11.ASKED, ids=lambda one: one[2])
def test_the_true_answers_are_true(asked):
    kind, seed, question, reference = asked
    facts = Facts(make_scene(seed))
    target = named_patches(facts.scene, question)
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
def found():
    asked = [figure_11.ASKED[number] for number in (0, 4, 9)]
    return figure_6.measure(QUICK, 64, asked=asked)


def test_the_figure_has_every_stage_of_every_question(found):
    figure = figure_11.draw(found)
    stages = 1 + len(found.pruned[0].sample.stages)
    assert sum(bool(axes.images) for axes in figure.axes) == stages * 3
    written = {t.get_text() for t in figure.texts} | {
        t.get_text() for axes in figure.axes for t in axes.texts
    }
    assert {"GQA", "POPE", "SEED", "ring", "after layer 0", "hourglass"} <= written


def test_the_table_counts_the_patches_of_the_target(found):
    table = figure_11.table(found)
    kept = set(found.pruned[0].sample.stages[-1].kept)
    target = named_patches(make_scene(0), figure_11.ASKED[0].question)
    assert table.loc[0, "left after layer 3"] == len(kept & set(target))
    assert table["target"].tolist()[1] == 0  # asks for what is not there


@pytest.mark.parametrize("model", ["llava", "mini-gemini"])
def test_any_model_has_twelve_examples(model, tmp_path):
    data = figure_11.measure(profile_of(model, tmp_path), 64)
    table, scenes = figure_11.table(data), model.startswith("mini")
    assert len(table) == 12 and ({"truth", "target"} <= set(table)) is scenes
    figure = figure_11.draw(data)
    assert sum(bool(axes.images) for axes in figure.axes) == 4 * 12
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("asked for" in label for label in labels) is scenes
