"""Look-up lists that are true in any order of the frames, and what the questions are made of.

The lists of `statements` that need the order (which way something moves, what comes first) were not
learned in the time there was; these ask what a clip shows without it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..scenes import SHAPE_COLOURS, SHAPES
from .clips import MOVES, Actor
from .facts import Facts, pick, shuffled
from .statements import Turn, color, height, lookup_list, pairs, shape, side

ACTS = ("moves", "stays", "flashes", "changes", "turns")


def act_of(actor: Actor) -> str | None:
    """One of `ACTS`; None for what appears or disappears, which only the order can tell."""
    action = "moves" if actor.action in MOVES else actor.action
    return action if action in ACTS else None


def acting(facts: Facts) -> dict[str, str]:
    """Lasting name to act, of actors that have one."""
    acts = {name: act_of(actor) for name, actor in facts.named.items()}
    return {name: act for name, act in acts.items() if act}


def others(facts: Facts) -> dict[tuple[str, str], str]:
    """The other colour or kind of what changes: (colour, kind) that it has at a time, to the other.

    Both ways, so that no order is needed.
    """
    found = {}
    for actor in facts.actors:
        for words in (actor.colours, actor.kinds):
            if len(words) == 2:
                for word, other in (words, words[::-1]):
                    first, second = (word, actor.kinds[0]), (actor.colours[0], word)
                    found[first if words is actor.colours else second] = other
    return found


def flasher(facts: Facts) -> Actor | None:
    """The only actor that flashes; None if there are none or several."""
    found = [actor for actor in facts.actors if actor.flashes]
    return found[0] if len(found) == 1 else None


def act(facts: Facts, rng) -> Turn:
    """``act : ring moves blue stays``"""
    return pairs(rng, "does", acting(facts), facts.absent_words(rng)[:1])


def times(facts: Facts, rng) -> Turn:
    """``times : ring 2 blue 0``: every flash, and at most two names without one."""
    counts = {name: actor.flashes for name, actor in facts.named.items()}
    none = shuffled(rng, [name for name in counts if not counts[name]])[:2]
    return pairs(rng, "times", {n: str(c) for n, c in counts.items() if c or n in none}, [])


def other(facts: Facts, rng) -> Turn:
    """``becomes : red ring blue``: the other colour or kind; of what keeps both, none."""
    entries = [(list(pair), word) for pair, word in others(facts).items()]
    keep = [a for a in facts.actors if len(a.kinds) == len(a.colours) == 1]
    entries += [([a.colours[0], a.kinds[0]], "none") for a in keep]
    return lookup_list(["becomes"], shuffled(rng, entries))


def white(facts: Facts, rng) -> Turn:
    """``who : flashes ring stays blue``: the name of the only one that does it."""
    acts = acting(facts)
    alone = {}
    for actor in facts.actors:
        names = [n for n, a in facts.named.items() if a is actor and n in acts]
        mine = act_of(actor)
        if names and sum(act_of(a) == mine for a in facts.actors) == 1:
            alone[mine] = names[0]
    idle = [a for a in ACTS if a not in acts.values()]
    return pairs(rng, "who", alone, idle)


def verify(facts: Facts, rng) -> Turn:
    """``is : ring moves yes blue flashes no``: acts to be confirmed, half of them false."""
    entries = []
    for name, act in shuffled(rng, acting(facts).items()):
        true = rng.random() < 0.5
        claimed = act if true else pick(rng, [w for w in ACTS if w != act])
        entries.append(([name, claimed], "yes" if true else "no"))
    return lookup_list(["is"], entries)


def there(facts: Facts, rng) -> Turn:
    """``there : red ring yes blue ring no``: pairs of a colour and a kind, in any frame."""
    there = {(c, k) for a in facts.actors for c in a.colours for k in a.kinds}
    entries = [(list(pair), "yes") for pair in shuffled(rng, sorted(there))[:3]]
    for _ in range(3):
        pair = absent_pair(facts, rng)
        entries.append((list(pair), "no"))
    return lookup_list(["there"], shuffled(rng, entries))


def absent_pair(facts: Facts, rng: np.random.Generator) -> tuple[str, str]:
    """A (colour, kind) that no frame shows; mostly both halves are there, but not together."""
    there = {(c, k) for a in facts.actors for c in a.colours for k in a.kinds}
    near = rng.random() < 0.7
    colours = list(facts.by_colour) if near else list(SHAPE_COLOURS)
    kinds = list(facts.by_kind) if near else list(SHAPES)
    while True:
        pair = (pick(rng, colours), pick(rng, kinds))
        if pair not in there:
            return pair


# The first ones are in every clip.
ACT_LISTS: dict[str, Callable[[Facts, np.random.Generator], Turn]] = {
    "act": act,
    "times": times,
    "other": other,
    "white": white,
    "is": verify,
    "there": there,
    "color": color,
    "shape": shape,
    "side": side,
    "height": height,
}
ALWAYS = ("act", "times", "other", "white")
