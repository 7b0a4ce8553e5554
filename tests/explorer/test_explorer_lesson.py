"""What the lesson says is true of the model's answers, asked anew; and the bar follows the user."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparsevlm.explorer import explore, lesson
from sparsevlm.explorer.exploration import Query
from sparsevlm.explorer.session import ExplorerSession
from sparsevlm.explorer.state import ExplorerState

WHITE, BROWN = lesson.STEPS[0].question, lesson.STEPS[2].question


@pytest.fixture(scope="module")
def session():
    """Without recorded answers: every step is asked of the model."""
    found = ExplorerSession("mini")
    found.put(lesson.IMAGE)
    found._known = {}
    return found


@pytest.fixture(scope="module")
def steps(session):
    """State, answers and sentence of every step."""
    made = []
    for number, step in enumerate(lesson.STEPS):
        state = ExplorerState(session, Query("what ?"))
        lesson.go_to(state, number)
        answers = state.answers()
        made.append((state, answers, step.said(answers)))
    return made


def said(answer):
    return [token.text for token in answer]


def rating(found):
    return [found.words[index] for index in found.raters]


def test_first_a_success(steps):
    _, (found,), text = steps[0]
    assert said(found.dense) == said(found.pruned) == ["T"] and found.query.is_plain
    assert rating(found) == ["white", "card"] and "<b>white</b> and <b>card</b> rate" in text
    kept = found.trace.stages[-1].kept
    on_the_card = set(kept) & set(lesson.patches_of("white card"))
    assert len(on_the_card) > 3
    assert f"{len(kept)} patches stay to the end, {len(on_the_card)} of them on the white" in text


def test_then_two_questions_on_one_picture(steps):
    state, (one, two), text = steps[1]
    assert state.compare == "question" and rating(two) == ["ring"]
    first, second = (set(found.trace.stages[-1].kept) for found in (one, two))
    assert not first & second and "none is kept for the ring" in text
    for found, answer in ((one, "T"), (two, "blue")):
        assert said(found.dense) == said(found.pruned) == [answer] and f"<b>{answer}</b>" in text


def test_then_a_failure(steps):
    _, (found,), text = steps[2]
    assert said(found.dense) == ["Z"] and said(found.pruned) == ["none"] and found.query.is_plain
    assert "The answer is <b>none</b> in place of Z" in text
    assert rating(found) == ["card"] and "Only <b>card</b> rates" in text
    card = set(lesson.patches_of("brown card"))
    assert not card & set(found.trace.stages[-1].kept) and "none of the 9 patches" in text
    mean = sum(found.relevance) / len(found.relevance)
    assert found.relevance[found.words.index("brown")] < mean, "as the next step says"


def test_then_a_word_repairs_it(steps):
    _, (found,), text = steps[3]
    assert said(found.dense) == said(found.pruned) == ["Z"] and "<b>Z</b>" in text
    assert replace(found.query, raters=None) == Query(BROWN), "nothing else was changed"
    assert rating(found) == ["brown", "card"] and "<b>brown</b> and <b>card</b> rate" in text
    left = set(lesson.patches_of("brown card")) & set(found.trace.stages[-1].kept)
    assert len(left) > 3 and f"{len(left)} patches of the brown card are left" in text


def test_or_its_patches_do(steps):
    _, (found,), text = steps[4]
    assert said(found.dense) == said(found.pruned) == ["Z"] and "<b>Z</b>" in text
    assert replace(found.query, keep=()) == Query(BROWN), "nothing else was changed"
    assert found.query.keep == lesson.patches_of("brown card") and "the 9 patches" in text
    assert rating(found) == ["card"] and "“brown” is off again" in text


def test_every_step_is_found_again_however_one_came_to_it(session, steps):
    assert [lesson.step_at(state) for state, _, _ in steps] == [0, 1, 2, 3, 4]
    state = ExplorerState(session, Query(BROWN))
    state.switch(session.answer(state.query).words.index("brown"))
    assert lesson.step_at(state) == 3, "by a click on the word"
    state.change(tokens=128)
    assert lesson.step_at(state) is None
    state.change(question=WHITE, tokens=64)
    state.compare = "methods"
    assert lesson.step_at(state) is None


def test_the_bar_leads_through_the_lesson():
    explorer = explore(question="what shape is the pink thing ?")
    bar = explorer.controls.lesson
    assert lesson.INVITATION in bar.told.value and bar.next.description == "lesson"
    for number in range(1, 6):
        bar.next.click()
        assert f"{number} of 5" in bar.told.value
    assert bar.next.layout.display == "none", "it was the last one"
    bar.back.click()
    assert "4 of 5" in bar.told.value
    explorer.controls.question.value = "is there a blue ring in the image ?"
    assert lesson.INVITATION in bar.told.value, "what the step said is no longer to be seen"
    explorer.controls.image.value = "scene_5"
    bar.next.click()
    assert "1 of 5" in bar.told.value and explorer.session.image.name == "scene_6"


@pytest.mark.parametrize(("profile", "model"), [("mini", "mini-gemini"), ("a100", "")])
def test_there_is_no_lesson_for_another_model(profile, model):
    session, bar = ExplorerSession(profile, model), lesson.LessonBar()
    session.put("scene_6")
    bar.follow(ExplorerState(session, Query(WHITE)))
    assert bar.layout.display == "none"
