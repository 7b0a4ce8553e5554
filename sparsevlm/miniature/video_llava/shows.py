"""Look-up lists of what a clip shows in any of its frames, true in any order of them.

The lists of `statements` that need several frames at once, or their order, were not learned in the
time there was; the questions are therefore made of these.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.statements import LookUps, lookup_list
from sparsevlm.miniature.video_llava.clips import Actor
from sparsevlm.miniature.video_llava.facts import Facts, pick, shuffled
from sparsevlm.miniature.video_llava.statements import color, height, pairs, side

WHITE = "white"


def shown_pairs(facts: Facts) -> set[tuple[str, str]]:
    """(color, kind) of everything in every frame, the white of flashes included."""
    return {state[1::-1] for actor in facts.actors for state in actor.states if state}


def absent_pair(facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A (color, kind) that no frame shows; mostly both are there, but not together."""
    shown = shown_pairs(facts)
    near = rng.random() < 0.7
    colors = [*facts.by_color, WHITE] if near else list(SHAPE_COLORS)
    kinds = list(facts.by_kind) if near else list(SHAPES)
    while True:
        pair = (pick(rng, colors), pick(rng, kinds))
        if pair not in shown:
            return pair


def flasher(facts: Facts) -> Actor | None:
    """The only actor that flashes; None if there are none or several."""
    found = [actor for actor in facts.actors if actor.flashes]
    return found[0] if len(found) == 1 else None


def there(facts: Facts, rng) -> LookUps:
    """``there : red ring yes white cross no``"""
    entries = [(list(pair), "yes") for pair in shuffled(rng, sorted(shown_pairs(facts)))[:3]]
    entries += [(list(absent_pair(facts, rng)), "no") for _ in range(3)]
    return lookup_list(["there"], shuffled(rng, entries))


def flashes(facts: Facts, rng) -> LookUps:
    """``flashes : ring yes blue no``"""
    answers = {name: "yes" if actor.flashes else "no" for name, actor in facts.by_kind.items()}
    return pairs(rng, "flashes", answers, facts.absent(rng, SHAPES)[:1])


def shape(facts: Facts, rng) -> LookUps:
    """``shape : red ring white cross``: with the kind of the only one that flashes."""
    values = dict(facts.shape)
    actor = flasher(facts)
    if actor or not any(a.flashes for a in facts.actors):
        values[WHITE] = actor.kinds[0] if actor else "none"
    return pairs(rng, "shape", values, facts.absent(rng, SHAPE_COLORS)[:1])


SHOW_LISTS: dict[str, Callable[[Facts, np.random.Generator], LookUps]] = {
    "shown": there,
    "flashes": flashes,
    "shape+white": shape,
    "color": color,
    "side": side,
    "height": height,
}
