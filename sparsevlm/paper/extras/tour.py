"""The tour: one image, one question, and every intermediate result of the algorithm.

`measure` runs the model; the tables and `tour_drawing` need what it returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.observe import RecordedExample, ask_example, record
from sparsevlm.core.schedule import recycled_counts
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.models.sizes import ModelSizes, kv_bytes, prefill_flops
from sparsevlm.paper.figures import figure_2

if TYPE_CHECKING:
    import pandas as pd

ASKED = (SceneQuestion("GQA", 4, "which side is the green hourglass on ?", "left"),)


@dataclass(frozen=True)
class TourData:
    """One question, taken apart.

    Attributes
    ----------
    about : str
        What the reader has to know of the image.
    run : RecordedExample
    dense : str
        The answer of the dense model.
    sizes : ModelSizes
    """

    about: str
    run: RecordedExample
    dense: str
    sizes: ModelSizes


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> TourData:
    """Ask one question, dense and pruned.

    Parameters
    ----------
    profile : Profile or str
    tokens : int
        The budget.
    image, question : str
        Your own, see `choose_examples`.
    """
    loaded = load_model(as_profile(profile))
    examples = examples_of(loaded)
    (example,) = choose_examples(examples, ASKED, image, question)
    dense = ask_example(loaded, example, Dense()).answer.text
    return TourData(examples.about([example]), record(loaded, example, tokens), dense, loaded.sizes)


def sequence(data: TourData) -> pd.DataFrame:
    """The parts of the prompt as the model gets them."""
    import pandas as pd

    run, (rows, columns) = data.run, data.run.grid
    first = run.answer.num_before
    end = first + run.sample.num_visual
    parts = [
        ("before the image", 0, first - 1, "always kept"),
        ("visual tokens", first, end - 1, f"{rows} rows of {columns} patches"),
        ("text", end, end + len(run.words) - 1, " ".join(run.words)),
    ]
    return pd.DataFrame(parts, columns=["part", "first position", "last position", "what"])


def words(data: TourData) -> pd.DataFrame:
    """Every word after the image: its relevance, and whether it rates."""
    import pandas as pd

    run = data.run
    frame = pd.DataFrame({"word": run.words, "relevance": run.relevance})
    frame["mean"] = 1 / len(run.words)
    frame["rates"] = [index in run.raters for index in range(len(run.words))]
    return frame.rename_axis("position in the text").round(4)


def best_patches(data: TourData, number: int = 0, count: int = 8) -> pd.DataFrame:
    """The visual tokens with the highest scores before a stage, and what P says of them."""
    import pandas as pd

    stage, run = data.run.breakdowns[number], data.run
    order = np.argsort(-stage.scores, kind="stable")[:count]
    columns = run.grid[1]
    frame = pd.DataFrame({"token": stage.source[order]})
    frame["row, column"] = [
        f"{i // columns}, {i % columns}" if i < run.sample.num_visual else "merged"
        for i in frame["token"]
    ]
    for word, row in zip((run.words[i] for i in run.raters), stage.rating[:, order], strict=True):
        frame[f"P, {word}"] = row
    frame["score"] = stage.scores[order]
    if run.example.scene is not None:
        frame["shows"] = [_shown(run, i) for i in frame["token"]]
    frame.index = pd.RangeIndex(1, len(order) + 1, name="rank by score")
    return frame


def _shown(run: RecordedExample, token: int) -> str:
    if token >= run.sample.num_visual:
        return "several"
    scene = run.example.scene
    index = scene.patch_objects.reshape(-1)[token]
    return str(scene.objects[index]) if index >= 0 else "background"


def levels(data: TourData) -> pd.DataFrame:
    """Every stage in numbers, see `figure_2.summary`, and the groups of the recycled tokens."""
    frame = figure_2.summary(data.run)
    groups = [recycled_counts(gone)[1] for gone in frame["recycled"] + frame["dropped"]]
    frame.insert(frame.columns.get_loc("recycled") + 1, "into groups", groups)
    return frame


def peaks(data: TourData, number: int = 0) -> pd.DataFrame:
    """Density peaks of the recycled tokens of one stage, computed again from their hidden states.

    Parameters
    ----------
    data : TourData
    number : int
        Which stage.

    Returns
    -------
    DataFrame
        One row per recycled token, best score first: its density, the distance to the nearest
        denser token, whether it is a center, and its group.
    """
    import pandas as pd
    import torch

    from sparsevlm.core import recycling

    stage = data.run.breakdowns[number]
    kept, count = int((stage.status == 0).sum()), int((stage.status == 1).sum())
    _, members = recycling.select_top(torch.from_numpy(stage.scores), kept, count)
    hidden = torch.from_numpy(data.run.stages[number].hidden)[members]
    groups = recycled_counts(int((stage.status > 0).sum()))[1]
    squared = recycling.squared_distance(hidden)
    density = recycling.knn_density(squared, groups, hidden.shape[1])
    centers = recycling.density_peaks(squared, density, groups)
    labels = recycling.assign(hidden, squared, centers)
    distance = (squared / hidden.shape[1]).sqrt()  # as the official code scales it
    denser = density > density[:, None]
    to_denser = distance.masked_fill(~denser, torch.inf).amin(1)
    to_denser = torch.where(to_denser.isinf(), distance.amax(), to_denser)
    frame = pd.DataFrame({"token": stage.source[members.numpy()], "score": stage.scores[members]})
    frame["density"], frame["to a denser one"] = density.numpy(), to_denser.numpy()
    frame["centre"] = np.isin(np.arange(count), centers.numpy())
    frame["group"] = labels.numpy()
    return frame


def group_table(data: TourData, number: int = 0) -> pd.DataFrame:
    """The groups of one stage: size, best score, and of a scene how many patches show what."""
    frame, columns = peaks(data, number), {}
    if data.run.example.scene is not None:
        shown = frame["token"].map(lambda token: _shown(data.run, token))
        frame["background"] = shown == "background"
        frame["target"] = frame["token"].isin(data.run.target)
        columns = {"background": ("background", "sum"), "target": ("target", "sum")}
    columns = {"tokens": ("token", "size"), "best score": ("score", "max"), **columns}
    return frame.groupby("group").agg(**columns)


def positions(data: TourData) -> pd.DataFrame:
    """Where every part of the sequence stands after each stage: positions are counted anew."""
    import pandas as pd

    run, rows = data.run, []
    stages = [("input", run.sample.num_visual, 0)]
    stages += [(f"after layer {s.layer}", len(s.kept), len(s.groups)) for s in run.sample.stages]
    for name, kept, merged in stages:
        sizes = (run.answer.num_before, kept, merged, len(run.words))
        ends = np.cumsum(sizes)
        parts = [f"{end - size} to {end - 1}" if size else "none"
                 for end, size in zip(ends, sizes, strict=True)]  # fmt: skip
        rows.append([name, *parts, int(ends[-1])])
    columns = ["stage", "before the image", "kept patches", "merged tokens", "text", "length"]
    return pd.DataFrame(rows, columns=columns)


def accounting(data: TourData) -> pd.DataFrame:
    """Visual tokens entering and leaving every layer, and what they cost against the dense model.

    Returns
    -------
    DataFrame
        Per layer, and in the last row the means, with operations and KV cache of the prefill
        relative to the dense model, in percent (analytic, text included).
    """
    import pandas as pd

    sample, text = data.run.sample, data.run.answer.num_text
    frame = pd.DataFrame({"tokens in": sample.tokens_in, "tokens out": sample.tokens_out})
    full = [sample.num_visual + text]
    for name, cost in (("operations, % of dense", prefill_flops), ("KV cache, %", kv_bytes)):
        dense = cost(full, data.sizes)
        frame[name] = [100 * cost([n + text], data.sizes) / dense for n in frame["tokens in"]]
    frame.index = [f"layer {index}" for index in range(len(frame))]
    frame = frame.astype(float)
    frame.loc["mean"] = frame.mean()
    return frame.rename_axis("layer").round(1)


def answers(data: TourData) -> pd.DataFrame:
    """Both answers, and the true one where it is known."""
    import pandas as pd

    rows = [("dense", data.dense), ("pruned", data.run.answer.text)]
    if data.run.example.answer:
        rows.insert(0, ("truth", data.run.example.answer))
    return pd.DataFrame(rows, columns=["who", "answer"])
