"""Figure 11: more images and questions, survivors stage by stage; the examples of Figure 6 go on.

The computing is that of `figure_6`; here are other questions, of the miniature one or two for each
of the eight benchmarks, and a layout for many of them.
"""

from __future__ import annotations

import pandas as pd

from sparsevlm.analysis.examples import SceneQuestion
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.paper.figures import figure_6
from sparsevlm.paper.figures.figure_6 import SurvivorData

# Two of them go wrong when mini-llava is pruned.
ASKED = (
    SceneQuestion("GQA", 0, "what color is the ring ?", "blue"),
    SceneQuestion("GQA", 4, "what shape is the purple thing ?", "square"),
    SceneQuestion("GQA", 7, "which side is the purple ring on ?", "middle"),
    SceneQuestion("POPE", 7, "is there a orange frame in the image ?", "yes"),
    SceneQuestion("POPE", 8, "is there a yellow ring in the image ?", "no"),
    SceneQuestion("MME", 1, "is the letter on the white card L ?", "yes"),
    SceneQuestion("MM-Vet", 2, "describe the frame .", "orange right top"),
    SceneQuestion("TextVQA", 7, "what letter is on the white card ?", "S"),
    SceneQuestion("TextVQA", 4, "what letter is on the olive card ?", "X"),
    SceneQuestion("SEED", 2, "what shape is the blue thing ? A ring B circle C cross D hourglass",
                  "C"),
    SceneQuestion("ScienceQA", 1,
                  "how many corners has the green thing ? A four B zero C many D three", "D"),
    SceneQuestion("MMBench", 8, "which side is the black card on ? A left B middle C right", "C"),
)  # fmt: skip


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> SurvivorData:
    """Answer the questions dense and pruned; parameters and errors of `figure_6.measure`."""
    return figure_6.measure(profile, tokens, image, question, ASKED, per_image=3)


draw = figure_6.draw


def table(data: SurvivorData) -> pd.DataFrame:
    """One row per question: answers, and what is left of the target where it is known."""
    rows = []
    for one, dense in zip(data.pruned, data.dense, strict=True):
        example = one.example
        row = {"kind": example.kind, **example.place, "question": example.question}
        if example.answer:
            row["truth"] = example.answer
        row |= {"dense": dense, "pruned": one.answer.text}
        if example.target is not None:
            row["target"] = len(example.target)
        for number, stage in enumerate(one.sample.stages):
            left = stage.num_left if example.target is None else one.kept_of_target(number)
            row[f"left after layer {stage.layer}"] = left
        rows.append(row)
    return pd.DataFrame(rows)
