"""Reading letters and words out of free text; shared by several benchmarks."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
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

# Versions of VLMEvalKit's rules for multiple choice: the current one, and that of April 2025.
READINGS = ("vlmevalkit-e8e78f05", "vlmevalkit-aca64dbb")
CURRENT = READINGS[0]
NO_OPTION = "Z"
FAILURE = "Failed to obtain answer via API"
REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
BLANK = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
LAST_WORDS = 4  # where a lone letter is taken
FEW_WORDS = 3  # with more, the older rules take "A" for the article
TOO_LONG = 2  # times the length of all options together
ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)  # "answer is a dog" says A

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


def infer_option(prediction: str, options: Sequence[str], reading: str = CURRENT) -> str:
    """Return the letter that a free answer picks, "Z" where it picks none, "" where unread.

    First a letter that stands alone, then the text of exactly one option inside the answer.

    Parameters
    ----------
    prediction : str
        The answer as it is.
    options : sequence of str
        In the order A, B, C, ...; one that is None or NaN does not exist.
    reading : str
        One of `READINGS`. The older rules take a letter anywhere but not an "A" among more than
        three words, do not know "the answer is B", and look for options in an answer of any length.

    Raises
    ------
    ValueError
        There is no such reading; there are no options, or more than there are letters.

    Source
    ------
    VLMEvalKit `can_infer` (matching_util.py), the rules before its judge model. Difference: no
    judge, so an unread answer is wrong; the environment's VERBOSE, which brings the older rule
    about "A" back, is not looked at.
    """
    if reading not in READINGS:
        raise ValueError(f"unknown reading {reading!r}; known: {', '.join(READINGS)}")
    if not 1 <= len(options) <= len(string.ascii_uppercase):
        raise ValueError(f"a question has 1 to 26 options, got {len(options)}")
    named = zip(string.ascii_uppercase, options, strict=False)
    texts = {letter: str(text) for letter, text in named if text is not None and text == text}
    return _letter(prediction, texts, reading) or _named(prediction, texts, reading)


def _letter(text: str, options: Mapping[str, str], reading: str) -> str:
    """Return the option that is named by its letter, "Z" for a refusal, "" for neither."""
    if FAILURE in text:
        return ""
    if any(refusal in text for refusal in REFUSALS):
        return NO_OPTION
    words = text.translate(BLANK).split()
    found = [letter for letter in options if letter in words]
    if not found and NO_OPTION in words:
        return NO_OPTION
    if reading != CURRENT:
        article = "A" in words and len(words) > FEW_WORDS
        return found[0] if len(found) == 1 and not article else ""
    if len(found) == 1 and words.index(found[0]) >= len(words) - LAST_WORDS:
        return found[0]
    said = ANSWER_IS.search(text)
    return said[1].upper() if said and said[1].upper() in options else ""


def _named(text: str, options: Mapping[str, str], reading: str) -> str:
    """Return the only option whose text is in the answer, "" for none or several."""
    text = text.lower()
    if reading == CURRENT and len(text) > TOO_LONG * sum(map(len, options.values())):
        return ""
    found = [letter for letter, option in options.items() if option.lower() in text]
    return found[0] if len(found) == 1 else ""
