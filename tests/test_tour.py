"""The tour: every step, made by hand, is the model's own, and every sentence says so."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib
import pytest
from other_models import QUICK, profile_of

from sparsevlm.analysis.observe import ask_example
from sparsevlm.core import raters, recycling, schedule, scoring, sparsity
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.paper.extras import tour, tour_drawing

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore:More than 20 figures")
CARD = "what is written on the brown card ?"
TICK = "✓ the same in the model's own run."


def walk(data, loaded):
    """What the cells of the notebook say and how they draw, by step; and what they computed."""
    visual, words, attention, hidden = data.inputs
    relevance = raters.text_relevance(visual, words)
    rating = raters.select_raters(visual, words)
    P = scoring.mean_over_heads(attention[:, rating])
    scores = scoring.score(P)
    rank = sparsity.numerical_rank(P)
    kept = schedule.kept_count(data.keep, len(scores))
    recycled, groups = schedule.recycled_counts(len(scores) - kept)
    keep, best = recycling.select_top(scores, kept, recycled)
    hidden = hidden[best]
    squared = recycling.squared_distance(hidden)
    density = recycling.knn_density(squared, groups, hidden.shape[1])
    centers = recycling.density_peaks(squared, density, groups)
    labels = recycling.assign(hidden, squared, centers)
    merged = recycling.merge(hidden, labels, groups)
    dense = ask_example(loaded, data.run.example, Dense())
    pruned = ask_example(loaded, data.run.example, data.pruner)
    said = {
        "question": (), "raters": (relevance, rating), "scores": (P, scores), "level": (kept, rank),
        "choice": (scores, keep, best), "groups": (best, labels), "sequence": (keep, merged),
        "stages": (), "answers": (dense, pruned),
    }  # fmt: skip
    draw = tour_drawing
    figures = {
        "question": lambda: draw.draw_question(data),
        "rating": lambda: draw.draw_rating(data, P, scores),
        "choice": lambda: draw.draw_choice(data, scores, keep, best),
        "groups": lambda: draw.draw_groups(data, best, squared, density, centers, labels),
        "sequence": lambda: draw.draw_sequence(data, len(keep), len(keep) + len(merged)),
        "answers": lambda: draw.draw_answers(dense, pruned),
        "conversation": lambda: draw.draw_conversation(tour.converse(loaded, data)),
    }
    text = {step: " ".join(tour.say(step, data, *of).data.split()) for step, of in said.items()}
    return text, figures, said


@pytest.fixture(scope="module")
def found():
    data = tour.measure(QUICK, 64)
    return data, *walk(data, load_model(QUICK))


def test_every_step_is_the_models_own_and_says_so(found):
    data, text, _, _ = found
    for step in ("raters", "scores", "choice", "groups", "sequence"):
        assert TICK in text[step].replace("*", ""), step
    assert (
        "**576 visual tokens**" in text["question"] and "the last ones **29**" in text["question"]
    )
    assert "2 words are above it: “green”, “hourglass”" in text["raters"]
    assert (
        "These 2 raters and 576 visual tokens make P a matrix of 2 × 576" in text["scores"]
        and "λ = 0.585" in text["level"]
    )
    assert "576 → 251 → 58 → 29" in text["stages"] and "**12 → 7 → 6**" in text["stages"]


def test_no_html_is_within_markdown_where_pages_of_html_lose_it(found):
    assert not [step for step, said in found[1].items() if re.search(r"<\w", said)]


def test_a_number_is_carried_from_sentence_to_sentence(found):
    _, text, _, _ = found
    kept, gone = re.search(r"keeps \*\*(\d+)\*\* and lets (\d+) go", text["level"]).groups()
    assert (
        text["choice"].startswith(f"The {kept} best") and f"Of the other {gone} " in text["choice"]
    )
    best = re.search(r"the best (\d+) are \*\*recycled", text["choice"])[1]
    assert text["groups"].startswith(f"The {best} recycled")
    groups = re.search(r"go on as (\d+)", text["groups"])[1]
    assert text["sequence"].startswith(f"{kept} kept and {groups} merged")


def test_another_result_than_the_models_is_an_error(found):
    data, _, _, of = found
    relevance, rating = of["raters"]
    with pytest.raises(AssertionError, match="only 50 % is the same"):
        tour.say("raters", data, relevance, rating[:1])
    P, scores = of["scores"]
    with pytest.raises(AssertionError, match="of the scores"):
        tour.say("scores", data, P, scores.flip(0))
    best, labels = of["groups"]
    assert "0.0 % the same" in tour.say("groups", data, best.flip(0), labels).data
    # Equal shares: rounding in half precision may swap a token in a hundred.
    assert "99.5 % the same" in tour.same(range(199), range(200))


@pytest.mark.parametrize(
    "name, axes", [("rating", 4), ("groups", 2), ("answers", 3), ("conversation", 3)]
)
def test_every_drawing_has_its_panels(found, name, axes):
    assert len(found[2][name]().axes) == axes


def test_each_question_of_a_conversation_has_its_own_survivors():
    mini = get_profile("mini")
    data, loaded = tour.measure(mini, 64), load_model(mini)
    first, second = tour.converse(loaded, data)
    assert first.sample.stages == data.run.sample.stages
    assert (first.answer.text, second.example.question) == (data.run.answer.text, CARD)
    assert second.answer.text == second.example.answer == "P"
    assert set(second.sample.stages[-1].kept) != set(first.sample.stages[-1].kept)
    photograph = tour.converse(loaded, data, str(DATA / "samples" / "coffee.jpg"))
    assert len(photograph) == 1, "no other question is known about a file"


def test_the_costs_are_those_of_the_layers(found):
    data, _, _, of = found
    _, pruned = of["answers"]
    operations, cache = data.costs(pruned)
    text = pruned.answer.num_text
    entering = sum(n + text for n in pruned.sample.tokens_in)
    assert cache == pytest.approx(entering / (8 * (576 + text))) and operations < cache


def test_words_are_shaded_by_relevance_and_raters_framed(found):
    data, _, _, of = found
    html = tour.shaded_words(data, *of["raters"]).data
    boxes = html.split('<span style="display:inline-block')[1:]
    assert len(boxes) == len(data.run.words)
    framed = [n for n, box in enumerate(boxes) if "solid transparent" not in box]
    assert framed == data.run.raters and "italic" in boxes[-1] and "italic" not in boxes[0]


def test_no_word_is_read_as_markup(found):
    data, _, _, of = found
    words = ("<unk>", "*a*", "`b`", "$x$", "_", "|", "[c](d)", "&amp;", *data.run.words[8:])
    answer = replace(data.run.answer, words=words)
    spoilt = replace(data, run=replace(data.run, answer=answer))
    relevance, rating = of["raters"]
    shown = tour.shaded_words(spoilt, relevance, rating).data
    shown += spoilt.listed(range(8))
    assert "&#60;unk&#62;" in shown and not {*"*`$|["} & set(shown)
    assert spoilt.listed(range(8)).count("“") == tour.NAMED and shown.endswith("and 2 more")


def test_percentages_have_sensible_digits():
    shares = (0.4321, 0.0617, 0.000312, 1e-20, 0.0, 0.0999, 1.0)
    expected = ["43 %", "6.2 %", "0.031 %", "&lt; 0.01 %", "0 %", "10 %", "100 %"]
    assert [tour.percent(share) for share in shares] == expected


@pytest.mark.parametrize("model", ["llava", "mini-qwen2-vl", "mini-gemini"])
def test_any_model_is_toured(model, tmp_path):
    profile = profile_of(model, tmp_path)
    data = tour.measure(profile, 64)
    text, figures, _ = walk(data, load_model(profile))
    assert all(draw().axes for draw in figures.values())
    scenes, run = model.startswith("mini"), data.run
    rows, columns = run.grid
    assert (
        f"{rows} × {columns} patches and reads each as a token, **{run.sample.num_visual} visual"
        in text["question"]
    )
    assert ("asked for" in text["choice"]) is scenes and ("truth" in text["answers"]) is scenes
    assert "miniature" not in " ".join(text.values())
    assert ("counted anew" in text["sequence"]) is (model != "mini-qwen2-vl")
