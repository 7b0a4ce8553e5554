"""Question families about clips, mirrors of the four video benchmarks of the paper.

Every family is one function ``(facts, rng) -> Draft | None``; None means that the clip cannot carry
the question. Training draws from the same functions on other clips.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..question_families import Draft
from ..scenes import SHAPES
from .clips import MOVES, Actor
from .facts import Facts, lasting_names, pick, shuffled
from .statements import unique_actions
from .vocabulary import ACTIONS, NUM_FRAMES

# What an answer calls an action, and what a question of yes or no asks for.
PHRASES = {
    **{way: f"moves {way}" for way in MOVES},
    "changes": "changes color",
    "turns": "changes shape",
}
BARE = {
    **{way: f"move {way}" for way in MOVES},
    "stays": "stay",
    "appears": "appear",
    "disappears": "disappear",
    "changes": "change color",
    "turns": "change shape",
    "flashes": "flash",
}
Family = Callable[[Facts, np.random.Generator], Draft | None]


def phrase(action: str) -> str:
    """An action in the words of an answer ("moves left")."""
    return PHRASES.get(action, action)


def the(name: str) -> str:
    """A name as a question says it: "the ring", "the red thing"."""
    return f"the {name}" if name in SHAPES else f"the {name} thing"


# TGIF: what is done, how often, and what something becomes.


def tgif_action(facts, rng):
    name = pick(rng, facts.named)
    return Draft(f"what does {the(name)} do ?", phrase(facts.named[name].action), "action")


def tgif_count(facts, rng):
    name = pick(rng, [n for n, a in facts.named.items() if a.flashes])
    if name is None:
        return None
    answer = str(facts.named[name].flashes)
    return Draft(f"how many times does {the(name)} flash ?", answer, "count")


def tgif_transition(facts, rng):
    actor = pick(rng, [a for a in facts.actors if a.action in ("changes", "turns")])
    if actor is None:
        return None
    if actor.action == "changes":
        question = f"what color does {the(actor.kinds[0])} become ?"
        return Draft(question, actor.colours[1], "transition")
    question = f"what shape does {the(actor.colours[0])} become ?"
    return Draft(question, actor.kinds[1], "transition")


# MSVD: what, who and where of a short clip.


def msvd_color(facts, rng):
    kind = pick(rng, facts.color)
    return kind and Draft(f"what color is {the(kind)} ?", facts.color[kind], "what")


def msvd_shape(facts, rng):
    colour = pick(rng, facts.shape)
    return colour and Draft(f"what shape is {the(colour)} ?", facts.shape[colour], "what")


def msvd_who(facts, rng):
    doing = {w: a for w, a in unique_actions(facts).items() if len(a.kinds) == 1}
    action = pick(rng, doing)
    return action and Draft(f"who {phrase(action)} ?", doing[action].kinds[0], "who")


def msvd_side(facts, rng):
    places = facts.places(Actor.side)
    name = pick(rng, places)
    return name and Draft(f"which side is {the(name)} on ?", places[name], "where")


def msvd_height(facts, rng):
    places = facts.places(Actor.height)
    name = pick(rng, places)
    return name and Draft(f"how high is {the(name)} ?", places[name], "where")


# MSR-VTT: the same kinds of question, bound to a time of the clip.


def msrvtt_before(facts, rng):
    """What something was before it changed, or is after it."""
    actor = pick(rng, [a for a in facts.actors if a.action in ("changes", "turns")])
    if actor is None:
        return None
    late = int(rng.integers(2))
    time = ("start", "end")[late]
    if actor.action == "changes":
        question = f"what color is {the(actor.kinds[0])} at the {time} ?"
        return Draft(question, actor.colours[late], "what")
    question = f"what shape is {the(actor.colours[0])} at the {time} ?"
    return Draft(question, actor.kinds[late], "what")


def msrvtt_who(facts, rng):
    """Which shape gets a new colour, or comes, goes, flashes."""
    actor = pick(rng, [a for a in facts.actors if a.action == "changes"])
    if actor is None or rng.random() < 0.5:
        return msvd_who(facts, rng)
    return Draft(f"who becomes {actor.colours[1]} ?", actor.kinds[0], "who")


def _end_place(facts, rng, ways: tuple[str, str], where, question: str):
    names = [n for n, a in facts.named.items() if a.action in ways]
    name = pick(rng, names)
    late = int(rng.integers(2))
    place = name and where(facts.named[name], late * (NUM_FRAMES - 1))
    if not place:
        return None
    return Draft(question.format(the(name), ("start", "end")[late]), place, "where")


def msrvtt_side(facts, rng):
    question = "which side is {} on at the {} ?"
    return _end_place(facts, rng, ("left", "right"), Actor.side, question)


def msrvtt_height(facts, rng):
    question = "how high is {} at the {} ?"
    return _end_place(facts, rng, ("up", "down"), Actor.height, question)


# ActivityNet: yes or no, order in time, and two facts at once.


def activitynet_yes_no(facts, rng):
    name = pick(rng, facts.named)
    action = facts.named[name].action
    true = rng.random() < 0.5
    asked = action if true else pick(rng, [w for w in ACTIONS if w != action])
    question = f"does {the(name)} {BARE[asked]} ?"
    return Draft(question, "yes" if true else "no", "yes/no")


def activitynet_order(facts, rng):
    """Which of two things does its own first (each comes, goes or changes once)."""
    pair = pick(rng, facts.order)
    if pair is None:
        return None
    earlier, later = (pick(rng, lasting_names(actor)) for actor in pair)
    one, two = shuffled(rng, [earlier, later])
    return Draft(f"what changes first , {the(one)} or {the(two)} ?", earlier, "order")


def activitynet_describe(facts, rng):
    """Two facts: what has a colour, and what it does."""
    colour = pick(rng, facts.shape)
    if colour is None:
        return None
    actor = facts.by_colour[colour]
    answer = f"{actor.kinds[0]} {phrase(actor.action)}"
    return Draft(f"describe {the(colour)} and what it does ?", answer, "describe")


FAMILIES: dict[str, tuple[Family, ...]] = {
    "tgif": (tgif_action, tgif_count, tgif_transition),
    "msvd": (msvd_color, msvd_who, msvd_side, msvd_shape, msvd_who, msvd_height),
    "msrvtt": (msrvtt_before, msrvtt_who, msrvtt_side, msrvtt_before, msrvtt_who, msrvtt_height),
    "activitynet": (activitynet_yes_no, activitynet_order, activitynet_describe),
}
