"""Dense look-up lists about clips: what a word names looks like, where it is and what it does.

A list such as ``does : ring left blue stays cross appears`` holds one supervised look-up for every
other word; a list ``at color : f2 ring red f7 ring blue`` one for every third, each in a frame of
its own, and so makes the order of the tokens mean time (see `training.statements` for why
 lists come before questions).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsevlm.miniature.facts import pick, shuffled
from sparsevlm.miniature.scenes import SHAPE_COLORS, SHAPES
from sparsevlm.miniature.video_llava.clips import Actor
from sparsevlm.miniature.video_llava.question_families import (
    WHITE,
    ClipFacts,
    absent_pair,
    flasher,
    lasting_names,
    shown_pairs,
)
from sparsevlm.miniature.video_llava.vocabulary import ACTIONS, FRAME_WORDS, NUM_FRAMES
from training.statements import LookUps, lookup_list

NAMES = (*SHAPES, *SHAPE_COLORS)


def pairs(rng, head: str, values: dict[str, str], absent: list[str]) -> LookUps:
    """Entries ``word value`` of all words, and of a few that name nothing with "none"."""
    entries = [([w], v) for w, v in values.items()] + [([w], "none") for w in absent]
    return lookup_list([head], shuffled(rng, entries))


def color(facts: ClipFacts, rng) -> LookUps:
    return pairs(rng, "color", facts.color, facts.absent(rng, SHAPES)[:2])


def shape(facts: ClipFacts, rng) -> LookUps:
    return pairs(rng, "shape", facts.shape, facts.absent(rng, SHAPE_COLORS)[:2])


def does(facts: ClipFacts, rng) -> LookUps:
    """``does : ring left blue stays``: the action of every name; "none" if it names nothing."""
    values = {name: actor.action for name, actor in facts.named.items()}
    return pairs(rng, "does", values, facts.absent(rng, NAMES)[:1])


def becomes(facts: ClipFacts, rng) -> LookUps:
    """``becomes : ring blue red square``: the second color or kind; "none" without a second."""
    values = {}
    for actor in facts.actors:
        for name in lasting_names(actor):
            values[name] = after(actor)
    return pairs(rng, "becomes", values, facts.absent(rng, NAMES)[:1])


def after(actor: Actor) -> str:
    """What an actor becomes: a color, a kind, or "none"."""
    new = (*actor.colors[1:], *actor.kinds[1:])
    return new[0] if new else "none"


def times(facts: ClipFacts, rng) -> LookUps:
    values = {name: str(actor.flashes) for name, actor in facts.named.items()}
    return pairs(rng, "times", values, [])


def who(facts: ClipFacts, rng) -> LookUps:
    """``who : left ring appears cross up none``: the lasting name of the one that does it."""
    doing = unique_actions(facts)
    values = {action: lasting_names(actor)[0] for action, actor in doing.items()}
    idle = [a for a in ACTIONS if a not in {actor.action for actor in facts.actors}]
    return pairs(rng, "who", values, shuffled(rng, idle)[:3])


def unique_actions(facts: ClipFacts) -> dict[str, Actor]:
    """Actions that exactly one actor does."""
    actions = [actor.action for actor in facts.actors]
    return {a.action: a for a in facts.actors if actions.count(a.action) == 1}


def first(facts: ClipFacts, rng) -> LookUps:
    """``first : ring red ring blue cross cross``: of two names, the one whose onset is earlier."""
    entries = []
    for earlier, later in facts.order:
        for name in lasting_names(earlier):
            for other in lasting_names(later):
                entries.append((shuffled(rng, [name, other]), name))
    if not entries:
        return does(facts, rng)
    return lookup_list(["first"], (shuffled(rng, entries) * 6)[:6])


def verify(facts: ClipFacts, rng) -> LookUps:
    """``is : ring left yes blue up no``: actions to be confirmed, half of them false."""
    claims = [(name, actor.action, ACTIONS) for name, actor in facts.named.items()]
    claims += [(kind, color, SHAPE_COLORS) for kind, color in facts.color.items()]
    entries = []
    for name, value, others in shuffled(rng, claims):
        true = rng.random() < 0.5
        claimed = value if true else pick(rng, [w for w in others if w != value])
        entries.append(([name, claimed], "yes" if true else "no"))
    return lookup_list(["is"], entries)


def _at(facts: ClipFacts, rng, head: str, names: dict[str, Actor], value: Callable) -> LookUps:
    """``at HEAD : f2 ring VALUE f7 ring VALUE``; "none" where the actor is not to be seen."""
    places = [(n, frame) for n in names for frame in range(NUM_FRAMES)]
    entries = []
    for name, frame in shuffled(rng, places)[:12]:
        actor = names[name]
        word = "none" if actor.states[frame] is None else value(actor, frame)
        if word:
            entries.append(([FRAME_WORDS[frame], name], word))
    return lookup_list(["at", head], entries)


def at_side(facts: ClipFacts, rng) -> LookUps:
    return _at(facts, rng, "side", facts.named, lambda actor, frame: actor.side(frame))


def at_height(facts: ClipFacts, rng) -> LookUps:
    return _at(facts, rng, "height", facts.named, lambda actor, frame: actor.height(frame))


def at_look(facts: ClipFacts, rng) -> LookUps:
    """Colors by kind and kinds by color, frame by frame, the white of a flash included."""
    if rng.random() < 0.5:
        names = {n: a for n, a in facts.named.items() if n in SHAPES}
        return _at(facts, rng, "color", names, lambda actor, frame: actor.states[frame][1])
    names = {n: a for n, a in facts.named.items() if n in SHAPE_COLORS and not a.flashes}
    return _at(facts, rng, "shape", names, lambda actor, frame: actor.states[frame][0])


def side(facts: ClipFacts, rng) -> LookUps:
    return pairs(rng, "side", facts.places(Actor.side), facts.absent(rng, NAMES)[:1])


def height(facts: ClipFacts, rng) -> LookUps:
    return pairs(rng, "height", facts.places(Actor.height), facts.absent(rng, NAMES)[:1])


STATEMENTS: dict[str, Callable[[ClipFacts, np.random.Generator], LookUps]] = {
    "color": color,
    "shape": shape,
    "side": side,
    "height": height,
    "does": does,
    "becomes": becomes,
    "times": times,
    "who": who,
    "first": first,
    "verify": verify,
    "at_side": at_side,
    "at_height": at_height,
    "at_look": at_look,
}


# Lists of what a clip shows in any of its frames, true in any order of them. The lists above that
# need several frames at once, or their order, were not learned in the time there was; the
# questions are therefore made of these.


def shown(facts: ClipFacts, rng) -> LookUps:
    """``there : red ring yes white cross no``"""
    entries = [(list(pair), "yes") for pair in shuffled(rng, sorted(shown_pairs(facts)))[:3]]
    entries += [(list(absent_pair(facts, rng)), "no") for _ in range(3)]
    return lookup_list(["there"], shuffled(rng, entries))


def flashes(facts: ClipFacts, rng) -> LookUps:
    """``flashes : ring yes blue no``"""
    answers = {name: "yes" if actor.flashes else "no" for name, actor in facts.by_kind.items()}
    return pairs(rng, "flashes", answers, facts.absent(rng, SHAPES)[:1])


def shape_or_white(facts: ClipFacts, rng) -> LookUps:
    """``shape : red ring white cross``: with the kind of the only one that flashes."""
    values = dict(facts.shape)
    actor = flasher(facts)
    if actor or not any(a.flashes for a in facts.actors):
        values[WHITE] = actor.kinds[0] if actor else "none"
    return pairs(rng, "shape", values, facts.absent(rng, SHAPE_COLORS)[:1])


SHOW_LISTS: dict[str, Callable[[ClipFacts, np.random.Generator], LookUps]] = {
    "shown": shown,
    "flashes": flashes,
    "shape+white": shape_or_white,
    "color": color,
    "side": side,
    "height": height,
}
