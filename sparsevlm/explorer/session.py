"""One picture on the desk, a model behind it, and all that was asked so far. No widgets here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.explorer.run import Ask, Model, Run, Session
from sparsevlm.explorer.samples import Picture, open_picture
from sparsevlm.explorer.view.geometry import Geometry

if TYPE_CHECKING:
    from sparsevlm.explorer.engine import Engine

TRACES = DATA / "traces"
COMPARED = ("sparsevlm", "fastv", "pdrop", "tome", "random", "uniform")


class Desk:
    """Answers questions about one picture, from what is recorded or by asking the model.

    Parameters
    ----------
    profile
        Which model, and where it runs.
    model
        A checkpoint in place of the profile's.

    Attributes
    ----------
    picture, geometry, model
        Of the latest answer; ``None`` before the first.
    """

    def __init__(self, profile: Profile | str = "mini", model: str = "") -> None:
        self.profile = get_profile(profile) if isinstance(profile, str) else profile
        self.checkpoint = model
        self.picture: Picture | None = None
        self.geometry: Geometry | None = None
        self.model: Model | None = None
        self._runs: dict[Ask, Run] = {}
        self._engine: Engine | None = None
        self._loading = Lock()

    def put(self, source: object) -> Picture:
        """Lay another picture on the desk; see `samples.open_picture`.

        A sample picture brings its recorded answers, where they are of today's weights.
        """
        picture = open_picture(source)
        self._place(picture, None, self._engine.model if self._engine else None, ())
        bundled = TRACES / f"{picture.name}.json.gz"
        if picture.name and self.is_bundled and bundled.exists():
            session = Session.load(bundled)
            if session.model.revision == MiniatureBackend().revision(session.model.name):
                self._place(picture, session.geometry, session.model, session.runs)
        return picture

    def load(self, path: str | Path) -> Session:
        """Lay a saved session on the desk; see `Session.load`."""
        session = Session.load(path)
        self._place(session.picture, session.geometry, session.model, session.runs)
        return session

    def _place(
        self, picture: Picture, geometry: Geometry | None, model: Model | None, runs: Sequence[Run]
    ) -> None:
        self.picture, self.geometry, self.model = picture, geometry, model
        self._runs = {run.ask: run for run in runs}

    @property
    def is_bundled(self) -> bool:
        """Whether the model is the bundled miniature."""
        return not self.checkpoint and self.profile.name == "mini"

    def answer(self, ask: Ask) -> Run:
        """The run of a question: recorded, remembered or new.

        Raises
        ------
        ValueError
            For what cannot be asked, see `Engine.ask`, and for a new question about a session that
            another model was asked.
        RuntimeError
            If there is no picture yet, or the profile needs a GPU that is not there.
        """
        if self.picture is None:
            raise RuntimeError("there is no picture to ask about; put() one first")
        if ask not in self._runs:
            engine = self.engine()
            if self.model is not None and engine.model.name != self.model.name:
                raise ValueError(
                    f"this session was recorded with {self.model.name}; new questions need that "
                    f"model, and this explorer runs {engine.model.name}: open it with explore("
                    "profile=..., model=..., session=...)"
                )
            seen = engine.loaded.seen(self.picture)
            if seen.frames != self.picture.frames:
                self.picture = seen
            run, self.geometry = engine.ask(self.picture, ask)
            self.model = engine.model
            self._runs[ask] = run
        return self._runs[ask]

    def engine(self) -> Engine:
        """The model; loaded when first needed."""
        with self._loading:
            if self._engine is None:
                from sparsevlm.explorer.engine import Engine

                self._engine = Engine.of(self.profile, self.checkpoint)
            return self._engine

    def warm_up(self) -> Thread:
        """Load the model while the user is looking; what fails here fails again when asked."""

        def load() -> None:
            with suppress(Exception):
                self.engine()

        thread = Thread(target=load, daemon=True)
        thread.start()
        return thread

    def is_known(self, ask: Ask) -> bool:
        """Whether an answer needs no model."""
        return ask in self._runs

    def unknown_words(self, question: str) -> list[str]:
        """Words that the model's vocabulary lacks; empty while no model was needed."""
        return self._engine.unknown_words(question) if self._engine else []

    def compared(self, ask: Ask) -> list[Ask]:
        """The same question for every method to be compared, this one first."""
        others = [name for name in COMPARED if name != ask.method]
        if ask.method.startswith("sparsevlm-"):
            others.remove("sparsevlm")
        return [ask, *(Ask(ask.question, name, ask.tokens) for name in others)]

    def toggled_raters(self, ask: Ask, word: int) -> Ask:
        """The question with one word's right to rate switched.

        Raises
        ------
        ValueError
            If it is the last rater.
        """
        own = self.answer(ask.plain()).raters
        now = set(own if ask.raters is None else ask.raters) ^ {word}
        if not now:
            raise ValueError("one word at least must rate; switch another one on first")
        chosen = None if now == set(own) else tuple(sorted(now))
        return Ask(ask.question, ask.method, ask.tokens, ask.keep, ask.drop, chosen)

    def session(self, runs: Sequence[Run]) -> Session:
        """What is on the desk, with some of the runs, to be saved."""
        if self.picture is None or self.geometry is None or self.model is None:
            raise RuntimeError("nothing was asked yet, so there is nothing to save")
        return Session(self.model, self.picture, self.geometry, tuple(runs))


def forced(ask: Ask, tokens: Sequence[int], choice: str) -> Ask:
    """The question with patches forced to "keep" or "drop", or released ("free").

    Raises
    ------
    ValueError
        For another choice.
    """
    if choice not in ("keep", "drop", "free"):
        raise ValueError(f'the choice must be "keep", "drop" or "free", got {choice!r}')
    keep, drop = set(ask.keep) - set(tokens), set(ask.drop) - set(tokens)
    if choice != "free":
        (keep if choice == "keep" else drop).update(tokens)
    return Ask(
        ask.question, ask.method, ask.tokens, tuple(sorted(keep)), tuple(sorted(drop)), ask.raters
    )


def next_choice(ask: Ask, token: int, is_kept: bool) -> str:
    """What a click on a patch does: release a forced one, else turn what is seen into its opposite.

    Parameters
    ----------
    ask
        The question with its forced patches.
    token
        The patch.
    is_kept
        Whether it is seen as kept at the layer on the slider.
    """
    if token in ask.keep or token in ask.drop:
        return "free"
    return "drop" if is_kept else "keep"
