"""What a model is asked in the figures: its drawn scenes, photographs, or what the user gives.

Only `examples_of` decides which. Of a scene that was drawn for a miniature the objects are known
patch by patch; any other model is asked about the photographs of `data/samples`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from sparsevlm.analysis.sample_images import FOLDER, sample_images
from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.loaded import LoadedModel
from sparsevlm.miniature.facts import Facts
from sparsevlm.miniature.registry import MINIATURES, MiniatureSpec
from sparsevlm.miniature.scenes import CARD_COLORS, SHAPE_COLORS, SHAPES, Scene, make_scene
from sparsevlm.models.images import load_image

# The benchmarks whose questions are drawn, where a model has them; multiple choice is left out.
DRAWN_FROM = ("gqa", "textvqa", "pope", "mmvet")
DRAW_SEED = 2  # tables report seed 0, the cards of the miniatures seed 1


class SceneQuestion(NamedTuple):
    """A question that was chosen for a figure, and its true answer."""

    kind: str
    seed: int
    question: str
    answer: str


@dataclass(frozen=True)
class Example:
    """A question about an image, and what is known of it.

    Attributes
    ----------
    name : str
        Of the image: "scene_7", a sample's, or that of a file.
    answer : str
        The true one; "" where it is not known.
    target : tuple of int or None
        Raster indices of the patches that show what the question names; None where they are
        not marked.
    kind : str
        The benchmark that asks such questions; of a photograph its name.
    scene : Scene or None
        Where the image was drawn.
    """

    name: str
    image: Image
    question: str
    answer: str = ""
    target: tuple[int, ...] | None = None
    kind: str = ""
    scene: Scene | None = field(default=None, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """Of the scene; of any other image a number that follows from its name."""
        return zlib.crc32(self.name.encode()) if self.scene is None else self.scene.seed

    @property
    def place(self) -> dict[str, object]:
        """The image as a column of a table: ``{"scene": 7}`` or ``{"image": "coffee"}``."""
        return {"image": self.name} if self.scene is None else {"scene": self.seed}


@dataclass(frozen=True)
class Photographs:
    """The photographs of `data/samples` and their questions.

    `subject` is who is asked, for readers: the model and what has to be said of it.
    """

    subject: str

    def about(self, asked: Sequence[Example]) -> str:
        """Return who is asked and what is known of the images, in Markdown."""
        if all(example.target is not None for example in asked):
            return (
                f"{self.subject} is asked about scenes that were drawn for it, so what a question "
                "names is known patch by patch: evidence about the mechanism, none about the "
                "paper's photographs."
            )
        return (
            f"{self.subject} is asked about images in which nobody marked what a question names, "
            "and without true answers: no target is outlined or measured, no answer is judged."
        )

    def chosen(self, asked: Sequence[SceneQuestion], per_image: int = 1) -> list[Example]:
        """Return as many examples as `asked` has, `per_image` of each photograph in turn."""
        found = [e for name in self._names for e in self._of(name)[:per_image]]
        return found[: len(asked)]

    def drawn(self, count: int) -> list[Example]:
        """Return the first `count` of all questions, or all; the photographs take turns."""
        every = [self._of(name) for name in self._names]
        return [example for turn in zip(*every, strict=True) for example in turn][:count]

    def of_image(self, image: str) -> list[Example]:
        """Return the examples of a bundled image, or one without a question about a file.

        Raises
        ------
        FileNotFoundError
            There is no such sample or file; the message lists the samples.
        ValueError
            The file is no image.
        """
        if not image:
            return self._of(self._names[0])
        known = [sample.name for sample in sample_images().values() if sample.kind != "clip"]
        if image in known:
            return self._of(image)
        path = Path(image).expanduser()
        if not path.exists():
            names = ", ".join(known)
            raise FileNotFoundError(f"no image {image!r}: give a file, or one of {names}")
        return [Example(path.stem, load_image(path), "", kind=path.stem)]

    def ask(self, example: Example, question: str) -> Example:
        """Return the example with another question, of which nothing is known."""
        return replace(example, question=question, answer="", target=None)

    @property
    def _names(self) -> list[str]:
        return [s.name for s in sample_images().values() if s.kind == "photograph"]

    def _of(self, name: str) -> list[Example]:
        sample = sample_images()[name]
        image = load_image(FOLDER / sample.file)
        return [Example(name, image, question, kind=name) for question in sample.questions]


@dataclass(frozen=True)
class Scenes(Photographs):
    """The scenes that a miniature's own generator draws, and what is true of them."""

    spec: MiniatureSpec

    def chosen(self, asked: Sequence[SceneQuestion], per_image: int = 1) -> list[Example]:
        """Return the chosen questions; similar ones, where this miniature draws other scenes."""
        if all(self._shows_all_of(one.seed) for one in asked):
            return [self._example(*one) for one in asked]
        seeds = range(-(-len(asked) // per_image))
        return [e for seed in seeds for e in self._about(seed, per_image)][: len(asked)]

    def drawn(self, count: int) -> list[Example]:
        """Return drawn questions, all about different scenes; benchmarks take turns.

        Those that name nothing in their scene are left out.
        """
        names = [name for name in DRAWN_FROM if name in self.spec.benchmarks]
        turns = -(-count // len(names))
        every = []
        for name in names:
            samples = self.spec.samples(name, 3 * turns + 6, seed=DRAW_SEED)
            label = get_benchmark(name).label
            made = [self._example(label, s.seed, s.question, s.answer) for s in samples]
            every.append([example for example in made if example.target][:turns])
        return [example for turn in zip(*every, strict=True) for example in turn][:count]

    def of_image(self, image: str) -> list[Example]:
        """Return the examples of ``scene_N``, drawn from any seed N, or of another image."""
        prefix, _, seed = (image or "scene_0").partition("_")
        if prefix == "scene" and seed.isdecimal():
            return self._about(int(seed), 3)
        return super().of_image(image)

    def ask(self, example: Example, question: str) -> Example:
        """Return the example with another question; its target is known in a scene."""
        if example.scene is None:
            return super().ask(example, question)
        return self._example("", example.scene.seed, question, "")

    def _example(self, kind: str, seed: int, question: str, answer: str) -> Example:
        scene = _scene(self.spec, seed)
        target = named_patches(scene, question)
        return Example(f"scene_{seed}", scene.image, question, answer, target, kind, scene)

    def _about(self, seed: int, count: int) -> list[Example]:
        """Questions of different benchmarks about one scene, each naming something in it."""
        facts, found = Facts(_scene(self.spec, seed)), []
        for name, families in self.spec.families.items():
            rng = np.random.default_rng((seed, 1))
            drafts = [draft for family in families for draft in family(facts, rng) or ()]
            made = [
                self._example(get_benchmark(name).label, seed, d.question, d.answer) for d in drafts
            ]
            found += [example for example in made if example.target][:1]
        first = seed % max(1, len(found))  # so that one question of each scene is not always alike
        return (found[first:] + found[:first])[:count]

    def _shows_all_of(self, seed: int) -> bool:
        """Whether the scene has the objects of mini-llava's, about which questions were chosen."""
        objects = {(str(o), o.glyph) for o in _scene(self.spec, seed).objects}
        return objects >= {(str(o), o.glyph) for o in make_scene(seed).objects}


def examples_of(loaded: LoadedModel) -> Photographs:
    """Return what a model is asked in the figures.

    Raises
    ------
    ValueError
        It takes no image, only videos: the figures show one image.
    """
    if loaded.builder.template.image is None:
        raise ValueError(
            f"{loaded.name} takes the frames of a video and this figure shows one image; choose a "
            "model that takes an image, such as mini-llava or llava-hf/llava-1.5-7b-hf"
        )
    subject = f"`{loaded.name}`{f' ({loaded.marker})' if loaded.marker else ''}"
    spec = MINIATURES.get(loaded.name)
    return Photographs(subject) if spec is None else Scenes(subject, spec)


def choose_examples(
    examples: Photographs,
    asked: Sequence[SceneQuestion],
    image: str = "",
    question: str = "",
    per_image: int = 1,
) -> list[Example]:
    """Return the user's own examples, or those chosen for a figure.

    Parameters
    ----------
    examples : Photographs or Scenes
        Of the model.
    asked : sequence of SceneQuestion
        Chosen for the figure; it has room for so many.
    image : str
        Name of a bundled image, a file, or ``scene_N`` for a model that draws scenes; "" for the
        first image where only a question is given.
    question : str
        Several are separated by ``|``; "" for those that the image comes with.
    per_image : int
        How many questions are asked about one image where the images are not scenes.

    Raises
    ------
    FileNotFoundError, ValueError
        No such image, or no image; more questions than there is room for, or none at all.
    """
    if not image and not question:
        return examples.chosen(asked, per_image)
    found = examples.of_image(image)
    if question:
        found = [examples.ask(found[0], part.strip()) for part in question.split("|")]
        if len(found) > len(asked):
            raise ValueError(
                f"the figure has room for {len(asked)} questions, got {len(found)}: {question!r}"
            )
    found = [example for example in found if example.question][: len(asked)]
    if not found:
        raise ValueError(f"give a question about {image!r}, such as 'What is in the picture?'")
    return found


_scene = lru_cache(maxsize=256)(MiniatureSpec.scene)


def named_patches(scene: Scene, question: str) -> tuple[int, ...]:
    """Return raster indices of the patches of every object that a question names.

    An object is named when its color is among the colors of the question and its kind among the
    kinds; a question without a color (or without a kind) leaves that open. The options of a
    multiple choice, which follow the question mark, name nothing.
    """
    words = question.split("?")[0].split()
    colors = [word for word in words if word in SHAPE_COLORS or word in CARD_COLORS]
    kinds = [word for word in words if word in SHAPES or word == "card"]
    if not colors and not kinds:
        return ()
    objects = [
        o for o in scene.objects
        if (not colors or o.color in colors) and (not kinds or o.kind in kinds)
    ]  # fmt: skip
    return tuple(sorted(int(i) for o in objects for i in scene.patches_of(o)))
