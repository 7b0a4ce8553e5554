"""What the user of the explorer has chosen, and what is to be shown of it. No widgets here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Template

from sparsevlm.explorer.color_map import ColorChoice
from sparsevlm.explorer.exploration import Exploration, Query
from sparsevlm.explorer.geometry import Montage, montage
from sparsevlm.explorer.scene import scene
from sparsevlm.explorer.session import ExplorerSession
from sparsevlm.explorer.share import SHARED, save_share
from sparsevlm.explorer.token_status import KEPT, snapshots, stages_before

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAUTION = Path(__file__).with_name("templates") / "caution.txt.j2"


class ExplorerState:
    """See why a patch was kept or dropped: the explorer without its widgets.

    `query` is the question with method, budget and the user's changes; `compare` is "nothing",
    "question" (with `second`) or "methods"; `choice` is what is shown by color.
    """

    def __init__(self, session: ExplorerSession, query: Query) -> None:
        self.session, self.query = session, query
        others = [question for question in self.suggestions() if question != query.question]
        self.second, self.compare = others[0] if others else "", "nothing"
        self.choice, self.show_padding = ColorChoice(), False

    @classmethod
    def resumed(cls, session: ExplorerSession, queries: Sequence[Query]) -> ExplorerState:
        """The explorer as it was shared: what was compared follows from what was asked."""
        state = cls(session, queries[0])
        if list(queries) == queries[0].compared():
            state.compare = "methods"
        elif len(queries) == 2:
            state.compare, state.second = "question", queries[1].question
        return state

    def suggestions(self) -> tuple[str, ...]:
        """Questions worth asking about the image."""
        sample = self.session.image.sample
        return sample.questions if sample else ()

    def queries(self) -> list[Query]:
        """All that is to be answered: the own question, and what it is compared with."""
        if self.compare == "methods":
            return self.query.compared()
        if self.compare == "question":
            if not self.second.strip():
                raise ValueError("type the second question to compare with")
            return [self.query, Query(self.second, self.query.method, self.query.tokens)]
        return [self.query]

    def answers(self) -> list[Exploration]:
        """The answers; the model is loaded where one is new. See `ExplorerSession.answer`.

        To choose from all words and heads, attention needs the answers whole.
        """
        whole = self.choice.mode == "attention"
        return [self.session.answer(query, whole) for query in self.queries()]

    def _montage(self) -> Montage:
        return montage(self.session.image, self.session.geometry, self.show_padding)

    def scene(self) -> dict:
        """What the browser draws, see `scene.scene`."""
        found, session = self.answers(), self.session
        choice = self.choice.fitting(found[0])
        return scene(found, session.model, session.geometry, self._montage(), choice, self.compare)

    def figure(self) -> Figure:
        """The same without a browser: the static twin."""
        from sparsevlm.explorer import static

        found = self.answers()
        choice = self.choice.fitting(found[0])
        drawn = static.draw(found, self.session.model, self._montage(), choice, self.caution())
        drawn.set_label("; ".join(one.about for one in found))  # into the files' metadata
        return drawn

    def comparison(self) -> Figure:
        """The figure of this question under all compared methods."""
        compare, self.compare = self.compare, "methods"
        try:
            return self.figure()
        finally:
            self.compare = compare

    def click(self, first: int, tokens: Sequence[int], position: int) -> None:
        """Force patches, or release them: all that were dragged over, as the first one decides.

        What is seen of it at the position of the layer slider is turned into its opposite.
        """
        trace = self.session.answer(self.query).trace
        status = snapshots(trace)[stages_before(trace, position)].tokens[first]
        choice = self.query.next_choice(first, status.state == KEPT)
        self.query = self.query.forced(tokens, choice)

    def switch(self, word: int) -> None:
        """Let one word rate, or stop it from rating.

        Raises
        ------
        ValueError
            If it is the last rater.
        """
        own = self.session.answer(self.query.plain()).raters
        now = set(own if self.query.raters is None else self.query.raters) ^ {word}
        if not now:
            raise ValueError("one word at least must rate; switch another one on first")
        raters = None if now == set(own) else tuple(sorted(now))
        self.query = replace(self.query, raters=raters)

    def release(self) -> None:
        """Undo all changes made by hand."""
        self.query = self.query.plain()

    def change(self, **changes: object) -> None:
        """Ask something else, by fields of `Query`.

        Forced patches stay; raters are those of the words, and go with them.
        """
        if {"question", "method"} & set(changes):
            changes["raters"] = None
        self.query = replace(self.query, **changes)

    def put(self, source: object) -> None:
        """Take another image; its own first question is asked, where it has any."""
        self.session.put(source)
        self.query = self.query.plain()
        questions = self.suggestions()
        if questions:
            self.query = replace(self.query, question=questions[0])
            self.second = questions[1] if len(questions) > 1 else self.second

    def caution(self) -> str:
        """What to bear in mind about this image and question; "" where there is nothing."""
        session, (unknown, _) = self.session, self.spelling()
        page = Template(CAUTION.read_text(encoding="utf-8"))
        said = page.render(session=session, sample=session.image.sample, unknown=unknown)
        return " ".join(said.split())

    def spelling(self) -> tuple[list[str], list[str]]:
        """Unknown words of what is asked, and if there are any, all that the model knows."""
        asked = " ".join(dict.fromkeys(query.question for query in self.queries()))
        return self.session.spelling(asked)

    def share(self, folder: Path = SHARED) -> Path:
        """Write trace, session, figure and code; see `share.save_share`."""
        import matplotlib.pyplot as plt

        figure = self.figure()
        try:
            return save_share(
                self.session.saved(self.answers()), figure, self.session.profile, folder
            )
        finally:
            plt.close(figure)
