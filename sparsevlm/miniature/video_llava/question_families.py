"""What is true of a clip, and question families, mirrors of the four video benchmarks of the paper.

Every family is one function ``(facts, rng) -> Draft | None``; None means that the clip cannot carry
the question. Training draws from the same functions on other clips. Questions about actions need
the order of the frames, counts need several; others need the patches of one or two of the eight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsevlm.miniature.facts import pick, shuffled
from sparsevlm.miniature.question_families import Draft
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.video_llava.clips import MOVES, ONSETS, Actor
from sparsevlm.miniature.video_llava.vocabulary import ACTIONS

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
