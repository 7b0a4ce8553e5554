"""A lesson of five pictures and four clicks: a success, its limits, a failure and two repairs.

Nothing is recorded for it: every step is asked of the bundled model, and every number and answer
in its sentences is that of this model, now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import ipywidgets as widgets
import yaml
from jinja2 import Template
from pydantic import TypeAdapter

from sparsevlm.evaluation.paths import DATA
from sparsevlm.explorer.color_map import ColorChoice
from sparsevlm.explorer.exploration import Exploration, Query
from sparsevlm.explorer.session import MODEL, ExplorerSession
from sparsevlm.explorer.state import ExplorerState
from sparsevlm.miniature.scenes import make_scene

IMAGE, SEED = "scene_6", 6
INVITATION = "A lesson of four clicks shows what pruning does, and how it can fail."


@dataclass(frozen=True)
class Step:
    """One picture of the lesson: what is asked, and a template of HTML on what is to be seen.

    With a second question both are compared. `word` is one more that rates, `thing` the object
    whose patches are forced to stay; "" for none.
    """

    question: str
    text: str
    second: str = ""
    word: str = ""
    thing: str = ""

    def said(self, found: Sequence[Exploration]) -> str:
        """The text, from all answers of the step."""
        answers = dict(zip(("one", "two"), found, strict=False))
        return Template(self.text).render(_NAMES | answers)

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
    scene = make_scene(SEED)
    found = next(one for one in scene.objects if str(one) == thing)
    return tuple(int(token) for token in scene.patches_of(found))


def _kept(found: Exploration) -> set[int]:
    return set(found.trace.stages[-1].kept)


def _rate(found: Exploration) -> str:
    words = [f"<b>{found.words[index]}</b>" for index in found.raters]
    return " and ".join(words) + (" rates" if len(words) == 1 else " rate")


_NAMES = {
    "kept": _kept,
    "left": lambda thing, found: len(_kept(found).intersection(patches_of(thing))),
    "patches": patches_of,
    "rate": _rate,
    "said": lambda answer: " ".join(token.text for token in answer),
}
STEPS = TypeAdapter(tuple[Step, ...]).validate_python(
    yaml.safe_load((DATA / "lesson.yaml").read_text(encoding="utf-8"))
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
            text, number = STEPS[now].said(state.answers()), f"<i>{now + 1} of {len(STEPS)}</i>"
        self.told.value = f'<div role="status">{number}<span>{text}</span></div>'
