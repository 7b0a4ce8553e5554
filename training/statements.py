"""Dense look-up lists: the captions that teach the decoder to look at what a word names.

A list such as ``color : ring purple triangle none frame orange`` holds one supervised look-up
for every other word, and the naming word itself must predict the attribute. Trained on questions
alone, a small decoder moves the question to its last token and looks up from there, so its text
tokens never rate the image; captions prevent that, as LLaVA's captioning stage does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsevlm.miniature.facts import Facts, shuffled
from sparsevlm.miniature.question_families import option_words, other_values
from sparsevlm.miniature.scenes import CARD_COLORS, CORNERS, HEIGHTS, SHAPE_COLORS, SHAPES, SIDES

# The words of a list, and for each word whether it is to be predicted.
LookUps = tuple[list[str], list[bool]]
Entry = tuple[list[str], str]
MAX_WORDS = 21


def lookup_list(head: list[str], entries: list[Entry]) -> LookUps:
    """``HEAD : REFERENCE VALUE ...`` as far as a turn has room; the values are to be predicted."""
    words, wanted = [*head, ":"], [False] * (len(head) + 1)
    for reference, value in entries:
        if len(words) + len(reference) + 1 > MAX_WORDS:
            break
        words += [*reference, value]
        wanted += [False] * len(reference) + [True]
    return words, wanted


def _present_first(rng, words, value_of, absent: int) -> list[tuple[list[str], str]]:
    """Entries for all words that have one value in the scene and a few that are absent."""
    values = {w: value_of(w) for w in words}
    present = [w for w in words if values[w] not in (None, "none")]
    missing = shuffled(rng, [w for w in words if values[w] == "none"])[:absent]
    return [([w], values[w]) for w in shuffled(rng, present + missing)]


def _attribute(facts: Facts, unique: dict, field: str) -> Callable[[str], str | None]:
    """What a word's thing has; "none" of nothing, None of more than one, so that none is asked."""

    def value_of(word: str) -> str | None:
        if not facts.counts[word]:
            return "none"
        return getattr(unique[word], field) if word in unique else None

    return value_of


def color(facts: Facts, rng) -> LookUps:
    return lookup_list(
        ["color"], _present_first(rng, SHAPES, _attribute(facts, facts.by_kind, "color"), 3)
    )


def shape(facts: Facts, rng) -> LookUps:
    return lookup_list(
        ["shape"], _present_first(rng, SHAPE_COLORS, _attribute(facts, facts.by_color, "kind"), 3)
    )


def letter(facts: Facts, rng) -> LookUps:
    letters = {word: facts.cards[word].glyph for word in facts.cards}
    values = _present_first(rng, tuple(CARD_COLORS), lambda word: letters.get(word, "none"), 1)
    return lookup_list(["letter"], values)


def corners(facts: Facts, rng) -> LookUps:
    entries = [([c], CORNERS[o.kind]) for c, o in facts.by_color.items()]
    return lookup_list(["corners"], shuffled(rng, entries))


