"""Question families about clips, mirrors of the four video benchmarks of the paper.

Every family is one function ``(facts, rng) -> Draft | None``; None means that the clip cannot carry
the question. Training draws from the same functions on other clips. Questions about actions need
the order of the frames, counts need several; others need the patches of one or two of the eight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsevlm.miniature.facts import pick
from sparsevlm.miniature.question_families import Draft
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.video_llava.clips import MOVES, Actor
from sparsevlm.miniature.video_llava.facts import (
    ClipFacts,
    absent_pair,
    flasher,
    lasting_names,
    shown_pairs,
)
from sparsevlm.miniature.video_llava.vocabulary import ACTIONS

Family = Callable[[ClipFacts, np.random.Generator], Draft | None]


def the(name: str) -> str:
    """A name as a question says it: "the ring", "the red thing"."""
    return f"the {name}" if name in SHAPES else f"the {name} thing"


# TGIF: what is done, and what something becomes.


def tgif_does(facts, rng):
    """What something does, in the words of `does`."""
    name = pick(rng, facts.named)
    return name and Draft(f"what does {the(name)} do ?", does(facts.named[name]), "action")


def does(actor: Actor) -> str:
    """What an actor does, as an answer says it: "moves left", "appears"."""
    return f"moves {actor.action}" if actor.action in MOVES else actor.action


def tgif_count(facts, rng):
    """How often it is white for a frame, one to three times."""
    name = pick(rng, [n for n, a in facts.named.items() if a.flashes])
    if name is None:
        return None
    times = str(facts.named[name].flashes)
    return Draft(f"how many times does {the(name)} flash ?", times, "count")


def tgif_transition(facts, rng):
    """Whether what has a color and a kind at first is seen with another color or kind later."""
    actor = pick(rng, [a for a in facts.actors if a.action in ("changes", "turns")])
    if actor is None:
        return None
    words, all_words = (
        (actor.colors, SHAPE_COLORS) if len(actor.colors) == 2 else (actor.kinds, SHAPES)
    )
    true = rng.random() < 0.5
    asked = words[1] if true else pick(rng, [w for w in all_words if w not in words])
    question = f"does the {actor.colors[0]} {actor.kinds[0]} become {asked} ?"
    return Draft(question, "yes" if true else "no", "transition")


# MSVD: what, who and where of a short clip.


def msvd_color(facts, rng):
    kind = pick(rng, facts.color)
    return kind and Draft(f"what color is {the(kind)} ?", facts.color[kind], "what")


def msvd_shape(facts, rng):
    color = pick(rng, facts.shape)
    return color and Draft(f"what shape is {the(color)} ?", facts.shape[color], "what")


def msvd_who(facts, rng):
    """The one that flashes, by the color it has for a frame."""
    actor = flasher(facts)
    return actor and Draft("who is the white thing ?", actor.kinds[0], "who")


def msvd_side(facts, rng):
    places = facts.places(Actor.side)
    name = pick(rng, places)
    return name and Draft(f"which side is {the(name)} on ?", places[name], "where")


def msvd_height(facts, rng):
    places = facts.places(Actor.height)
    name = pick(rng, places)
    return name and Draft(f"how high is {the(name)} ?", places[name], "where")


# MSR-VTT: the same kinds of question, about what is not there in every frame.


def msrvtt_color(facts, rng):
    kind = pick(rng, [k for k in facts.color if _passing(facts.by_kind[k])])
    return kind and Draft(f"what color is {the(kind)} ?", facts.color[kind], "what")


def msrvtt_shape(facts, rng):
    color = pick(rng, [c for c in facts.shape if _passing(facts.by_color[c])])
    return color and Draft(f"what shape is {the(color)} ?", facts.shape[color], "what")


def _passing(actor: Actor) -> bool:
    return actor.action in ("appears", "disappears", "changes", "turns")


def msrvtt_who(facts, rng):
    """The only one that does something; a thing whose kind turns is named by its color.

    Never what disappears: its last patches, which an action finds, do not show that it will.
    """
    actions = [does(actor) for actor in facts.actors]
    shown = [a for a in facts.actors if a.action != "disappears"]
    actor = pick(rng, [a for a in shown if actions.count(does(a)) == 1])
    return actor and Draft(f"who {does(actor)} ?", lasting_names(actor)[0], "who")


# ActivityNet: yes or no, and two facts at once.


def activitynet_yes_no(facts, rng):
    true = rng.random() < 0.5
    color, kind = pick(rng, sorted(shown_pairs(facts))) if true else absent_pair(facts, rng)
    return Draft(f"is there a {color} {kind} ?", "yes" if true else "no", "yes/no")


def activitynet_does(facts, rng):
    """Whether something does what one of ten actions is; a false one is mostly another's."""
    name = pick(rng, facts.named)
    own = facts.named[name].action
    true = rng.random() < 0.5
    others = [a.action for a in facts.actors] if rng.random() < 0.5 else ACTIONS
    claimed = own if true else pick(rng, [a for a in others if a != own])
    if claimed is None:
        return None
    return Draft(f"does {the(name)} {_VERBS[claimed]} ?", "yes" if true else "no", "does")


_VERBS = {
    **{way: f"move {way}" for way in MOVES},
    "stays": "stay", "appears": "appear", "disappears": "disappear", "changes": "change",
    "turns": "turn", "flashes": "flash",
}  # fmt: skip


def activitynet_describe(facts, rng):
    """Two facts: what has a color, and on which side it is."""
    places = facts.places(Actor.side)
    color = pick(rng, [c for c in facts.shape if c in places])
    if color is None:
        return None
    question = f"what shape is {the(color)} and which side is it on ?"
    return Draft(question, f"{facts.shape[color]} {places[color]}", "describe")


FAMILIES: dict[str, tuple[Family, ...]] = {
    "tgif": (tgif_does, tgif_count, tgif_transition),
    "msvd": (msvd_color, msvd_who, msvd_side, msvd_shape, msvd_who, msvd_height),
    "msrvtt": (msrvtt_color, msrvtt_who, msvd_side, msrvtt_shape, msrvtt_who, msvd_height),
    "activitynet": (activitynet_yes_no, activitynet_does, activitynet_describe),
}
