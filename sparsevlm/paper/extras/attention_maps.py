"""Where the words look: at every stage of a method, and by layer in the dense model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sparsevlm.analysis.attention import AttentionMaps, look
from sparsevlm.analysis.examples import choose_examples, examples_of
from sparsevlm.analysis.observe import RecordedExample, record
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.paper.figures import figure_3

NUM_DRAWN = 20
SINK_FACTOR = 4.0  # times the mean of a row
SINK_WORDS = 0.5  # from at least this share of the words
WHO = ("raters", "all words", "last token")
MOST_LAYERS = 8  # there is room for
MOST_LOST = 10  # patches that are shown where nobody marked what is asked for


@dataclass(frozen=True)
class StageAttention:
    """Where the words at some positions look at every stage of a method.

    `shown` says which of the stages are drawn; None for all.
    """

    run: RecordedExample
    chosen: list[int]
    shown: list[int] | None = None

    def rating(self, number: int) -> np.ndarray:
        """Attention of the words to the tokens before a stage, mean over heads and words."""
        return self.run.stages[number].rows[:, self.chosen].mean((0, 1))

    def values(self, number: int) -> np.ndarray:
        """The same on the patches they stand for; NaN where there is none."""
        return self.run.on_grid(number, self.rating(number))


@dataclass(frozen=True)
class AttentionData:
    """What the figures show.

    Attributes
    ----------
    about : str
        What the reader has to know of the images.
    stages : StageAttention
        Of the question under the method: of the raters, or of the user's words.
    maps : AttentionMaps
        The same question without pruning, every layer and head.
    mass, image_mass : ndarray
        ``[questions, layers, 3]``, for the rows of `WHO`: share of the attention to the image that
        lies on what the question names (no questions where no targets are known), and share of all
        attention that goes to the image.
    area : ndarray
        ``[questions]``: share of the visual tokens that show what the question names.
    """

    about: str
    stages: StageAttention
    maps: AttentionMaps
    mass: np.ndarray
    image_mass: np.ndarray
    area: np.ndarray


def measure(
    profile: Profile | str,
    method: str = "sparsevlm",
    tokens: int = 64,
    layers: Sequence[int] = (),
    words: str = "",
    image: str = "",
    question: str = "",
) -> AttentionData:
    """Look at one question closely, and at the mean over drawn questions, as many as the limit.

    `image` and `question` are the user's own, see `choose_examples`.

    Parameters
    ----------
    method, tokens : str and int
        What prunes, at which budget; "dense" for nothing.
    layers : sequence of int
        After which layers to look; for none, where the method prunes, or would.
    words : str
        Words of the text to look at closely; "" for those that rate, or would.

    Raises
    ------
    ValueError
        A layer or a word that is not there, more layers than there is room for, or see
        `choose_examples`.
    """
    profile = as_profile(profile)
    loaded = load_model(profile)
    examples = examples_of(loaded)
    (example,) = choose_examples(examples, figure_3.ASKED[:1], image, question)
    maps = look(loaded, example)
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"there is room for {MOST_LAYERS} layers, got {len(layers)}: {layers}")
    budget = None if method == "dense" else tokens
    stages = (
        loaded.sizes.pruner(method, budget).stages
        or loaded.sizes.pruner("sparsevlm", tokens).stages
    )
    looked = maps.layers(list(layers)) if layers else [stage.layer for stage in stages]
    if (last := len(maps.rows) - 1) in looked:
        raise ValueError(
            f"layer {last} is the last one, after which nothing is left to prune: look after "
            f"layers 0 to {last - 1}"
        )
    run = record(loaded, example, budget, method, looked)
    shown = [n for n, stage in enumerate(run.stages) if stage.layer in looked]
    chosen = maps.positions(words) if words else run.raters or maps.raters
    mass, image_mass, area = [], [], []
    for one in examples.drawn(profile.limit or NUM_DRAWN):
        seen = look(loaded, one)
        rows = rows_of(seen, seen.raters)
        image_mass.append(np.stack([part.mean(1).sum(-1) for part in rows], axis=1))
        if one.target:
            mass.append(np.stack([on_target(part.mean(1), one.target) for part in rows], axis=1))
            area.append(len(one.target) / seen.visual.shape[-1])
    return AttentionData(
        examples.about([example]), StageAttention(run, chosen, shown), maps,
        np.array(mass), np.array(image_mass), np.array(area),
    )  # fmt: skip


def rows_of(maps: AttentionMaps, words: Sequence[int]) -> list[np.ndarray]:
    """``[layers, heads, visual]``: the mean over these words, over all, and the last token."""
    return [maps.visual[:, :, rows].mean(2) for rows in (words, slice(None), [-1])]


def on_target(maps: np.ndarray, target: Sequence[int]) -> np.ndarray:
    """Share of the attention in ``[..., visual]`` that lies on the target, ``[...]``."""
    return maps[..., list(target)].sum(-1) / maps.sum(-1)


def sinks(rows: np.ndarray) -> np.ndarray:
    """Visual tokens that many words look at far more than at the mean token, whatever they mean.

    Of the rows of one layer, ``[heads, num_text, visual]``. At least a share of `SINK_WORDS` of the
    words attend to them more than `SINK_FACTOR` times as much as on average, in the mean over
    heads.
    """
    mean = rows.mean(0)
    looked_at = mean > SINK_FACTOR * mean.mean(-1, keepdims=True)
    return np.flatnonzero(looked_at.mean(0) >= SINK_WORDS)


def table(data: AttentionData) -> pd.DataFrame:
    """Per layer, in percent: attention to the target and to the image; sinks of the example."""
    frame = pd.DataFrame(index=pd.RangeIndex(data.image_mass.shape[1], name="layer"))
    for column, who in enumerate(WHO):
        if len(data.mass):
            mean, low, high = 100 * mean_and_interval(data.mass[..., column])
            frame[f"{who}: on the target"] = mean
            frame[f"{who}: low"], frame[f"{who}: high"] = low, high
        frame[f"{who}: on the image"] = 100 * data.image_mass[..., column].mean(0)
    found = [sinks(layer) for layer in data.maps.visual]
    looked_at = [layer.mean((0, 1)) for layer in data.maps.visual]
    frame["sinks"] = [len(where) for where in found]
    frame["on sinks"] = [
        100 * mean[where].sum() / mean.sum() for mean, where in zip(looked_at, found, strict=True)
    ]
    return frame.astype({name: float for name in frame if name != "sinks"}).round(1)


def lost_patches(data: StageAttention, number: int) -> list[int]:
    """Patches of the target that are neither kept nor merged after a stage.

    Where no target is known: the `MOST_LOST` that the chosen words attended to most of those that
    the stage dropped.
    """
    run, stage = data.run, data.run.sample.stages[number]
    alive = {*stage.kept}.union(*stage.groups)
    if run.target is not None:
        return sorted({*run.target} - alive)
    values = data.values(number)
    dropped = [i for i in np.flatnonzero(~np.isnan(values)).tolist() if i not in alive]
    return sorted(dropped, key=lambda i: -values[i])[:MOST_LOST]


def stage_table(data: StageAttention) -> pd.DataFrame:
    """Every stage that was looked at: tokens, and the attention of the chosen words in percent."""
    run, rows, before = data.run, [], {*range(data.run.sample.num_visual)}
    for number, (seen, stage) in enumerate(zip(run.stages, run.sample.stages, strict=True)):
        alive, rating = {*stage.kept}.union(*stage.groups), data.rating(number)
        row = {
            "after layer": seen.layer, "attention in layer": seen.attention_layer,
            "tokens before": len(seen.source), "tokens after": stage.num_left,
            "kept": len(stage.kept), "merged tokens": len(stage.groups),
            "dropped here": len(before - alive), "on the image": 100 * float(rating.sum()),
        }  # fmt: skip
        if run.target is not None:
            on = rating[np.isin(seen.source, run.target)].sum()
            row["on the target"] = 100 * float(on / rating.sum())
            row["kept of the target"] = run.kept_of_target(number)
        rows.append(row)
        before = alive
    return pd.DataFrame(rows).round(1)
