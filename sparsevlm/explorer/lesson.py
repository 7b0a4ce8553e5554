"""A lesson of five pictures and four clicks: a success, its limits, a failure and two repairs.

Nothing is recorded for it: every step is asked of the bundled model, and every number and answer
in its sentences is that of this model, now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ipywidgets as widgets

from sparsevlm.explorer.color_map import ColorChoice
from sparsevlm.explorer.exploration import Exploration, Query

if TYPE_CHECKING:
    from sparsevlm.explorer.session import ExplorerSession
    from sparsevlm.explorer.state import ExplorerState

MODEL, IMAGE, SEED = "mini-llava", "scene_6", 6
WHITE = "what letter is on the white card ?"
BROWN = "what letter is on the brown card ?"
RING = "what color is the ring ?"
INVITATION = "A lesson of four clicks shows what pruning does, and how it can fail."


@dataclass(frozen=True)
class Step:
    """One picture of the lesson.

    Attributes
    ----------
    question, second
        What is asked; with a second question both are compared.
    word
        One more word that rates, or "".
    thing
        The object whose patches are forced to stay, or "".
    text
        What is to be seen, in HTML, from all answers of the step.
    """

    question: str
    text: Callable[[list[Exploration]], str]
    second: str = ""
    word: str = ""
    thing: str = ""

    def query(self, session: ExplorerSession) -> Query:
        """What is asked, with the changes by hand."""
        query = Query(self.question)
        if self.thing:
            query = query.forced(patches_of(self.thing), "keep")
        if self.word:
            found = session.answer(query)
            query = replace(query, raters=(*found.raters, found.words.index(self.word)))
            query = replace(query, raters=tuple(sorted(query.raters)))
        return query


def patches_of(thing: str) -> tuple[int, ...]:
    """Visual tokens of an object of the lesson's picture, such as "brown card"."""
    from sparsevlm.miniature.scenes import make_scene

    scene = make_scene(SEED)
    found = next(one for one in scene.objects if str(one) == thing)
    return tuple(int(token) for token in scene.patches_of(found))


def left_of(thing: str, found: Exploration) -> int:
    """How many patches of an object are kept after the last stage."""
    return len(set(patches_of(thing)) & set(found.trace.stages[-1].kept))


def said(found: Exploration) -> str:
    """The pruned answer."""
    return " ".join(token.text for token in found.pruned)


def _raters(found: Exploration) -> str:
    words = [f"<b>{found.words[index]}</b>" for index in found.raters]
    return " and ".join(words) + (" rates" if len(words) == 1 else " rate")


def _success(found: list[Exploration]) -> str:
    (one,) = found
    return (
        f"<b>Few tokens are enough.</b> {_raters(one)} the {one.trace.num_visual} patches. Each "
        f"layer leaves {one.query.tokens} on average; {len(one.trace.stages[-1].kept)} patches "
        f"stay to the end, {left_of('white card', one)} of them on the white card. The answer is "
        f"still <b>{said(one)}</b>."
    )


def _two_questions(found: list[Exploration]) -> str:
    one, two = (set(one.trace.stages[-1].kept) for one in found)
    return (
        f"<b>The question decides.</b> Same picture, another question: {_raters(found[1])}, and of "
        f"the {len(one)} patches kept for the card {len(one & two) or 'none'} is kept for the "
        f"ring. Both answers are right: <b>{said(found[0])}</b> and <b>{said(found[1])}</b>."
    )


def _failure(found: list[Exploration]) -> str:
    (one,) = found
    dense = " ".join(token.text for token in one.dense)
    return (
        f"<b>It can fail.</b> Only {_raters(one)}, and there are two cards: "
        f"{left_of('brown card', one) or 'none'} of the {len(patches_of('brown card'))} patches of "
        f"the brown one are left. The answer is <b>{said(one)}</b> in place of {dense}. "
        "Click the word “brown”."
    )


def _by_word(found: list[Exploration]) -> str:
    (one,) = found
    return (
        f"<b>A word repairs it.</b> Now {_raters(one)}: {left_of('brown card', one)} patches of "
        f"the brown card are left, and the answer is <b>{said(one)}</b>. The method had passed "
        "“brown” over: it is less relevant to the picture than the mean word."
    )


def _by_patches(found: list[Exploration]) -> str:
    (one,) = found
    return (
        f"<b>So do patches.</b> “brown” is off again, and the {len(one.query.keep)} patches of the "
        f"brown card (+) were forced to stay: <b>{said(one)}</b>. Now try it: drag over patches, "
        "click words, ask something else."
    )


STEPS = (
    Step(WHITE, _success),
    Step(WHITE, _two_questions, second=RING),
    Step(BROWN, _failure),
    Step(BROWN, _by_word, word="brown"),
    Step(BROWN, _by_patches, thing="brown card"),
)


def go_to(state: ExplorerState, number: int) -> None:
    """Bring the explorer to a step, from 0."""
    step = STEPS[number]
    if state.session.image is None or state.session.image.name != IMAGE:
        state.session.put(IMAGE)
    state.compare = "question" if step.second else "nothing"
    state.second = step.second or state.second
    state.query = step.query(state.session)
    state.choice = ColorChoice()


def step_at(state: ExplorerState) -> int | None:
    """The step that is seen, however one came to it; ``None`` if it is none."""
    if state.session.image is None or state.session.image.name != IMAGE:
        return None
    for number, step in enumerate(STEPS):
        second = state.second if state.compare == "question" else ""
        is_near = (state.query.plain(), second) == (Query(step.question), step.second)
        if is_near and state.compare != "methods" and state.query == step.query(state.session):
            return number
    return None


class LessonBar(widgets.HBox):
    """The sentence of the step that is seen, and buttons to the others; hidden for other models."""

    def __init__(self) -> None:
        self.told = widgets.HTML()
        self.back = widgets.Button(icon="chevron-left", tooltip="the step before")
        self.next = widgets.Button(button_style="primary")
        self.back.layout.width = self.next.layout.width = "auto"
        super().__init__([self.told, self.back, self.next])
        self.add_class("sv-lesson")

    def on_turn(self, act: Callable[[int], None]) -> None:
        """Call ``act`` with -1 or 1 when a button is pressed."""
        self.back.on_click(lambda _: act(-1))
        self.next.on_click(lambda _: act(1))

    def turn(self, state: ExplorerState, by: int) -> None:
        """Bring the explorer to the step before or after, or to the first one."""
        now = step_at(state)
        go_to(state, 0 if now is None else max(0, min(len(STEPS) - 1, now + by)))

    def follow(self, state: ExplorerState) -> None:
        """Say what is to be seen now."""
        model = state.session.model
        is_offered = state.session.profile.model == MODEL and (not model or model.name == MODEL)
        self.layout.display = "flex" if is_offered else "none"
        if not is_offered:
            return
        now = step_at(state)
        self.back.layout.display = "none" if now in (None, 0) else "flex"
        self.next.layout.display = "none" if now == len(STEPS) - 1 else "flex"
        self.next.description = "lesson" if now is None else "next"
        text, number = INVITATION, ""
        if now is not None:
            text, number = STEPS[now].text(state.answers()), f"<i>{now + 1} of {len(STEPS)}</i>"
        self.told.value = f'<div role="status">{number}<span>{text}</span></div>'
