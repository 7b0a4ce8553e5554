"""Figure 2: the method, drawn from one real forward pass.

Compute, then draw: `measure` runs the miniature, `figure_2_drawing` and the tables need what it
returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.observe import Observation, observe

if TYPE_CHECKING:
    import pandas as pd

SCENE, QUESTION = 7, "is there a orange frame in the image ?"


@dataclass(frozen=True)
class PruningStage:
    """One cut taken apart; every array is about the visual tokens before it.

    Attributes
    ----------
    layer : int
    source : ndarray
        ``[n]`` original index, or ``num_visual + j`` of a recycled token.
    rating : ndarray
        The matrix P, ``[raters, n]``.
    rank : int
        Its numerical rank.
    scores : ndarray
        ``[n]``, as the trace has them.
    fate : ndarray
        ``[n]``: 0 kept, 1 recycled, 2 dropped.
    lam : float
        The paper's lambda that would drop as many: dropped / (n - rank).
    """

    layer: int
    source: np.ndarray
    rating: np.ndarray
    rank: int
    scores: np.ndarray
    fate: np.ndarray
    lam: float


@dataclass(frozen=True)
class Found:
    """One observed run, and the cut that is shown.

    Attributes
    ----------
    run : Observation
    number : int
        Which of its stages.
    cut : PruningStage
    """

    run: Observation
    number: int
    cut: PruningStage


def measure(
    profile: str = "mini",
    tokens: int = 64,
    scene_seed: int = SCENE,
    question: str = QUESTION,
    number: int = 1,
) -> Found:
    """Ask the question under SparseVLM and take one cut apart.

    Parameters
    ----------
    profile : str
    tokens : int
        The budget.
    scene_seed, question
        What is asked.
    number : int
        Which cut, from 0.

    Raises
    ------
    ValueError
        There are not so many stages.
    """
    run = observe(profile, scene_seed, question, tokens)
    if not 0 <= number < len(run.seen):
        raise ValueError(f"number must be a cut from 0 to {len(run.seen) - 1}, got {number}")
    return Found(run, number, take_apart(run, number))


def take_apart(run: Observation, number: int) -> PruningStage:
    """P, rank, scores and fates of one cut of a run."""
    import torch

    from sparsevlm.core.sparsity import numerical_rank

    seen, traced = run.seen[number], run.sample.stages[number]
    rating = run.rating(number)
    rank = numerical_rank(torch.from_numpy(rating))
    alive = set(traced.kept) | set(traced.group_ids)
    # Groups of this cut; a recycled token that only stays is a kept one.
    new = [group for identity, group in zip(traced.group_ids, traced.groups, strict=True)
           if identity not in set(seen.source.tolist())]  # fmt: skip
    merged = {index for group in new for index in group}
    fate = [0 if i in alive else 1 if _members(run, number, i) <= merged else 2
            for i in seen.source.tolist()]  # fmt: skip
    dropped = sum(code > 0 for code in fate)
    return PruningStage(
        traced.layer, seen.source, rating, rank, np.array(traced.scores), np.array(fate),
        dropped / (len(fate) - rank),
    )  # fmt: skip


def _members(run: Observation, number: int, identity: int) -> set[int]:
    """Original tokens behind a token that is there before a cut."""
    for stage in run.sample.stages[:number]:
        if identity in stage.group_ids:
            return set(stage.groups[stage.group_ids.index(identity)])
    return {identity}


def on_grid(run: Observation, number: int, values: np.ndarray) -> np.ndarray:
    """Values of the tokens before a cut on the patches they stand for; NaN where none is left."""
    grid = np.full(run.sample.num_visual, np.nan)
    for identity, value in zip(run.seen[number].source.tolist(), values, strict=True):
        grid[list(_members(run, number, identity))] = value
    return grid


def table(found: Found) -> pd.DataFrame:
    """Every visual token before the cut: patch, rating by every rater, score, fate."""
    import pandas as pd

    cut, run = found.cut, found.run
    words = [run.words[i] for i in run.raters]
    frame = pd.DataFrame({"token": cut.source})
    for word, row in zip(words, cut.rating, strict=True):
        frame[f"P, {word}"] = row
    frame["score"] = cut.scores
    frame["fate"] = np.array(["kept", "recycled", "dropped"])[cut.fate]
    return frame


def summary(found: Found) -> pd.DataFrame:
    """All cuts of the run in numbers."""
    import pandas as pd

    rows = []
    for number, traced in enumerate(found.run.sample.stages):
        cut = take_apart(found.run, number)
        rows.append(
            {
                "after layer": cut.layer, "tokens before": len(cut.fate),
                "rank of P": cut.rank, "kept": int((cut.fate == 0).sum()),
                "recycled": int((cut.fate == 1).sum()), "dropped": int((cut.fate == 2).sum()),
                "tokens after": traced.num_left, "lambda": round(cut.lam, 3),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
