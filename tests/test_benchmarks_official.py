"""Every scorer against a second, plain writing of the official rule, and against published outputs.

The rules are those of LLaVA's evaluation scripts and of MME's `calculation.py`, written anew and in
the way the scripts go (lists, strings, positions), so that both writings can only agree by being
right. Predictions are stripped, as LLaVA's scripts strip them before they are scored.
"""

from __future__ import annotations

import itertools
import random

import pytest
from official_cases import SAID, adversarial, judged, row, score

from sparsevlm.benchmarks import Sample, scienceqa

# GQA: the last points off, lower case, equal or not.


@pytest.mark.parametrize("answer", ["yes", "dog", "a dog", "no"])
def test_gqa(answer):
    for said in SAID:
        text = said.strip()
        while text.endswith("."):
            text = text[:-1]
        assert judged("gqa", said, answer) == (text.lower() == answer), said


# POPE


def official_pope(texts, labels):
    found = {"TP": 0, "FP": 0, "TN": 0, "FN": 0}
    for text, label in zip(texts, labels, strict=True):
        if "." in text:
            text = text[: text.index(".")]
        says_no = any(word in text.replace(",", "").split(" ") for word in ("No", "not", "no"))
        found[("F" if says_no == (label == "yes") else "T") + ("N" if says_no else "P")] += 1
    precision = found["TP"] / (found["TP"] + found["FP"])
    recall = found["TP"] / (found["TP"] + found["FN"])
    return {
        "f1": 100 * 2 * precision * recall / (precision + recall),
        "accuracy": 100 * (found["TP"] + found["TN"]) / len(texts),
        "precision": 100 * precision,
        "recall": 100 * recall,
        "yes_ratio": 100 * (found["TP"] + found["FP"]) / len(texts),
    }


def test_pope():
    draw, rows, expected = random.Random(0), [], {}
    for split in ("random", "popular", "adversarial"):
        texts = [said.strip() for said in draw.choices(SAID, k=300)]
        labels = draw.choices(["yes", "no"], k=300)
        pairs = enumerate(zip(texts, labels, strict=True))
        rows += [row(f"{split}{i}", text, label, split=split) for i, (text, label) in pairs]
        expected[split] = official_pope(texts, labels)
    result = score("pope", rows)
    assert result["parts"] == {split: pytest.approx(expected[split]) for split in expected}
    assert result["score"] == pytest.approx(sum(part["f1"] for part in expected.values()) / 3)


def _confusion(split, tp, fp, tn, fn):
    kinds = (
        [("Yes", "yes")] * tp + [("Yes", "no")] * fp + [("No", "no")] * tn + [("No", "yes")] * fn
    )
    return [row(f"{split}{i}", said, label, split=split) for i, (said, label) in enumerate(kinds)]


def test_pope_on_published_outputs_of_the_official_script():
    """TP, FP, TN, FN and the printed numbers: 42Shawn/LLaVA-PruMerge, issue 15."""
    rows = (
        _confusion("popular", 778, 21, 1479, 722)
        + _confusion("adversarial", 778, 76, 1424, 722)
        + _confusion("random", 778, 23, 1387, 722)
    )
    result = score("pope", rows)
    printed = {
        "popular": (0.6768160069595477, 0.7523333333333333, 0.9737171464330413, 0.2663333333333333),
        "adversarial": (0.6610025488530162, 0.734, 0.9110070257611241, 0.2846666666666667),
        "random": (0.6762277270751847, 0.7439862542955327, 0.9712858926342073, 0.2752577319587629),
    }
    for split, numbers in printed.items():
        part = result["parts"][split]
        found = [part[key] / 100 for key in ("f1", "accuracy", "precision", "yes_ratio")]
        assert found == pytest.approx(numbers, rel=1e-14, abs=0), split
    mean = sum(numbers[0] for numbers in printed.values()) / 3
    assert result["score"] / 100 == pytest.approx(mean, rel=1e-14, abs=0)


def test_pope_random_has_2910_rows_and_the_mean_gives_each_split_the_same_weight():
    """haotian-liu/LLaVA, issue 626: the random split of LLaVA-1.5; its F1 alone is published."""
    rows = _confusion("random", 1183, 31, 1379, 317)
    result = score("pope", rows)
    assert len(rows) == 2910
    assert result["score"] / 100 == pytest.approx(0.8717759764185703, rel=1e-14, abs=0)
    other = _confusion("popular", 1, 0, 1, 0)
    assert score("pope", rows + other)["score"] == pytest.approx((result["score"] + 100) / 2)


