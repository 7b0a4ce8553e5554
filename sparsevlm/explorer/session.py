"""One image, a model, and all that it was asked so far. No widgets here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

from sparsevlm.analysis.sample_images import SampleImage, kind_for, sample_images
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.explorer.exploration import COMPARED, Exploration, ModelInfo, Query, SavedSession
from sparsevlm.explorer.geometry import Geometry
from sparsevlm.explorer.images import ImageInput
from sparsevlm.miniature.registry import is_slow
from sparsevlm.paper.parameters import full_model_name

if TYPE_CHECKING:
    from sparsevlm.explorer.engine import Engine
    from sparsevlm.models.sizes import ModelSizes

TRACES = DATA / "traces"
MODEL = "mini-llava"  # of the lesson and the bundled answers, where no other one is asked for
BUDGETS, COMPARED_AT = (64, 128, 192), 64  # of the bundled answers


class ExplorerSession:
    """Answers questions about one image, from what is recorded or by asking the model.

    The model is the profile's, or another bundled one, a checkpoint's name or a folder. `image`,
    `geometry` and `model` are of the latest answer, and ``None`` before the first; `is_bundled`
    says whether the image came with recorded answers.
    """

    def __init__(self, profile: Profile | str = "mini", model: str = "") -> None:
        chosen = as_profile(profile)
        if is_slow(chosen.model):
            chosen = replace(chosen, model=MODEL)
        self.profile = chosen.with_model(full_model_name(model))
        self.image: ImageInput | None = None
        self.geometry: Geometry | None = None
        self.model: ModelInfo | None = None
        self.is_bundled = False
        self._known: dict[Query, Exploration] = {}
        self._engine: Engine | None = None
        self._loading = Lock()

    def put(self, source: object) -> ImageInput:
        """Take another image; see `ImageInput.open`.

        A sample image brings its recorded answers, where they are of this model and its weights.
        """
        image = ImageInput.open(source)
        path = TRACES / f"{image.name}.json.gz"
        saved = SavedSession.load(path) if image.name and path.exists() else None
        name = self.profile.model
        own = saved is not None and saved.model.name == name
        self.is_bundled = own and saved.model.revision == backend_of(name).revision(name)
        if self.is_bundled:
            self._take(saved)
        else:
            self.image, self.geometry, self._known = image, None, {}
            self.model = self._engine.info if self._engine else None
        return image

    def load(self, path: str | Path) -> SavedSession:
        """Go on with a saved session; see `SavedSession.load`."""
        saved = SavedSession.load(path)
        self._take(saved)
        return saved

    def _take(self, saved: SavedSession) -> None:
        self.image, self.geometry, self.model = saved.image, saved.geometry, saved.model
        self._known = {found.query: found for found in saved.explorations}

    def sizes(self) -> ModelSizes:
        """Sizes of the profile's model, known without loading it."""
        return backend_of(self.profile.model).sizes(self.profile.model)

    def answer(self, query: Query, whole: bool = False) -> Exploration:
        """What a question gave: recorded, remembered or new.

        Parameters
        ----------
        whole
            Whether the attention of every word and head is wanted: a recorded answer may have
            that of the raters alone, and is then asked for again if the model is at hand.

        Raises
        ------
        ValueError
            For what cannot be asked, see `Engine.explore`, and for a new question about a session
            that another model was asked.
        RuntimeError
            If there is no image yet, or the model cannot be loaded, see `load_model`.
        """
        if self.image is None:
            raise RuntimeError("there is no image to ask about; put() one first")
        known, loaded = self._known.get(query), self._engine and self._engine.info.name
        at_hand = self.is_bundled or (self.model is not None and loaded == self.model.name)
        if known is None or (whole and at_hand and not known.attention.is_whole(len(known.words))):
            engine = self.engine()
            if self.model is not None and engine.info.name != self.model.name:
                raise ValueError(
                    f"this session was recorded with {self.model.name}; new questions need that "
                    f"model, and this explorer runs {engine.info.name}: open it with explore("
                    "profile=..., model=..., session=...)"
                )
            self.image = engine.seen(self.image)
            self._known[query], self.geometry = engine.explore(self.image, query)
            self.model = engine.info
        return self._known[query]

    def engine(self) -> Engine:
        """The model; loaded when first needed."""
        with self._loading:
            if self._engine is None:
                from sparsevlm.explorer.engine import Engine

                self._engine = Engine.of(self.profile)
            return self._engine

    def warm_up(self) -> Thread:
        """Load the model while the user is looking; what fails here fails again when asked."""

        def load() -> None:
            with suppress(Exception):
                self.engine()

        thread = Thread(target=load, daemon=True)
        thread.start()
        return thread

    def is_known(self, query: Query) -> bool:
        """Whether an answer needs no model."""
        return query in self._known

    def offered(self) -> list[tuple[str, str]]:
        """Title and name of the samples, first those that the model was made for.

        A clip is left out for the other bundled models, which take no videos.
        """
        kind = kind_for(self.profile.model)
        strange = {
            "photograph": "a photograph: means nothing to a miniature",
            "scene": "a drawn scene", "clip": "a drawn clip",
        }  # fmt: skip
        known = sorted(sample_images().values(), key=lambda sample: sample.kind != kind)
        return [
            (s.title if s.kind == kind else f"{s.title} ({strange[s.kind]})", s.name)
            for s in known
            if kind == "photograph" or s.kind in (kind, "photograph")
        ]

    def spelling(self, question: str) -> tuple[list[str], list[str]]:
        """Words that the model's vocabulary lacks, and if there are any, all that it has.

        Nothing is lacking while no model was needed.
        """
        unknown = self._engine.unknown_words(question) if self._engine else []
        return unknown, self._engine.known_words() if unknown else []

    def saved(self, explorations: Sequence[Exploration]) -> SavedSession:
        """Some of the answers with image and model, to be saved."""
        if self.image is None or self.geometry is None or self.model is None:
            raise RuntimeError("nothing was asked yet, so there is nothing to save")
        return SavedSession(self.model, self.image, self.geometry, tuple(explorations))


def bundled_images() -> list[SampleImage]:
    """The images that have bundled answers."""
    return [sample for sample in sample_images().values() if sample.kind == "scene"]


def bundled_queries(sample: SampleImage) -> list[Query]:
    """What is recorded of an image: the first two questions, every method at one budget."""
    others = [(name, COMPARED_AT) for name in COMPARED if name != "sparsevlm"]
    methods = [*(("sparsevlm", tokens) for tokens in BUDGETS), *others]
    return [Query(question, *method) for question in sample.questions[:2] for method in methods]


def record_bundled() -> list[Path]:
    """Ask the model of "mini" all that is bundled, again: after it was trained anew.

    Until then answers of other weights are ignored, see `ExplorerSession.put`. There is one file
    per image.
    """
    engine = ExplorerSession("mini").engine()
    files = []
    for sample in bundled_images():
        image = ImageInput.open(sample.name)
        found = [engine.explore(image, query) for query in bundled_queries(sample)]
        saved = SavedSession(engine.info, image, found[0][1], tuple(one for one, _ in found))
        files.append(saved.save(TRACES / f"{sample.name}.json.gz"))
    return files
