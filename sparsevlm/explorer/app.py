"""The explorer itself: what the user has chosen, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.explorer import share
from sparsevlm.explorer.run import Ask, Run
from sparsevlm.explorer.samples import sample_pictures
from sparsevlm.explorer.session import Desk, forced, next_choice
from sparsevlm.explorer.view import panels
from sparsevlm.explorer.view import token_status as fate
from sparsevlm.explorer.view.color_map import Choice
from sparsevlm.explorer.view.montage import montage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sparsevlm.explorer.controls import Controls

COMPARISONS = ("nothing", "question", "methods")


class Explorer:
    """See why a patch lived or died. Display it in a notebook, or take its `figure`.

    Attributes
    ----------
    desk
        Picture, model and answers.
    ask
        The question with method, budget and the user's changes.
    second
        The other question, for ``compare="question"``.
    compare
        "nothing", "question" or "methods".
    choice
        What is painted.
    show_padding
        Whether the padding that the model saw is shown beside the picture.
    """

    def __init__(self, desk: Desk, ask: Ask) -> None:
        self.desk, self.ask = desk, ask
        others = [question for question in suggestions(desk) if question != ask.question]
        self.second, self.compare = others[0] if others else "", "nothing"
        self.choice, self.show_padding = Choice(), False

    @classmethod
    def open(
        cls, profile: str, *, model: str, picture: str, question: str, method: str,
        tokens: int | None, session: str,
    ) -> Explorer:  # fmt: skip
        """See `sparsevlm.explorer.explore`."""
        if method not in METHOD_STYLE:
            raise ValueError(f"unknown method {method!r}; known: {', '.join(METHOD_STYLE)}")
        desk = Desk(profile, model)
        if session:
            return cls._resumed(desk, [run.ask for run in desk.load(session).runs])
        desk.put(picture)
        questions = suggestions(desk)
        if not question and not questions:
            raise ValueError(f"give a question to ask about {picture}")
        return cls(desk, Ask(question or questions[0], method, tokens))

    @classmethod
    def _resumed(cls, desk: Desk, asks: Sequence[Ask]) -> Explorer:
        """The explorer as it was shared: what was compared is told by what was asked."""
        explorer = cls(desk, asks[0])
        if asks == desk.compared(asks[0]):
            explorer.compare = "methods"
        elif len(asks) == 2:
            explorer.compare, explorer.second = "question", asks[1].question
        return explorer

    def asks(self) -> list[Ask]:
        """All that is to be answered: the own question, and what it is compared with."""
        if self.compare == "methods":
            return self.desk.compared(self.ask)
        if self.compare == "question":
            if not self.second.strip():
                raise ValueError("type the second question to compare with")
            return [self.ask, Ask(self.second, self.ask.method, self.ask.tokens)]
        return [self.ask]

    def runs(self) -> list[Run]:
        """The answers; the model is loaded where one is new. See `Desk.answer`."""
        return [self.desk.answer(ask) for ask in self.asks()]

    def scene(self) -> dict:
        """What the browser draws, see `panels.scene`."""
        runs = self.runs()
        choice = fitting(self.choice, runs[0])
        shown = montage(self.desk.picture, self.desk.geometry, self.show_padding)
        return panels.scene(runs, self.desk.model, self.desk.geometry, shown, choice, self.compare)

    def figure(self) -> Figure:
        """The same without a browser: the static twin, two columns wide."""
        from sparsevlm.explorer import static

        runs = self.runs()
        shown = montage(self.desk.picture, self.desk.geometry, self.show_padding)
        return static.draw(runs, self.desk.model, shown, fitting(self.choice, runs[0]))

    def comparison(self) -> Figure:
        """The figure of this question under all compared methods."""
        compare, self.compare = self.compare, "methods"
        try:
            return self.figure()
        finally:
            self.compare = compare

    def click(self, first: int, tokens: Sequence[int], position: int) -> Ask:
        """Force patches, or release them.

        Parameters
        ----------
        first
            The patch under the pointer when it went down; it decides what happens to all.
        tokens
            All patches of the dragged rectangle.
        position
            Of the layer slider: what is seen there is turned into its opposite.
        """
        run = self.desk.answer(self.ask)
        stage = fate.segments(run.sample)[fate.segment_of_position(run.sample, position)]
        is_kept = stage.fates[first].state == fate.KEPT
        self.ask = forced(self.ask, tokens, next_choice(self.ask, first, is_kept))
        return self.ask

    def switch(self, word: int) -> Ask:
        """Give or take one word's right to rate; see `Desk.toggled_raters`."""
        self.ask = self.desk.toggled_raters(self.ask, word)
        return self.ask

    def release(self) -> Ask:
        """Undo all changes made by hand."""
        self.ask = self.ask.plain()
        return self.ask

    def change(self, **changes: object) -> Ask:
        """Ask something else. Forced patches stay; raters are those of the words, and go with them.

        Parameters
        ----------
        **changes
            Fields of `Ask`.
        """
        if {"question", "method"} & set(changes) and "raters" not in changes:
            changes["raters"] = None
        self.ask = replace(self.ask, **changes)
        return self.ask

    def put(self, source: object) -> None:
        """Take another picture; its own first question is asked, where it has any."""
        self.desk.put(source)
        questions = suggestions(self.desk)
        if questions:
            self.second = questions[1] if len(questions) > 1 else self.second
            self.ask = replace(self.ask.plain(), question=questions[0])
        else:
            self.ask = self.ask.plain()

    def caution(self) -> str:
        """What to bear in mind about this picture and question; "" where there is nothing."""
        found = []
        sample = sample_pictures().get(self.desk.picture.name)
        if self.desk.is_bundled and (sample is None or sample.kind != "miniature"):
            found.append(
                "The miniature has only ever seen drawn scenes: what it says about another picture "
                "means nothing."
            )
        unknown = self.desk.unknown_words(self.ask.question)
        if unknown:
            words = ", ".join(f"“{word}”" for word in unknown)
            found.append(f"The model does not know {words} and reads <unk>.")
        return " ".join(found)

    def share(self, folder: Path = share.FOLDER) -> Path:
        """Write trace, session, picture and code; see `share.save_share`."""
        import matplotlib.pyplot as plt

        runs, figure = self.runs(), self.figure()
        try:
            return share.save_share(
                self.desk.session(runs), runs[0], figure, profile=self.desk.profile.name,
                checkpoint=self.desk.checkpoint, folder=folder,
            )  # fmt: skip
        finally:
            plt.close(figure)

    @cached_property
    def controls(self) -> Controls:
        """The widgets; made when first shown. The bundled model is then loaded behind them."""
        from sparsevlm.explorer.controls import Controls

        made = Controls(self)
        if self.desk.is_bundled:
            self.desk.warm_up()
        return made

    def _repr_mimebundle_(self, **options: object) -> dict:
        return self.controls.box._repr_mimebundle_(**options)


def suggestions(desk: Desk) -> tuple[str, ...]:
    """Questions worth asking about the picture on the desk."""
    sample = sample_pictures().get(desk.picture.name)
    return sample.questions if sample else ()


def fitting(choice: Choice, run: Run) -> Choice:
    """The choice without a head or word that this run does not have."""
    if run.attention is None:
        return Choice(choice.mode)
    head, word = choice.head, choice.word
    if head is not None and head >= run.attention.num_heads:
        head = None
    return Choice(choice.mode, head, word if word in run.attention.words else None)
