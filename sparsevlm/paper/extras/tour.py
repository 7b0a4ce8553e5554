"""The tour: one picture, one question, and every intermediate result of the algorithm.

`measure` runs the miniature once; the tables and `tour_drawing` need what it returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis import ask
from sparsevlm.analysis.observe import Observation, observe
from sparsevlm.core.schedule import recycled_counts
from sparsevlm.models.sizes import ModelSizes, kv_bytes, prefill_flops
from sparsevlm.paper.figures.figure_2 import PruningStage, take_apart

if TYPE_CHECKING:
    import pandas as pd

SCENE, QUESTION, REFERENCE = 4, "which side is the green hourglass on ?", "left"


@dataclass(frozen=True)
class Found:
    """One question, taken apart.

    Attributes
    ----------
    run : Observation
    stages : list of PruningStage
    dense, reference : str
        The answer of the dense model, and the true one.
    sizes : ModelSizes
    """

    run: Observation
    stages: list[PruningStage]
    dense: str
    reference: str
    sizes: ModelSizes


def measure(
    profile: str = "mini",
    tokens: int = 64,
    scene_seed: int = SCENE,
    question: str = QUESTION,
    reference: str = REFERENCE,
) -> Found:
    """Ask one question, dense and pruned.

    Parameters
    ----------
    profile : str
    tokens : int
        The budget.
    scene_seed, question, reference
        What is asked, and the true answer.
    """
    from sparsevlm.core.sparsevlm import Dense

    run = observe(profile, scene_seed, question, tokens)
    _, _, dense, _ = ask.answered(profile, scene_seed, question, Dense())
    text = ask.miniature(profile)[0].config.text_config.to_dict()
    stages = [take_apart(run, number) for number in range(len(run.seen))]
    return Found(run, stages, dense, reference, ModelSizes.from_text_config(text))


def sequence(found: Found) -> pd.DataFrame:
    """The parts of the prompt as the model gets them."""
    import pandas as pd

    run, visual = found.run, found.run.sample.num_visual
    last = run.before + visual + len(run.words) - 1
    rows = [
        ("before the image", 0, run.before - 1, "always kept"),
        ("visual tokens", run.before, run.before + visual - 1, "24 rows of 24 patches"),
        ("text", run.before + visual, last, " ".join(run.words)),
    ]
    return pd.DataFrame(rows, columns=["part", "first position", "last position", "what"])


def words(found: Found) -> pd.DataFrame:
    """Every word after the image: its relevance, and whether it rates."""
    import pandas as pd

    run = found.run
    frame = pd.DataFrame({"word": run.words, "relevance": run.relevance})
    frame["mean"] = 1 / len(run.words)
    frame["rates"] = [index in run.raters for index in range(len(run.words))]
    return frame.rename_axis("position in the text").round(4)


def best_patches(found: Found, number: int = 0, count: int = 8) -> pd.DataFrame:
    """The visual tokens with the highest scores before a cut, and what P says of them."""
    import pandas as pd

    cut, run = found.stages[number], found.run
    order = np.argsort(-cut.scores, kind="stable")[:count]
    columns = run.sample.grid[1]
    frame = pd.DataFrame({"token": cut.source[order]})
    frame["row, column"] = [
        f"{i // columns}, {i % columns}" if i < run.sample.num_visual else "merged"
        for i in frame["token"]
    ]
    for word, row in zip((run.words[i] for i in run.raters), cut.rating[:, order], strict=True):
        frame[f"P, {word}"] = row
    frame["score"] = cut.scores[order]
    frame["shows"] = [_shown(run, i) for i in frame["token"]]
    frame.index = pd.RangeIndex(1, len(order) + 1, name="rank by score")
    return frame


def _shown(run: Observation, token: int) -> str:
    if token >= run.sample.num_visual:
        return "several"
    index = run.scene.patch_objects.reshape(-1)[token]
    return str(run.scene.objects[index]) if index >= 0 else "background"


def levels(found: Found) -> pd.DataFrame:
    """Every cut in numbers: rank, kept, recycled, groups, dropped, and the lambda behind it."""
    import pandas as pd

    rows = []
    for stage, traced in zip(found.stages, found.run.sample.stages, strict=True):
        kept, recycled, dropped = (int((stage.fate == code).sum()) for code in range(3))
        rows.append(
            {
                "after layer": stage.layer, "tokens before": len(stage.fate),
                "rank of P": stage.rank, "kept": kept, "recycled": recycled,
                "into groups": recycled_counts(recycled + dropped)[1], "dropped": dropped,
                "tokens after": traced.num_left, "lambda": round(stage.lam, 3),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def peaks(found: Found, number: int = 0) -> pd.DataFrame:
    """Density peaks of the recycled tokens of one cut, computed again from their hidden states.

    Parameters
    ----------
    found : Found
    number : int
        Which cut.

    Returns
    -------
    DataFrame
        One row per recycled token, best score first: its density, the distance to the nearest
        denser token, whether it is a centre, and its group.
    """
    import pandas as pd
    import torch

    from sparsevlm.core import recycling

    cut = found.stages[number]
    kept, count = int((cut.fate == 0).sum()), int((cut.fate == 1).sum())
    _, members = recycling.select_top(torch.from_numpy(cut.scores), kept, count)
    hidden = torch.from_numpy(found.run.seen[number].hidden)[members]
    groups = recycled_counts(int((cut.fate > 0).sum()))[1]
    squared = recycling.squared_distance(hidden)
    density = recycling.knn_density(squared, groups, hidden.shape[1])
    centers = recycling.density_peaks(squared, density, groups)
    labels = recycling.assign(hidden, squared, centers)
    distance = (squared / hidden.shape[1]).sqrt()  # as the official code scales it
    denser = density > density[:, None]
    to_denser = distance.masked_fill(~denser, torch.inf).amin(1)
    to_denser = torch.where(to_denser.isinf(), distance.amax(), to_denser)
    frame = pd.DataFrame({"token": cut.source[members.numpy()], "score": cut.scores[members]})
    frame["density"], frame["to a denser one"] = density.numpy(), to_denser.numpy()
    frame["centre"] = np.isin(np.arange(count), centers.numpy())
    frame["group"] = labels.numpy()
    return frame


def group_table(found: Found, number: int = 0) -> pd.DataFrame:
    """The groups of one cut: size, and how many of the patches show what."""
    frame = peaks(found, number)
    shown = frame["token"].map(lambda token: _shown(found.run, token))
    frame["background"] = shown == "background"
    frame["target"] = frame["token"].isin(found.run.target)
    table = frame.groupby("group").agg(
        tokens=("token", "size"), best_score=("score", "max"), background=("background", "sum"),
        target=("target", "sum"),
    )  # fmt: skip
    return table.rename(columns={"best_score": "best score"})


def positions(found: Found) -> pd.DataFrame:
    """Where every part of the sequence stands after each cut: positions are counted anew."""
    import pandas as pd

    run, rows = found.run, []
    stages = [("input", run.sample.num_visual, 0)]
    stages += [(f"after layer {c.layer}", len(c.kept), len(c.groups))
               for c in run.sample.stages]  # fmt: skip
    for name, kept, merged in stages:
        ends = np.cumsum([run.before, kept, merged, len(run.words)])
        parts = [f"{end - size} to {end - 1}" if size else "none"
                 for end, size in zip(ends, (run.before, kept, merged, len(run.words)),
                                      strict=True)]  # fmt: skip
        rows.append([name, *parts, int(ends[-1])])
    columns = ["stage", "before the image", "kept patches", "merged tokens", "text", "length"]
    return pd.DataFrame(rows, columns=columns)


def accounting(found: Found) -> pd.DataFrame:
    """Visual tokens entering and leaving every layer, and what they cost against the dense model.

    Returns
    -------
    DataFrame
        Per layer, and in the last row the means, with operations and KV cache of the prefill
        relative to the dense model, in percent (analytic, text included).
    """
    import pandas as pd

    run = found.run
    text = run.before + len(run.words)
    frame = pd.DataFrame({"tokens in": run.sample.tokens_in, "tokens out": run.sample.tokens_out})
    full = [run.sample.num_visual + text]
    for name, cost in (("operations, % of dense", prefill_flops), ("KV cache, %", kv_bytes)):
        dense = cost(full, found.sizes)
        frame[name] = [100 * cost([n + text], found.sizes) / dense for n in frame["tokens in"]]
    frame.index = [f"layer {index}" for index in range(len(frame))]
    frame = frame.astype(float)
    frame.loc["mean"] = frame.mean()
    return frame.rename_axis("layer").round(1)


def answers(found: Found) -> pd.DataFrame:
    """Both answers and the true one."""
    import pandas as pd

    rows = [("truth", found.reference), ("dense", found.dense), ("pruned", found.run.answer)]
    return pd.DataFrame(rows, columns=["who", "answer"])
