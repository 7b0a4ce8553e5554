"""Where the text of the dense model looks, by layer and head.

Compute, then draw: `measure` runs the miniature, `attention_maps_drawing` and the tables need what
it returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis import ask
from sparsevlm.analysis.observe import Look, look

if TYPE_CHECKING:
    import pandas as pd

SCENE, QUESTION = 0, "what color is the ring ?"
SINK_FACTOR = 4.0  # times the mean of a row
SINK_WORDS = 0.5  # from at least this share of the words
WHO = ("raters", "all words", "last token")


@dataclass(frozen=True)
class Found:
    """What the figures show.

    Attributes
    ----------
    example : Look
        One question, every layer and head.
    grid : (int, int)
    mass : ndarray
        ``[questions, layers, 3]``: share of the attention to the image that lies on what the
        question names, for the rows of `WHO`.
    image_mass : ndarray
        ``[questions, layers, 3]``: share of all attention that goes to the image.
    best_head : ndarray
        ``[questions, layers]``: `mass` of the raters in the head where it is largest.
    area : ndarray
        ``[questions]``: share of the visual tokens that show what the question names.
    """

    example: Look
    grid: tuple[int, int]
    mass: np.ndarray
    image_mass: np.ndarray
    best_head: np.ndarray
    area: np.ndarray


def measure(
    profile: str = "mini",
    scene_seed: int = SCENE,
    question: str = QUESTION,
    num_questions: int = 20,
) -> Found:
    """Look at one question closely, and at questions that nobody chose in the mean.

    Parameters
    ----------
    profile : str
    scene_seed, question
        The example.
    num_questions : int
        How many questions are drawn (`ask.drawn_questions`).
    """
    example = look(profile, scene_seed, question)
    side = round(example.visual.shape[-1] ** 0.5)
    mass, image_mass, best, area = [], [], [], []
    for seed, asked, _ in ask.drawn_questions(num_questions):
        seen = look(profile, seed, asked)
        rows = rows_of(seen)
        mass.append(np.stack([on_target(maps.mean(1), seen.target) for maps in rows], axis=1))
        image_mass.append(np.stack([maps.mean(1).sum(-1) for maps in rows], axis=1))
        best.append(on_target(rows[0], seen.target).max(1))
        area.append(len(seen.target) / seen.visual.shape[-1])
    return Found(
        example, (side, side), np.array(mass), np.array(image_mass), np.array(best),
        np.array(area),
    )  # fmt: skip


def rows_of(seen: Look) -> list[np.ndarray]:
    """``[layers, heads, visual]`` for each of `WHO`: the mean over their rows."""
    return [seen.visual[:, :, rows].mean(2) for rows in (seen.raters, slice(None), [-1])]


def on_target(maps: np.ndarray, target: list[int]) -> np.ndarray:
    """Share of the attention in ``[..., visual]`` that lies on the target, ``[...]``."""
    return maps[..., target].sum(-1) / maps.sum(-1)


def sinks(rows: np.ndarray, factor: float = SINK_FACTOR, words: float = SINK_WORDS) -> np.ndarray:
    """Visual tokens that many words look at far more than at the mean token, whatever they mean.

    Parameters
    ----------
    rows : ndarray
        ``[heads, num_text, visual]`` of one layer.
    factor : float
        How many times the mean of the word's own row, after the mean over heads.
    words : float
        Share of the words that have to; 1 for every one.

    Returns
    -------
    ndarray
        Indices.
    """
    mean = rows.mean(0)
    looked_at = mean > factor * mean.mean(-1, keepdims=True)
    return np.flatnonzero(looked_at.mean(0) >= words)


def table(found: Found) -> pd.DataFrame:
    """Per layer: attention on the target, in percent with its interval, and on the image."""
    import pandas as pd

    layers = found.mass.shape[1]
    frame = pd.DataFrame(index=pd.RangeIndex(layers, name="layer"))
    frame["area of the target"] = 100 * found.area.mean()
    for column, who in enumerate(WHO):
        mean, low, high = 100 * ask.mean_and_interval(found.mass[..., column])
        frame[f"{who}: on the target"] = mean
        frame[f"{who}: low"], frame[f"{who}: high"] = low, high
        frame[f"{who}: on the image"] = 100 * found.image_mass[..., column].mean(0)
    frame["raters, best head: on the target"] = 100 * found.best_head.mean(0)
    return frame.round(2)


def sink_table(found: Found) -> pd.DataFrame:
    """Per layer of the example: how many sinks there are and what they hold, in percent."""
    import pandas as pd

    rows = []
    for layer, maps in enumerate(found.example.visual):
        where = sinks(maps)
        mean = maps.mean((0, 1))
        rows.append(
            {
                "layer": layer, "sinks": len(where), "for every word": len(sinks(maps, words=1.0)),
                "of the attention to the image": 100 * mean[where].sum() / mean.sum(),
                "on the target": len(set(where.tolist()) & set(found.example.target)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).round(1).set_index("layer")
