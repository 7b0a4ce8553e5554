"""What is true of a scene, in the words that statements and questions need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevlm.miniature.scenes import CARD_COLOURS, SHAPE_COLOURS, SHAPES, Scene, SceneObject


@dataclass(frozen=True)
class Facts:
    """Look-ups into one scene. ``None`` stands for "more than one, so do not ask"."""

    scene: Scene

    @cached_property
    def by_kind(self) -> dict[str, SceneObject]:
        """Shapes that can be named by their kind alone ("the circle")."""
        return self._unique("kind")

    @cached_property
    def by_colour(self) -> dict[str, SceneObject]:
        """Shapes that can be named by their colour alone ("the red thing")."""
        return self._unique("colour")

    @cached_property
    def cards(self) -> dict[str, SceneObject]:
        """Cards by colour; card colours never repeat within a scene."""
        return {o.colour: o for o in self.scene.cards}

    @cached_property
    def counts(self) -> Counter:
        """How many shapes have a colour or are of a kind."""
        return Counter(word for o in self.scene.shapes for word in (o.kind, o.colour))

    @cached_property
    def pairs(self) -> set[tuple[str, str]]:
        """(colour, kind) of every shape."""
        return {(o.colour, o.kind) for o in self.scene.shapes}

    def colour_of(self, kind: str) -> str | None:
        return self._attribute(kind, self.by_kind, "colour")

    def shape_of(self, colour: str) -> str | None:
        return self._attribute(colour, self.by_colour, "kind")

    def letter_of(self, colour: str) -> str:
        card = self.cards.get(colour)
        return card.glyph if card else "none"

    def absent_pair(self, rng: np.random.Generator, adversarial: bool) -> tuple[str, str]:
        """A (colour, kind) that is not in the scene; adversarial: both halves of it are."""
        colours, kinds = list(SHAPE_COLOURS), list(SHAPES)
        if adversarial:
            colours = [w for w in colours if self.counts[w]] or colours
            kinds = [w for w in kinds if self.counts[w]] or kinds
        for _ in range(50):
            colour, kind = str(rng.choice(colours)), str(rng.choice(kinds))
            if (colour, kind) not in self.pairs:
                return colour, kind
        return self.absent_pair(rng, adversarial=False)

    def _unique(self, field: str) -> dict[str, SceneObject]:
        repeats = Counter(getattr(o, field) for o in self.scene.shapes)
        return {getattr(o, field): o for o in self.scene.shapes if repeats[getattr(o, field)] == 1}

    def _attribute(self, word: str, unique: dict, field: str) -> str | None:
        if not self.counts[word]:
            return "none"
        return getattr(unique[word], field) if word in unique else None


def shuffled(rng: np.random.Generator, items) -> list:
    """The items in random order, as a list of the original objects."""
    items = list(items)
    return [items[i] for i in rng.permutation(len(items))]


CARD_WORDS = tuple(CARD_COLOURS)
