"""Figure 3: how relevant every word of a prompt is to the image, and which words rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.observe import RecordedExample, record
from sparsevlm.analysis.panels import Canvas, draw_answer, draw_relevance, draw_stage, shortened
from sparsevlm.analysis.style import OUTPUT
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile

# Four kinds of questions; two where the rule finds the words that matter, two where it does not.
ASKED = (
    SceneQuestion("GQA", 4, "which side is the green hourglass on ?", "left"),
    SceneQuestion("POPE", 7, "is there a orange frame in the image ?", "yes"),
    SceneQuestion("TextVQA", 6, "what letter is on the brown card ?", "Z"),
    SceneQuestion("MMBench", 6, "which side is the yellow cross on ? A left B middle C right", "B"),
)

BAR = 0.12  # inches of a relevance of 1


@dataclass(frozen=True)
class RaterComparison:
    """One prompt, pruned with the words above the mean as raters and with every word as one."""

    raters: RecordedExample
    all_text: RecordedExample


@dataclass(frozen=True)
class Figure3Data:
    """The prompts of the figure, and what the reader has to know of the images."""

    about: str
    prompts: list[RaterComparison]


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> Figure3Data:
    """Ask every question twice.

    `image` and `question` are the user's own, see `choose_examples`; there is room for four.
    """
    loaded = load_model(as_profile(profile))
    examples = examples_of(loaded)
    chosen = choose_examples(examples, ASKED, image, question)
    prompts = [
        RaterComparison(record(loaded, e, tokens), record(loaded, e, tokens, raters="all_text"))
        for e in chosen
    ]
    return Figure3Data(examples.about(chosen), prompts)


def draw(data: Figure3Data) -> Figure:
    """Two columns of prompts: words by relevance; image, survivors without and with raters."""
    places, low, across = [], 0.2, OUTPUT.columns
    for row in range(0, len(data.prompts), across):
        rooms = [_room(prompt.raters) for prompt in data.prompts[row : row + across]]
        # Pictures of a row are on one level.
        places += [(0.03 + 3.5 * column, low, max(rooms)) for column in range(len(rooms))]
        low += max(rooms) + 1.42
    canvas = Canvas(OUTPUT.width, low + 0.1)
    key = "bars and shades: relevance of a word to the picture; dashes: mean"
    canvas.text(0.03, 0.04, key, size=6.5, color="#555555")
    for place, prompt in zip(places, data.prompts, strict=True):
        _draw_prompt(canvas, prompt, *place)
    return canvas.figure


def _room(run: RecordedExample) -> float:
    """Height of the words and their bars, in inches."""
    lines = -(-len(" ".join(run.words)) // 56)
    return 0.02 + lines * (0.3 + BAR * float(max(run.relevance)))


def _draw_prompt(canvas: Canvas, prompt: RaterComparison, left: float, top: float,
                 room: float) -> None:  # fmt: skip
    side, seen = 1.02, prompt.raters
    line = canvas.panel(left, top, 3.18, room)
    draw_relevance(line, seen.words, seen.relevance, seen.raters, bar=BAR)
    shown = ((seen, None, shortened(seen.example.kind, 16)),
             (prompt.all_text, -1, "all words rate"), (seen, -1, "raters only"))  # fmt: skip
    for column, (run, stage, title) in enumerate(shown):
        axes = canvas.panel(left + 1.08 * column, top + room + 0.14, side, side)
        draw_stage(axes, run, stage, None if stage is None else (), width=0.9)
        axes.set_title(title, size=6.5, pad=2)
        if stage is not None:
            draw_answer(axes, run, -0.04, room=18, size=6.5)


def table(data: Figure3Data) -> pd.DataFrame:
    """Every word of every prompt: its relevance, the mean, and whether it rates."""
    rows = [
        {
            "kind": run.example.kind, "question": run.example.question, "position": index,
            "word": word, "relevance": float(run.relevance[index]),
            "mean": 1 / len(run.words), "rates": index in run.raters,
        }
        for run in (prompt.raters for prompt in data.prompts)
        for index, word in enumerate(run.words)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def summary(data: Figure3Data) -> pd.DataFrame:
    """Per prompt and choice of raters: the answer, and what is left of the target if known."""
    rows = []
    for prompt in data.prompts:
        for who, run in (("raters only", prompt.raters), ("all words rate", prompt.all_text)):
            row = {"kind": run.example.kind, "who rates": who, "raters": len(run.raters)}
            if run.target is not None:
                row["patches of the target"] = len(run.target)
                row["of these left"] = run.kept_of_target()
            row["answer"] = run.answer.text
            if run.example.answer:
                row["truth"] = run.example.answer
            rows.append(row)
    return pd.DataFrame(rows)


def findings(data: Figure3Data) -> str:
    """Where the rule goes wrong in these prompts, in sentences; "" where the truth is not known."""
    return "\n".join(f"- {sentence}" for sentence in _failures(data))


def _failures(data: Figure3Data) -> Iterator[str]:
    for prompt in data.prompts:
        run, truth = prompt.raters, prompt.raters.example.answer
        if truth and run.answer.text != truth:
            who = ", ".join(f"*{run.words[i]}*" for i in run.raters)
            sentence = (
                f"**{run.example.kind}**: {who} rate, and the answer is {run.answer.text!r}, not "
                f"{truth!r}"
            )
            if run.target:
                sentence += (
                    f"; of {len(run.target)} patches asked for {run.kept_of_target()} are left, "
                    f"and {prompt.all_text.kept_of_target()} where all words rate"
                )
            yield f"{sentence}."
