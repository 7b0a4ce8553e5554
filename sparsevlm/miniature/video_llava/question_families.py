"""Question families about clips, mirrors of the four video benchmarks of the paper.

Every family is one function ``(facts, rng) -> Draft | None``; None means that the clip cannot carry
the question. Training draws from the same functions on other clips. No question needs the order of
the frames (see `acts`), but all but those of colour, shape and place need more than one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..question_families import Draft
from ..scenes import SHAPES
from .acts import ACTS, absent_pair, act_of, acting, others
from .clips import Actor
from .facts import Facts, pick

# What an answer calls an act, and what a question of yes or no asks for.
PHRASES = {"changes": "changes color", "turns": "changes shape"}
BARE = {
    "moves": "move",
    "stays": "stay",
    "flashes": "flash",
    "changes": "change color",
    "turns": "change shape",
}
Family = Callable[[Facts, np.random.Generator], Draft | None]


def phrase(act: str) -> str:
    """An act in the words of an answer ("changes color")."""
    return PHRASES.get(act, act)


def the(name: str) -> str:
    """A name as a question says it: "the ring", "the red thing"."""
    return f"the {name}" if name in SHAPES else f"the {name} thing"


# TGIF: what is done, how often, and what something becomes.


def tgif_action(facts, rng):
    name, act = _doing(facts, rng)
    return name and Draft(f"what does {the(name)} do ?", phrase(act), "action")


def _doing(facts, rng) -> tuple[str | None, str | None]:
    """A name and its act; every act of the clip is as likely, or moving would be most answers."""
    acts = acting(facts)
    act = pick(rng, sorted(set(acts.values())))
    return pick(rng, [name for name in acts if acts[name] == act]), act


def tgif_count(facts, rng):
    name = pick(rng, [n for n, a in facts.named.items() if a.flashes])
    if name is None:
        return None
    answer = str(facts.named[name].flashes)
    return Draft(f"how many times does {the(name)} flash ?", answer, "count")


def tgif_transition(facts, rng):
    return _transition(facts, rng, 0, "what does the {} {} become ?", "transition")


def _transition(facts, rng, at: int, question: str, split: str):
    """Ask for the other state of what changes, from that in its first (0) or last (-1) frame."""
    actor = pick(rng, [a for a in facts.actors if a.action in ("changes", "turns")])
    if actor is None:
        return None
    colour, kind = actor.colours[at], actor.kinds[at]
    return Draft(question.format(colour, kind), others(facts)[colour, kind], split)


# MSVD: what, who and where of a short clip.


def msvd_color(facts, rng):
    kind = pick(rng, facts.color)
    return kind and Draft(f"what color is {the(kind)} ?", facts.color[kind], "what")


def msvd_shape(facts, rng):
    colour = pick(rng, facts.shape)
    return colour and Draft(f"what shape is {the(colour)} ?", facts.shape[colour], "what")


def msvd_who(facts, rng):
    """The kind of the only actor that does something."""
    acts = [act_of(actor) for actor in facts.actors]
    alone = [a for a in facts.actors if acts.count(act_of(a)) == 1 and len(a.kinds) == 1]
    actor = pick(rng, [a for a in alone if act_of(a)])
    return actor and Draft(f"who {phrase(act_of(actor))} ?", actor.kinds[0], "who")


def msvd_side(facts, rng):
    places = facts.places(Actor.side)
    name = pick(rng, places)
    return name and Draft(f"which side is {the(name)} on ?", places[name], "where")


def msvd_height(facts, rng):
    places = facts.places(Actor.height)
    name = pick(rng, places)
    return name and Draft(f"how high is {the(name)} ?", places[name], "where")


# MSR-VTT: the same kinds of question; what something was before.


def msrvtt_before(facts, rng):
    return _transition(facts, rng, -1, "what is the {} {} before ?", "what")


# ActivityNet: yes or no, and two facts at once.


def activitynet_does(facts, rng):
    name, act = _doing(facts, rng)
    if name is None:
        return None
    true = rng.random() < 0.5
    asked = act if true else pick(rng, [w for w in ACTS if w != act])
    return Draft(f"does {the(name)} {BARE[asked]} ?", "yes" if true else "no", "yes/no")


def activitynet_there(facts, rng):
    if rng.random() < 0.5:
        return Draft(f"is there a {' '.join(absent_pair(facts, rng))} ?", "no", "yes/no")
    actor = pick(rng, facts.actors)
    return Draft(f"is there a {pick(rng, actor.colours)} {pick(rng, actor.kinds)} ?", "yes",
                 "yes/no")  # fmt: skip


def activitynet_describe(facts, rng):
    """Two facts: what has a colour, and what it does."""
    colour = pick(rng, [c for c in facts.shape if act_of(facts.by_colour[c])])
    if colour is None:
        return None
    actor = facts.by_colour[colour]
    answer = f"{actor.kinds[0]} {phrase(act_of(actor))}"
    return Draft(f"describe {the(colour)} and what it does ?", answer, "describe")


FAMILIES: dict[str, tuple[Family, ...]] = {
    "tgif": (tgif_action, tgif_count, tgif_transition),
    "msvd": (msvd_color, msvd_who, msvd_side, msvd_shape, msvd_who, msvd_height),
    "msrvtt": (msrvtt_before, msvd_who, msvd_side, msrvtt_before, msvd_who, msvd_height),
    "activitynet": (
        activitynet_does, activitynet_describe, activitynet_there, activitynet_describe,
    ),
}  # fmt: skip
