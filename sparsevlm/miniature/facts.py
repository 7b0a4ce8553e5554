"""What is true of a scene, in the words that statements and questions need."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES, Scene, SceneObject


@dataclass(frozen=True)
class Facts:
    """Look-ups into one scene."""

    scene: Scene

    @cached_property
    def by_kind(self) -> dict[str, SceneObject]:
        """Shapes that can be named by their kind alone ("the circle")."""
        return self._unique("kind")

    @cached_property
    def by_color(self) -> dict[str, SceneObject]:
        """Shapes that can be named by their color alone ("the red thing")."""
        return self._unique("color")

    @cached_property
    def cards(self) -> dict[str, SceneObject]:
        """Cards by color; card colors never repeat within a scene."""
        return {o.color: o for o in self.scene.cards}

    @cached_property
    def counts(self) -> Counter:
        """How many shapes have a color or are of a kind."""
        return Counter(word for o in self.scene.shapes for word in (o.kind, o.color))

    @cached_property
    def pairs(self) -> set[tuple[str, str]]:
        """(color, kind) of every shape."""
        return {(o.color, o.kind) for o in self.scene.shapes}

    def absent_pair(self, rng: np.random.Generator, adversarial: bool) -> tuple[str, str]:
        """A (color, kind) that is not in the scene; adversarial: both halves of it are."""
        colors, kinds = list(SHAPE_COLORS), list(SHAPES)
        if adversarial:
            colors = [w for w in colors if self.counts[w]] or colors
            kinds = [w for w in kinds if self.counts[w]] or kinds
        for _ in range(50):
            color, kind = str(rng.choice(colors)), str(rng.choice(kinds))
            if (color, kind) not in self.pairs:
                return color, kind
        return self.absent_pair(rng, adversarial=False)

    def _unique(self, field: str) -> dict[str, SceneObject]:
        repeats = Counter(getattr(o, field) for o in self.scene.shapes)
        return {getattr(o, field): o for o in self.scene.shapes if repeats[getattr(o, field)] == 1}


def shuffled(rng: np.random.Generator, items) -> list:
    """The items in random order, as a list of the original objects."""
    items = list(items)
    return [items[i] for i in rng.permutation(len(items))]


def pick(rng: np.random.Generator, items):
    """One of the items at random; None of none."""
    items = list(items)
    return items[int(rng.integers(len(items)))] if items else None
