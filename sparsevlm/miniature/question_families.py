"""Question families of the miniature, each a mirror of one of the paper's eight image benchmarks.

Every family is one function ``(facts, rng) -> list[Draft] | None``; it returns the questions that
are judged together (an MME pair, the rotations of a circular question) or None when the scene
cannot carry the question. Training draws from the same functions on other scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from sparsevlm.miniature.facts import Facts, pick, shuffled
from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.scenes import CORNERS, HEIGHTS, SHAPE_COLORS, SHAPES, SIDES
from sparsevlm.miniature.vocabulary import CORNER_WORDS

# Questions ask for one or two; the trained miniature does not tell three things from two.
LARGEST_COUNT = 2


@dataclass(frozen=True)
class Draft:
    """A question and its answer before it belongs to a benchmark; ``split`` as in `Sample`."""

    question: str
    answer: str
    split: str = ""
    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def _other(rng, word: str, words) -> str:
    return pick(rng, [w for w in words if w != word])


def _clear_shapes(facts: Facts):
    return [o for o in facts.scene.objects if o.placed_clearly]


def other_values(kind: str) -> list[str]:
    """Every value that an attribute can take, for the wrong options of a question."""
    return list({"letter": GLYPHS, "corners": CORNER_WORDS}[kind])


def option_words(rng: np.random.Generator, wanted: list[str], pool: list[str], size=4) -> list[str]:
    """``size`` different options in random order: true values, then others from the pool."""
    chosen = list(dict.fromkeys(shuffled(rng, wanted)))[: max(1, size - 1)]
    rest = [w for w in shuffled(rng, pool) if w not in chosen]
    return shuffled(rng, chosen + rest[: size - len(chosen)])


# GQA: attributes and places, one word.


def gqa_color(facts, rng):
    kind = pick(rng, facts.by_kind)
    return kind and [Draft(f"what color is the {kind} ?", facts.by_kind[kind].color, "color")]


def gqa_shape(facts, rng):
    color = pick(rng, facts.by_color)
    return color and [
        Draft(f"what shape is the {color} thing ?", facts.by_color[color].kind, "shape")
    ]


def gqa_side(facts, rng):
    obj = pick(rng, _clear_shapes(facts))
    return obj and [Draft(f"which side is the {obj} on ?", obj.side, "place")]


def gqa_height(facts, rng):
    obj = pick(rng, _clear_shapes(facts))
    return obj and [Draft(f"how high is the {obj} ?", obj.height, "place")]


# POPE: existence in three difficulties, yes and no equally often.


def _exists(color: str, kind: str, answer: str, split: str) -> Draft:
    return Draft(f"is there a {color} {kind} in the image ?", answer, split)


def pope(facts, rng, split: str):
    """One question; random: any absent pair; popular: a color of the scene with an absent shape;
    adversarial: both the color and the shape are there, but not together."""
    if rng.random() < 0.5:
        color, kind = pick(rng, sorted(facts.pairs))
        return [_exists(color, kind, "yes", split)]
    color, kind = facts.absent_pair(rng, adversarial=split == "adversarial")
    if split == "popular":
        absent = [k for k in SHAPES if not facts.counts[k]]
        color, kind = pick(rng, [c for c in SHAPE_COLORS if facts.counts[c]]), pick(rng, absent)
        if kind is None:
            return None
    return [_exists(color, kind, "no", split)]


# TextVQA: the letter on a card.


def textvqa(facts, rng):
    color = pick(rng, facts.cards)
    if color is None:
        return None
    letter = facts.cards[color].glyph
    form = pick(rng, ("what letter is on the {} card ?", "what is written on the {} card ?"))
    return [Draft(form.format(color), letter, "text", answers=(letter,) * 10)]


# MME: one yes and one no question per image, by subtask.


def mme_existence(facts, rng):
    color, kind = pick(rng, sorted(facts.pairs))
    absent = facts.absent_pair(rng, adversarial=bool(rng.random() < 0.5))
    return [
        _exists(color, kind, "yes", "existence"),
        _exists(*absent, "no", "existence"),
    ]


def mme_color(facts, rng):
    kind = pick(rng, facts.by_kind)
    if kind is None:
        return None
    color = facts.by_kind[kind].color
    wrong = _other(rng, color, SHAPE_COLORS)
    return [
        Draft(f"is the {kind} {color} ?", "yes", "color"),
        Draft(f"is the {kind} {wrong} ?", "no", "color"),
    ]


def mme_count(facts, rng):
    number = int(rng.integers(1, LARGEST_COUNT + 1))
    words = [w for w in (*SHAPE_COLORS, *SHAPES) if facts.counts[w] == number]
    word = pick(rng, words)
    if word is None:
        return None
    thing = f"{word} things" if word in SHAPE_COLORS else f"{word}"
    wrong = _other(rng, number, range(1, LARGEST_COUNT + 1))
    return [
        Draft(f"are there {number} {thing} in the image ?", "yes", "count"),
        Draft(f"are there {wrong} {thing} in the image ?", "no", "count"),
    ]


def mme_position(facts, rng):
    obj = pick(rng, _clear_shapes(facts))
    if obj is None:
        return None
    horizontal = rng.random() < 0.5
    right, words = (obj.side, SIDES) if horizontal else (obj.height, HEIGHTS)
    return [
        Draft(f"is the {obj} on the {right} ?", "yes", "position"),
        Draft(f"is the {obj} on the {_other(rng, right, words)} ?", "no", "position"),
    ]


def mme_ocr(facts, rng):
    color = pick(rng, facts.cards)
    if color is None:
        return None
    letter = facts.cards[color].glyph
    wrong = _other(rng, letter, other_values("letter"))
    return [
        Draft(f"is the letter on the {color} card {letter} ?", "yes", "OCR"),
        Draft(f"is the letter on the {color} card {wrong} ?", "no", "OCR"),
    ]


# Multiple choice: the same question under options; circular for MMBench.


def _choice(stem: str, value: str, options: list[str], split: str) -> Draft:
    text = " ".join(f"{label} {option}" for label, option in zip("ABCD", options, strict=False))
    label = "ABCD"[options.index(value)]
    return Draft(f"{stem} {text}", label, split, options=tuple(options))


def choose_color(facts, rng):
    draft = gqa_color(facts, rng)
    return draft and (draft[0], list(SHAPE_COLORS), "attribute")


def choose_shape(facts, rng):
    draft = gqa_shape(facts, rng)
    return draft and (draft[0], list(SHAPES), "identity")


def _choose_place(facts, rng):
    side = rng.random() < 0.5
    draft = (gqa_side if side else gqa_height)(facts, rng)
    return draft and (draft[0], list(SIDES if side else HEIGHTS), "location")


def choose_letter(facts, rng):
    draft = textvqa(facts, rng)
    return draft and (draft[0], other_values("letter"), "text")


def _choose_count(facts, rng):
    color = pick(rng, [c for c in SHAPE_COLORS if 1 <= facts.counts[c] <= LARGEST_COUNT])
    if color is None:
        return None
    draft = Draft(f"how many {color} things are there ?", str(facts.counts[color]))
    return draft, ["0", "1", "2", "3"], "count"


def _options_of(facts, rng, makers) -> tuple[Draft, list[str], str] | None:
    """A question by one of the makers, its options in random order, and its split."""
    made = makers[int(rng.integers(len(makers)))](facts, rng)
    if not made:
        return None
    draft, pool, split = made
    return draft, option_words(rng, [draft.answer], pool, size=min(4, len(pool))), split


def rotations(facts, rng, makers) -> list[Draft] | None:
    """All rotations of the options of one question, made by one of the makers."""
    made = _options_of(facts, rng, makers)
    if made is None:
        return None
    draft, options, split = made
    turned = [options[i:] + options[:i] for i in range(len(options))]
    return [_choice(draft.question, draft.answer, one, split) for one in turned]


def mmbench(facts, rng):
    """All rotations of the options of one question."""
    return rotations(facts, rng, (choose_color, choose_shape, _choose_place, choose_letter))


def seed(facts, rng):
    makers = (choose_color, choose_shape, _choose_place, choose_letter, _choose_count)
    made = _options_of(facts, rng, makers)
    if made is None:
        return None
    draft, options, split = made
    return [_choice(draft.question, draft.answer, options, split)]


def scienceqa(facts, rng):
    """A fact about shapes: of one in the image, or (one in four) of one that is only named."""
    text_only = rng.random() < 0.25
    color = pick(rng, facts.by_color)
    if color is None:
        return None
    kind = pick(rng, SHAPES) if text_only else facts.by_color[color].kind
    thing = f"a {kind}" if text_only else f"the {color} thing"
    options = option_words(rng, [CORNERS[kind]], other_values("corners"))
    split = "text" if text_only else "image"
    return [_choice(f"how many corners has {thing} ?", CORNERS[kind], options, split)]


# MM-Vet: open answers that need several facts.


def mmvet(facts, rng):
    named = [(f"the {k}", (o.color, o)) for k, o in facts.by_kind.items()]
    named += [(f"the {c} thing", (o.kind, o)) for c, o in facts.by_color.items()]
    named += [(f"the {c} card", (o.glyph, o)) for c, o in facts.cards.items()]
    named = [entry for entry in named if entry[1][1].placed_clearly]
    chosen = pick(rng, named)
    if chosen is None:
        return None
    name, (what, obj) = chosen
    facts_needed = (what, obj.side, obj.height)
    split = "ocr+place" if obj.is_card else "recognition+place"
    return [Draft(f"describe {name} .", " ".join(facts_needed), split, answers=facts_needed)]


Family = Callable[[Facts, np.random.Generator], "list[Draft] | None"]
FAMILIES: dict[str, tuple[Family, ...]] = {
    "gqa": (gqa_color, gqa_shape, gqa_side, gqa_height),
    "mmbench": (mmbench,),
    "mme": (mme_existence, mme_color, mme_count, mme_position, mme_ocr),
    "pope": tuple(partial(pope, split=split) for split in ("random", "popular", "adversarial")),
    "scienceqa": (scienceqa,),
    "seed": (seed,),
    "textvqa": (textvqa,),
    "mmvet": (mmvet,),
}
