"""TextVQA, MMBench and MM-Vet against a second, plain writing of their rules."""

from __future__ import annotations

import random
import string

import pytest
from official_cases import SAID, adversarial, judged, row, score

from sparsevlm.benchmarks.answers import READINGS, infer_option

# TextVQA: the normalisation of the evaluation server, then panels of nine humans.


def official_normal(text):
    numbers = dict(zip("zero one two three four five six seven eight nine ten".split(),
                       map(str, range(11)), strict=True)) | {"none": "0"}  # fmt: skip
    shortened = {"dont": "don't", "cant": "can't", "whats": "what's", "youre": "you're"}
    text = text.lower()
    for mark, instead in ((",", ""), ("?", ""), ("'s", " 's")):
        text = text.replace(mark, instead)
    text = text.strip().replace("\n", " ").replace("\t", " ").strip()
    whole = text
    for mark in [*';/[]"{}()=+\\_-><@`!']:
        free = (mark + " " in whole) or (" " + mark in whole)
        text = text.replace(mark, "" if free else " ")
    text = "".join(
        letter
        for place, letter in enumerate(text)
        if letter != "." or text[place + 1 : place + 2].isdigit()
    )
    words = [numbers.get(word, word) for word in text.split()]
    return " ".join(shortened.get(word, word) for word in words if word not in ("a", "an", "the"))


def official_textvqa(said, humans):
    said, humans = official_normal(said), [official_normal(human) for human in humans]
    credit = 0.0
    for left_out in range(10):
        panel = humans[:left_out] + humans[left_out + 1 :]
        credit += min(1, panel.count(said) / 3)
    return credit / 10


def test_textvqa():
    draw = random.Random(3)
    few = [said for said in SAID if said.strip()]
    for said in SAID:
        for _ in range(8):
            humans = tuple(draw.choices([said or "x", *draw.sample(few, 3)], k=10))
            found = judged("textvqa", said, "x", answers=humans)
            assert found == pytest.approx(official_textvqa(said.strip(), humans)), (said, humans)


# MMBench: circular, with the letter or the text of one option.


def official_option(text, options, older=False):
    """What VLMEvalKit's rules read, "" where they give up."""
    letters = list(string.ascii_uppercase[: len(options)])
    return official_letter(text, letters, older) or official_text(text, options, letters, older)


def official_letter(text, letters, older):
    if "Failed to obtain answer via API" in text:
        return ""
    for refusal in (
        "Sorry, I can't help with images of people yet.",
        "I can't process this file.",
        "I'm sorry, but without the image provided",
        "Cannot determine the answer",
    ):
        if refusal in text:
            return "Z"  # fmt: skip
    words = "".join(" " if mark in ".()[],:;!*#{}" else mark for mark in text).split()
    named = {word for word in words if word in letters}
    if named == set() and "Z" in words:
        return "Z"
    if older and len(words) > 3 and "A" in words:
        return ""
    if len(named) == 1:
        (letter,) = named
        behind = len(words) - 1 - words.index(letter)
        if older or behind < 4:
            return letter
    return "" if older else official_phrase(text, letters)


def official_phrase(text, letters):
    """The letter behind the first "answer is", in any case: blanks, asterisks, then one of A to D.

    Two letters of other alphabets count as an i, and the long s as an s.
    """
    text = text.translate({0x130: "i", 0x131: "i", 0x17F: "s"}).lower()
    for place in range(len(text)):
        if text.startswith("answer", place):
            rest = text[place + len("answer") :]
            if rest.lstrip() == rest or not rest.lstrip().startswith("is"):
                continue
            rest = rest.lstrip()[len("is") :]
            if rest.lstrip() == rest:
                continue
            letter = rest.lstrip().lstrip("*")[:1].upper()
            if letter and letter in "ABCD":
                return letter if letter in letters else ""
    return ""


def official_text(text, options, letters, older):
    if not older and len(text.lower()) > 2 * sum(len(option) for option in options):
        return ""
    inside = [i for i, option in enumerate(options) if option.lower() in text.lower()]
    return letters[inside[0]] if len(inside) == 1 else ""


@pytest.mark.parametrize("older", [False, True])
def test_mmbench_on_adversarial_answers(older):
    for text, options in adversarial(10_000):
        read = infer_option(text, options, READINGS[older])
        assert read == official_option(text, options, older), (text, options)


def test_mmbench():
    draw, rows, expected, first = random.Random(4), [], [], []
    for number in range(200):
        options = tuple(
            draw.sample(["dog", "cat", "apple", "two", "new york"], draw.choice([2, 3, 4]))
        )
        truth, hits = draw.choice(options), []
        for turn in range(len(options)):
            turned = options[turn:] + options[:turn]
            right = "ABCD"[turned.index(truth)]
            said = draw.choice([right, right, right, f"{right}.", truth, draw.choice(SAID)])
            hits.append(official_option(said.strip(), turned) == right)
            rows.append(row(f"{number}.{turn}", said, right, group=str(number), options=turned))
        expected.append(all(hits))
        first.append(hits[0])
    result = score("mmbench", rows)
    assert result["score"] == pytest.approx(100 * sum(expected) / 200)
    assert result["vanilla"] == pytest.approx(100 * sum(first) / 200)
    assert 0 < sum(expected) < sum(first) < 200


# MM-Vet: every ability of a question gets its credit; verdicts of a judge beside the match.


def test_mmvet_by_ability_and_by_judge():
    rows = [
        row(1, "red", "red", split="ocr", answers=("red",)) | {"verdict": {"score": 0.9}},
        row(2, "blue", "-", split="ocr+math", answers=("two<OR>2", "blue"))
        | {"verdict": {"score": 0.4}},
        row(3, "", "no", split="math", answers=("no",)) | {"verdict": {"broken": "no number"}},
        row(4, "sample A is hot", "A", answers=("A",)),
    ]
    result = score("mmvet", rows)
    assert result["score"] == pytest.approx(100 * (1 + 0.5 + 0 + 1) / 4)
    assert result["parts"] == pytest.approx({"ocr": 75.0, "math": 25.0})
    judge = {"score": pytest.approx(100 * 1.3 / 3), "judged": 2, "broken": 1, "missing": 1}
    assert result["judge"] == judge
    with pytest.raises(ValueError, match="a score from 0 to 1"):
        score("mmvet", [rows[0] | {"verdict": {"score": 4}}])