# MME


def official_mme(lines):
    """Lines of one subtask, two per image: (truth, prediction)."""
    right, both = 0, 0
    for pair in (lines[i : i + 2] for i in range(0, len(lines), 2)):
        hits = 0
        for truth, said in pair:
            said = said.lower()
            if said not in ("yes", "no"):
                head = said[:4]
                said = "yes" if "yes" in head else "no" if "no" in head else "other"
            hits += said == truth.lower()
        right += hits
        both += hits == 2
    return 100 * right / len(lines) + 100 * both / (len(lines) / 2)


def test_mme():
    draw, rows, expected = random.Random(1), [], {}
    for subtask in ("existence", "OCR", "artwork", "code_reasoning", "text_translation"):
        lines = []
        for image in range(60):
            for turn, truth in enumerate(("Yes", "No")):
                said = draw.choice(SAID).strip()
                lines.append((truth, said))
                name = f"{subtask}/{image}"
                rows.append(row(f"{name}#{turn}", said, truth, group=name, split=subtask))
        expected[subtask] = official_mme(lines)
    result = score("mme", rows)
    assert result["parts"] == pytest.approx(expected)
    cognition = expected["code_reasoning"] + expected["text_translation"]
    assert result["cognition"] == pytest.approx(cognition)
    assert result["perception"] == pytest.approx(sum(expected.values()) - cognition)
    assert result["score"] == pytest.approx(sum(expected.values()))


# ScienceQA


def official_scienceqa(text, num_options):
    """One letter and nothing else; a letter, a point and a blank; one "The answer is X" and more.

    Walks through the text by hand: behind the phrase a capital letter, then any character but a
    line feed. What is read is not read again for the next phrase.
    """
    found, place, phrase = [], 0, "The answer is "
    while (place := text.find(phrase, place)) >= 0:
        letter, behind = text[place + len(phrase) :][:1], text[place + len(phrase) + 1 :][:1]
        if letter and "A" <= letter <= "Z" and behind and behind != "\n":
            found.append(letter)
            place += len(phrase) + 2
        else:
            place += 1
    answer = found[0] if len(found) == 1 else "FAILED"
    for letter in "ABCDE":
        if text == letter or text.startswith(letter + ". "):
            answer = letter
    return answer if answer in ["A", "B", "C", "D", "E"][:num_options] else ""


def test_scienceqa():
    said = [(text, ("x",) * size) for text in SAID for size in (2, 3, 5)]
    for text, options in itertools.chain(said, adversarial(10_000)):
        expected = official_scienceqa(text, len(options))
        read = scienceqa.parse(text, Sample("1", "scene:0", "q", "A", options=options))
        assert read == expected, (text, len(options))


def test_scienceqa_total_and_img():
    rows = [
        row(i, "A" if i % 3 else "B", "A", split="image" if i % 4 else "text", options=("x", "y"))
        for i in range(40)
    ]
    result = score("scienceqa", rows)
    image = [i for i in range(40) if i % 4]
    assert result["score"] == pytest.approx(100 * sum(bool(i % 3) for i in range(40)) / 40)
    assert result["parts"]["image"] == pytest.approx(
        100 * sum(bool(i % 3) for i in image) / len(image)
    )


# SEED-Bench: the text is the letter or it is wrong; total, image, video.


def test_seed():
    abilities = ["Scene Understanding", "Text Understanding", "Action Recognition"]
    draw = random.Random(2)
    asked = [(draw.choice(SAID + ["A", "B"] * 20), draw.choice("AB"), draw.choice(abilities))
             for _ in range(400)]  # fmt: skip
    result = score("seed", [row(i, *said, split=to) for i, (*said, to) in enumerate(asked)])

    def accuracy(wanted):
        hits = [said.strip() == truth for said, truth, ability in asked if ability in wanted]
        return pytest.approx(100 * sum(hits) / len(hits))

    assert result["score"] == accuracy(abilities)
    assert result["image"] == accuracy(abilities[:2])
    assert result["video"] == accuracy(abilities[2:])
    assert result["parts"] == {ability: accuracy([ability]) for ability in abilities}
