"""Reading letters and words out of free text; shared by several benchmarks."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import lru_cache

NUMBERS = dict(
    zip(
        "none zero one two three four five six seven eight nine ten".split(),
        "0 0 1 2 3 4 5 6 7 8 9 10".split(),
        strict=True,
    )
)
ARTICLES = frozenset({"a", "an", "the"})
PUNCTUATION = ';/[]"{}()=+\\_-><@`!'
MAX_PERIODS = 32  # the official code passes re.UNICODE (= 32) where `count` belongs

# The official table maps each of these, written with exactly one apostrophe missing, to itself.
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll
you're you've
""".split()


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'"]


CONTRACTIONS = {
    spelling: word for word in _CONTRACTIONS for spelling in _without_one_apostrophe(word)
} | {"somebody'd": "somebodyd"}  # the official table has this one the wrong way round


@lru_cache(maxsize=4096)  # ten humans often give one answer
def normalise(text: str) -> str:
    """Normalise an answer as the VQA evaluation server does, before answers are compared.

    Lower case; numbers up to ten as digits ("none" is 0); no articles, no punctuation; apostrophes
    of contractions restored.

    Source
    ------
    LLaVA `llava/eval/m4c_evaluator.py`, `EvalAIAnswerProcessor`, which TextVQA is scored with.
    Difference: none. Its quirks are kept: an answer that is only an article becomes empty, and a
    punctuation mark becomes a space unless it touches one somewhere in the text. (The official list
    of marks also has "," and "?", which are gone by then.)
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    words = [NUMBERS.get(word, word) for word in _without_punctuation(text).split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _without_punctuation(text: str) -> str:
    out = text
    for mark in PUNCTUATION:
        glued = mark + " " not in text and " " + mark not in text
        out = out.replace(mark, " " if glued else "")
    return re.sub(r"\.(?!\d)", "", out, count=MAX_PERIODS)


def letters(num_options: int) -> str:
    """Return the letters of the options: "ABCD" for four.

    Raises
    ------
    ValueError
        There are no options, or more than there are letters.
    """
    if not 1 <= num_options <= len(string.ascii_uppercase):
        raise ValueError(f"a question has 1 to 26 options, got {num_options}")
    return string.ascii_uppercase[:num_options]


def infer_option(prediction: str, options: Sequence[str]) -> str:
    """Return the letter that a free answer picks, or "" where it picks none or several.

    First a letter that stands alone, then the text of exactly one option inside the answer.

    Source
    ------
    MMBench's rule-based matching (VLMEvalKit `can_infer_option`, `can_infer_text`), the step before
    its language-model judge. Difference: no judge, so an answer that fits no rule is wrong.
    """
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", prediction).split()
    found = [letter for letter in letters(len(options)) if letter in words]
    if len(found) == 1 and not (found == ["A"] and len(words) > 3):  # "A" may be the article
        return found[0]
    text = prediction.lower()
    named = [i for i, option in enumerate(options) if option.lower() in text]
    return string.ascii_uppercase[named[0]] if len(named) == 1 else ""
