"""What is true of a clip, in the words that statements and questions need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevlm.miniature.facts import pick, shuffled
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.video_llava.clips import ONSETS, Actor

WHITE = "white"
# Two onsets fewer frames apart are not asked about.
CLEAR_ORDER = 2


@dataclass(frozen=True)
class ClipFacts:
    """Look-ups into the actors of one clip by a word that names one of them."""

    actors: tuple[Actor, ...]

    @cached_property
    def by_kind(self) -> dict[str, Actor]:
        """Actors by every kind they are at any time."""
        return {kind: actor for actor in self.actors for kind in actor.kinds}

    @cached_property
    def by_color(self) -> dict[str, Actor]:
        """Actors by every color they have at any time, the white of a flash not counted."""
        return {color: actor for actor in self.actors for color in actor.colors}

    @cached_property
    def color(self) -> dict[str, str]:
        """Kind to color, of actors that keep their color."""
        return {k: a.colors[0] for k, a in self.by_kind.items() if len(a.colors) == 1}

    @cached_property
    def shape(self) -> dict[str, str]:
        """Color to kind, of actors that keep their kind."""
        return {c: a.kinds[0] for c, a in self.by_color.items() if len(a.kinds) == 1}

    @cached_property
    def named(self) -> dict[str, Actor]:
        """Actors by the words that name them from the first frame to the last."""
        return {name: actor for actor in self.actors for name in lasting_names(actor)}

    def places(self, where: Callable[[Actor, int], str | None]) -> dict[str, str]:
        """Name to place, of actors that rest; ``where`` is `Actor.side` or `Actor.height`."""
        last_seen = {n: seen_frames(a)[-1] for n, a in self.named.items() if a.rests}
        found = {n: where(self.named[n], frame) for n, frame in last_seen.items()}
        return {name: place for name, place in found.items() if place}

    @cached_property
    def order(self) -> list[tuple[Actor, Actor]]:
        """Pairs of actors (earlier, later) whose onsets are clearly apart."""
        onsets = [a for a in self.actors if a.action in ONSETS]
        return [(a, b) for a in onsets for b in onsets if b.when - a.when >= CLEAR_ORDER]

    def absent(self, rng: np.random.Generator, words) -> list[str]:
        """The words that name nothing in this clip, in random order."""
        there = {*self.by_kind, *self.by_color}
        return shuffled(rng, [w for w in words if w not in there])


def lasting_names(actor: Actor) -> tuple[str, ...]:
    """Words that name the actor in every frame: its kind unless it turns, its color likewise."""
    return tuple(words[0] for words in (actor.kinds, actor.colors) if len(words) == 1)


def seen_frames(actor: Actor) -> list[int]:
    """Frames in which the actor is to be seen."""
    return [frame for frame, state in enumerate(actor.states) if state is not None]


def shown_pairs(facts: ClipFacts) -> set[tuple[str, str]]:
    """(color, kind) of everything in every frame, the white of flashes included."""
    return {state[1::-1] for actor in facts.actors for state in actor.states if state}


def absent_pair(facts: ClipFacts, rng: np.random.Generator) -> tuple[str, str]:
    """A (color, kind) that no frame shows; mostly both are there, but not together."""
    shown = shown_pairs(facts)
    near = rng.random() < 0.7
    colors = [*facts.by_color, WHITE] if near else list(SHAPE_COLORS)
    kinds = list(facts.by_kind) if near else list(SHAPES)
    while True:
        pair = (pick(rng, colors), pick(rng, kinds))
        if pair not in shown:
            return pair


def flasher(facts: ClipFacts) -> Actor | None:
    """The only actor that flashes; None if there are none or several."""
    found = [actor for actor in facts.actors if actor.flashes]
    return found[0] if len(found) == 1 else None