def count(facts: Facts, rng) -> LookUps:
    words = [w for w in (*SHAPES, *SHAPE_COLORS) if facts.counts[w]]
    absent = [w for w in (*SHAPES, *SHAPE_COLORS) if not facts.counts[w]]
    many = [w for w in words if facts.counts[w] > 1]
    one = shuffled(rng, [w for w in words if facts.counts[w] == 1])[: len(many) // 2 + 2]
    chosen = shuffled(rng, many + one + shuffled(rng, absent)[:2])
    return lookup_list(["count"], [([w], str(facts.counts[w])) for w in chosen])


def there(facts: Facts, rng) -> LookUps:
    present = [(pair, "yes") for pair in shuffled(rng, sorted(facts.pairs))[:3]]
    absent = {facts.absent_pair(rng, adversarial=bool(i % 3)) for i in range(3)}
    entries = present + [(pair, "no") for pair in sorted(absent)]
    return lookup_list(["there"], [(list(pair), value) for pair, value in shuffled(rng, entries)])


def _clear(facts: Facts, rng) -> list:
    return shuffled(rng, [o for o in facts.scene.objects if o.placed_clearly])


def side(facts: Facts, rng) -> LookUps:
    return lookup_list(["side"], [([o.color, o.kind], o.side) for o in _clear(facts, rng)])


def height(facts: Facts, rng) -> LookUps:
    return lookup_list(["height"], [([o.color, o.kind], o.height) for o in _clear(facts, rng)])


def choose(facts: Facts, rng) -> LookUps:
    """``choose A red B blue C pink D green . circle B ring D``: options, then look-ups."""
    kinds = {
        "color": ({k: o.color for k, o in facts.by_kind.items()}, list(SHAPE_COLORS)),
        "shape": ({c: o.kind for c, o in facts.by_color.items()}, list(SHAPES)),
        "letter": ({c: o.glyph for c, o in facts.cards.items()}, None),
        "corners": ({c: CORNERS[o.kind] for c, o in facts.by_color.items()}, None),
    }
    kind = str(rng.choice(list(kinds)))
    values, pool = kinds[kind]
    options = option_words(rng, list(values.values()), pool or other_values(kind))
    asked = [(w, values[w]) for w in shuffled(rng, values) if values[w] in options]
    return _options_then(options, asked)


def _options_then(options: list[str], asked: list[tuple[str, str]]) -> LookUps:
    """The labelled options, then (word, its option) pairs whose labels are to be predicted."""
    words = ["choose"]
    for label, option in zip("ABCD", options, strict=False):
        words += [label, option]
    words += ["."]
    wanted = [False] * len(words)
    for word, option in asked:
        if len(words) + 2 <= MAX_WORDS:
            words += [word, "ABCD"[options.index(option)]]
            wanted += [False, True]
    return words, wanted


def match(facts: Facts, rng) -> LookUps:
    """``choose A red B blue C pink D green . blue B pink C``: find a word among the options.

    No look-up in the image; it trains the matching that multiple choice needs on top of one.
    """
    pool = shuffled(rng, (*SHAPES, *SHAPE_COLORS, *other_values("letter"), *SIDES, *HEIGHTS))
    options = pool[:4]
    return _options_then(options, [(option, option) for option in shuffled(rng, options)])


def verify(facts: Facts, rng) -> LookUps:
    """``is : circle red yes white K no``: attributes to be confirmed, half of them false."""
    claims = [([k], o.color, SHAPE_COLORS) for k, o in facts.by_kind.items()]
    claims += [([c], o.kind, SHAPES) for c, o in facts.by_color.items()]
    claims += [([c], o.glyph, other_values("letter")) for c, o in facts.cards.items()]
    for obj in facts.scene.objects:
        if obj.placed_clearly:
            claims.append(([obj.color, obj.kind], obj.side, SIDES))
            claims.append(([obj.color, obj.kind], obj.height, HEIGHTS))
    claims += _count_claims(facts, rng, 3)
    return _confirmed(rng, claims)


def confirm(facts: Facts, rng) -> LookUps:
    """``is : white K yes ring 2 no``: `verify` for letters and numbers alone.

    Of the claims these are the ones that a trained miniature gets wrong; the stages that polish and
    deepen it have this list in every scene.
    """
    claims = [([c], o.glyph, other_values("letter")) for c, o in facts.cards.items()]
    return _confirmed(rng, claims + _count_claims(facts, rng, 4))


def _count_claims(facts: Facts, rng, most: int) -> list:
    words = shuffled(rng, [w for w in (*SHAPES, *SHAPE_COLORS) if facts.counts[w]])[:most]
    return [([w], str(facts.counts[w]), ("1", "2", "3")) for w in words]


def _confirmed(rng, claims: list) -> LookUps:
    """The claims (words, true value, possible values), half of them made false, with yes or no."""
    entries = []
    for reference, value, others in shuffled(rng, claims):
        true = rng.random() < 0.5
        claimed = value if true else str(rng.choice([w for w in others if w != value]))
        entries.append(([*reference, claimed], "yes" if true else "no"))
    return lookup_list(["is"], entries)


STATEMENTS: dict[str, Callable[[Facts, np.random.Generator], LookUps]] = {
    "color": color,
    "shape": shape,
    "letter": letter,
    "there": there,
    "side": side,
    "height": height,
    "count": count,
    "corners": corners,
    "choose": choose,
    "match": match,
    "verify": verify,
}
