"""The drawn clips of the miniature Video-LLaVA, and what is said and asked about them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from sparsevlm.miniature.video_llava.clips import MOVES, ONSETS, RGB, Actor, clip_actors, make_clip
from sparsevlm.miniature.video_llava.question_families import FAMILIES, ClipFacts, seen_frames
from sparsevlm.miniature.video_llava.questions import samples
from sparsevlm.miniature.video_llava.vocabulary import FRAME_WORDS, encode
from sparsevlm.miniature.vocabulary import DEPICTED
from training.statements import MAX_WORDS
from training.video_llava.statements import SHOW_LISTS, STATEMENTS
from training.video_llava.views import backwards
from training.video_llava.vision import depicted_words

# Clips


def test_a_seed_draws_the_same_clip_and_its_actors_without_drawing():
    clip = make_clip(5)
    assert (clip.pixels == make_clip(5).pixels).all() and clip.pixels.shape == (8, 64, 64, 3)
    assert clip.actors == clip_actors(5) != clip_actors(6)


@pytest.mark.parametrize("way", ["forwards", "backwards"])
@pytest.mark.parametrize("seed", range(12))
def test_actors_share_no_word_never_touch_and_do_what_they_say(seed, way):
    actors = clip_actors(seed)
    if way == "backwards":
        actors = backwards(make_clip(seed)).actors
    words = [w for a in actors for w in (*a.kinds, *a.colors)]
    for one, other in combinations(actors, 2):
        for here, there in zip(one.states, other.states, strict=True):
            if here and there:
                assert max(abs(here[2] - there[2]), abs(here[3] - there[3])) >= 12
    assert len(words) == len(set(words)) and 2 <= len(actors) <= 3
    for actor in actors:
        colors = [state and state[1] for state in actor.states]
        first, last = (actor.states[f][:2] for f in (seen_frames(actor)[0], seen_frames(actor)[-1]))
        assert first == (actor.kinds[0], actor.colors[0])
        assert last == (actor.kinds[-1], actor.colors[-1])
        if actor.action in ONSETS:
            before, after = actor.states[actor.when - 1], actor.states[actor.when]
            assert (before and before[:2]) != (after and after[:2])
        assert (actor.states[0] is None) == (actor.action == "appears")
        centres = np.array([actor.center(f) for f in seen_frames(actor)])
        travel = centres[-1] - centres[0]
        seen = len(seen_frames(actor))
        assert colors.count("white") == actor.flashes <= 3
        assert (seen < 8) == (actor.action in ("appears", "disappears"))
        if actor.action in MOVES:
            assert np.sign(travel).tolist() == list(MOVES[actor.action])
            assert abs(travel).max() >= 28
        else:
            assert not travel.any() and (actor.flashes > 0) == (actor.action == "flashes")
        assert (len(actor.kinds), len(actor.colors)) == (
            1 + (actor.action == "turns"),
            1 + (actor.action == "changes"),
        )


@pytest.mark.parametrize("seed", range(3))
def test_patches_of_an_actor_show_its_color(seed):
    clip = make_clip(seed)
    for index, actor in enumerate(clip.actors):
        for frame, state in enumerate(actor.states):
            rows, columns = np.nonzero(clip.owners[frame] == index)
            assert (len(rows) == 0) == (state is None)
            if state:
                box = clip.pixels[frame, state[2] : state[2] + 11, state[3] : state[3] + 11]
                near = np.abs(box.astype(int) - RGB[state[1]]).max(-1) < 50
                assert near.sum() > 20
                assert abs(rows.mean() * 4 + 2 - actor.center(frame)[0]) < 3
                assert abs(columns.mean() * 4 + 2 - actor.center(frame)[1]) < 3


def test_every_patch_depicts_its_place_and_an_actor_or_background():
    clip = make_clip(2)
    target = depicted_words([clip])[0]
    owners = clip.owners.reshape(8, -1)
    background = target[..., DEPICTED.index("background")].numpy()
    assert (background == (owners < 0)).all()
    assert (target.sum(-1).numpy() == np.where(background, 3, 4)).all()
    kind, color, *_ = clip.actors[0].states[0]
    words = {DEPICTED[i] for i in target[0, owners[0] == 0][0].nonzero()[:, 0].tolist()}
    assert {kind, color} < words


# Statements and questions


def read_list(words, wanted):
    """(reference words, value) of every entry of a look-up list."""
    start = words.index(":") + 1
    entries, reference = [], []
    for word, value in zip(words[start:], wanted[start:], strict=True):
        if value:
            entries.append((tuple(reference), word))
            reference = []
        else:
            reference.append(word)
    return entries


@pytest.mark.parametrize("seed", range(8))
def test_lists_tell_the_truth_frame_by_frame(seed):
    facts = ClipFacts(clip_actors(seed))
    rng = np.random.default_rng(seed)
    for (name,), action in read_list(*STATEMENTS["does"](facts, rng)):
        assert action == (facts.named[name].action if name in facts.named else "none")
    for (name,), new in read_list(*STATEMENTS["becomes"](facts, rng)):
        states = facts.named[name].states if name in facts.named else None
        assert new == "none" or (new in states[-1] and new not in states[0])
    for (word, name), look in read_list(*STATEMENTS["at_look"](facts, rng)):
        state = facts.named[name].states[FRAME_WORDS.index(word)]
        assert look in state if state else look == "none"
    for (word, name), side in read_list(*STATEMENTS["at_side"](facts, rng)):
        center = facts.named[name].center(FRAME_WORDS.index(word))
        assert (side == "none") == (center is None)
        assert center is None or side == ("left", "middle", "right")[int(center[1] * 3 // 64)]
    for (name, claim), verdict in read_list(*STATEMENTS["verify"](facts, rng)):
        actor = facts.named.get(name) or facts.by_kind[name]
        assert (verdict == "yes") == (claim in (actor.action, *actor.colors))


@pytest.mark.parametrize("seed", range(8))
def test_lists_of_shows_are_true_in_any_order_of_the_frames(seed):
    actors, rng = clip_actors(seed), np.random.default_rng(seed)
    back = ClipFacts(tuple(replace(a, states=a.states[::-1]) for a in actors))
    states = {s for a in actors for s in a.states if s}
    assert back.places(Actor.side) == ClipFacts(actors).places(Actor.side)
    for (color, kind), verdict in read_list(*SHOW_LISTS["shown"](back, rng)):
        assert (verdict == "yes") == any(s[:2] == (kind, color) for s in states)
    for (kind,), verdict in read_list(*SHOW_LISTS["flashes"](back, rng)):
        if verdict == "none":
            assert not any(s[0] == kind for s in states)
        else:
            assert (verdict == "yes") == any(s[:2] == (kind, "white") for s in states)
    for (color,), kind in read_list(*SHOW_LISTS["shape+white"](back, rng)):
        assert {s[0] for s in states if s[1] == color} == {kind} - {"none"}


def test_no_statement_is_longer_than_a_turn_and_all_words_are_known():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for make in (*STATEMENTS.values(), *SHOW_LISTS.values()):
            words, wanted = make(ClipFacts(clip_actors(seed)), rng)
            assert len(words) == len(wanted) <= MAX_WORDS
            encode(words)


@pytest.mark.parametrize("benchmark", FAMILIES)
def test_samples_repeat_and_are_a_prefix_of_more(benchmark):
    many = samples(benchmark, 30, 0)
    assert samples(benchmark, 12, 0) == many[:12] != samples(benchmark, 12, 1)
    assert len({s.id for s in many}) == len({s.media for s in many}) == 30
    kinds = [s.split for s in many]
    assert max(map(kinds.count, kinds)) <= 0.5 * len(kinds)
    for sample in many:
        encode([*sample.question.split(), *sample.answer.split()])
        assert len(f"{sample.question} ASSISTANT : {sample.answer} x".split()) <= MAX_WORDS


def test_samples_of_nothing_are_refused():
    with pytest.raises(ValueError, match="tgif"):
        samples("gqa", 3, 0)
    with pytest.raises(ValueError, match="at least 1"):
        samples("tgif", 0, 0)


@pytest.mark.parametrize("benchmark", FAMILIES)
def test_answers_are_true_of_the_clip(benchmark):
    for sample in samples(benchmark, 40, 3):
        facts = ClipFacts(clip_actors(sample.seed))
        states = {s[:2] for a in facts.actors for s in a.states if s}
        words = set(sample.question.split()) | {sample.answer.split()[0]}
        yes = sample.answer == "yes"
        named = [a for name, a in facts.named.items() if name in sample.question.split()]
        if sample.split == "action":
            assert [observed(a.states) for a in named] == [sample.answer]
        elif sample.split == "count":
            whites = [sum(s is not None and s[1] == "white" for s in a.states) for a in named]
            assert whites == [int(sample.answer)] and whites[0] > 0
        elif sample.split == "does":
            verb = re.fullmatch(r"does the (?:\w+ thing|\w+) (.+) \?", sample.question)[1]
            assert (re.sub(r"^\w+", third_person, verb) == observed(named[0].states)) == yes
        elif sample.split == "transition":
            color, kind, last = (sample.question.split()[i] for i in (2, 3, 5))
            assert (kind, color) in states and last not in (kind, color)
            assert bool({(last, color), (kind, last)} & states) == yes
        elif sample.split == "yes/no":
            color, kind = sample.question.split()[3:5]
            assert ((kind, color) in states) == yes
        elif sample.split in ("what", "describe"):
            assert any(set(state) <= words for state in states)
        elif "white" in words:
            assert {kind for kind, color in states if color == "white"} == {sample.answer}
        elif sample.split == "who":
            action = sample.question.removeprefix("who ").removesuffix(" ?")
            actors = [a for a in facts.actors if observed(a.states) == action]
            assert actors == [facts.named[sample.answer]] and action != "disappears"


def third_person(verb: re.Match) -> str:
    return verb[0] + ("es" if verb[0] == "flash" else "s")


def observed(states) -> str:
    """What the states of an actor show, told from them alone."""
    first, last = states[0], states[-1]
    if first is None or last is None:
        return "appears" if first is None else "disappears"
    if any(state[1] == "white" for state in states):
        return "flashes"
    if first[:2] != last[:2]:
        return "turns" if first[0] != last[0] else "changes"
    down, right = last[2] - first[2], last[3] - first[3]
    if not down and not right:
        return "stays"
    return f"moves {('up', 'down')[down > 0] if down else ('left', 'right')[right > 0]}"
