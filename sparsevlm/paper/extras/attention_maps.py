"""Where the text of the dense model looks, by layer and head.

Compute, then draw: `measure` runs the model, the drawings and tables need what it returned only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.attention import AttentionMaps, look
from sparsevlm.analysis.examples import SceneQuestion, choose_examples, examples_of
from sparsevlm.analysis.statistics import mean_and_interval
from sparsevlm.evaluation.loaded import load_model
from sparsevlm.evaluation.profiles import Profile, as_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sparsevlm.analysis.panels import Canvas

ASKED = (SceneQuestion("GQA", 0, "what color is the ring ?", "blue"),)
NUM_DRAWN = 20
SINK_FACTOR = 4.0  # times the mean of a row
SINK_WORDS = 0.5  # from at least this share of the words
WHO = ("raters", "all words", "last token")
MOST_LAYERS, MOST_HEADS = 8, 8  # there is room for


@dataclass(frozen=True)
class AttentionData:
    """What the figures show.

    Attributes
    ----------
    about : str
        What the reader has to know of the images.
    maps : AttentionMaps
        One question, every layer and head.
    shown : list of int
        The layers whose maps are drawn.
    chosen : list of int
        Positions of the words that are looked at closely: the raters, or those of the user.
    mass : ndarray
        ``[questions, layers, 3]``: share of the attention to the image that lies on what the
        question names, for the rows of `WHO`. Without questions where no targets are
        known.
    image_mass : ndarray
        ``[questions, layers, 3]``: share of all attention that goes to the image.
    best_head : ndarray
        ``[questions, layers]``: `mass` of the raters in the head where it is largest.
    area : ndarray
        ``[questions]``: share of the visual tokens that show what the question names.
    """

    about: str
    maps: AttentionMaps
    shown: list[int]
    chosen: list[int]
    mass: np.ndarray
    image_mass: np.ndarray
    best_head: np.ndarray
    area: np.ndarray


def measure(
    profile: Profile | str,
    layers: Sequence[int] = (),
    words: str = "",
    image: str = "",
    question: str = "",
) -> AttentionData:
    """Look at one question closely, and at the mean over drawn questions.

    Parameters
    ----------
    profile : Profile or str
        Its limit is that of the drawn questions.
    layers : sequence of int
        Whose maps are drawn; for none all, or some spread evenly where there are many.
    words : str
        Words of the text to look at closely; "" for those that rate.
    image, question : str
        Your own example, see `choose_examples`.

    Raises
    ------
    ValueError
        A layer or a word that is not there, more layers than there is room for, or see
        `choose_examples`.
    """
    profile = as_profile(profile)
    loaded = load_model(profile)
    examples = examples_of(loaded)
    (example,) = choose_examples(examples, ASKED, image, question)
    maps = look(loaded, example)
    shown = maps.layers(list(layers))
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"there is room for {MOST_LAYERS} layers, got {len(layers)}: {layers}")
    if len(shown) > MOST_LAYERS:
        shown = np.linspace(0, len(shown) - 1, MOST_LAYERS).round().astype(int).tolist()
    mass, image_mass, best, area = [], [], [], []
    for one in examples.drawn(profile.limit or NUM_DRAWN):
        seen = look(loaded, one)
        rows = rows_of(seen, seen.raters)
        image_mass.append(np.stack([part.mean(1).sum(-1) for part in rows], axis=1))
        if one.target:
            mass.append(np.stack([on_target(part.mean(1), one.target) for part in rows], axis=1))
            best.append(on_target(rows[0], one.target).max(1))
            area.append(len(one.target) / seen.visual.shape[-1])
    return AttentionData(
        examples.about([example]), maps, shown, maps.positions(words) if words else maps.raters,
        np.array(mass), np.array(image_mass), np.array(best), np.array(area),
    )  # fmt: skip


def rows_of(maps: AttentionMaps, words: Sequence[int]) -> list[np.ndarray]:
    """``[layers, heads, visual]``: the mean over these words, over all, and the last token."""
    return [maps.visual[:, :, rows].mean(2) for rows in (words, slice(None), [-1])]


def on_target(maps: np.ndarray, target: Sequence[int]) -> np.ndarray:
    """Share of the attention in ``[..., visual]`` that lies on the target, ``[...]``."""
    return maps[..., list(target)].sum(-1) / maps.sum(-1)


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


def table(data: AttentionData) -> pd.DataFrame:
    """Per layer of the drawn questions: attention on the image, and on the target where known."""
    import pandas as pd

    frame = pd.DataFrame(index=pd.RangeIndex(data.image_mass.shape[1], name="layer"))
    if len(data.mass):
        frame["area of the target"] = 100 * data.area.mean()
    for column, who in enumerate(WHO):
        if len(data.mass):
            mean, low, high = 100 * mean_and_interval(data.mass[..., column])
            frame[f"{who}: on the target"] = mean
            frame[f"{who}: low"], frame[f"{who}: high"] = low, high
        frame[f"{who}: on the image"] = 100 * data.image_mass[..., column].mean(0)
    if len(data.mass):
        frame["raters, best head: on the target"] = 100 * data.best_head.mean(0)
    return frame.round(2)


def sink_table(data: AttentionData) -> pd.DataFrame:
    """Per layer of the example: how many sinks there are and what they hold, in percent."""
    import pandas as pd

    rows = []
    for layer, maps in enumerate(data.maps.visual):
        where, mean = sinks(maps), maps.mean((0, 1))
        row = {
            "layer": layer, "sinks": len(where), "for every word": len(sinks(maps, words=1.0)),
            "of the attention to the image": 100 * mean[where].sum() / mean.sum(),
        }  # fmt: skip
        if data.maps.target is not None:
            row["on the target"] = len(set(where.tolist()) & set(data.maps.target))
        rows.append(row)
    return pd.DataFrame(rows).round(1).set_index("layer")


def draw_heads(data: AttentionData) -> Figure:
    """Columns are layers; rows are heads (mean over the chosen words), then means over heads."""
    from sparsevlm.analysis.panels import ALL_TEXT, LAST_TOKEN, RATERS, Canvas

    left, side = 0.78, (6.75 - 0.78 - 0.03) / max(len(data.shown), 4) - 0.04
    step, top = side + 0.04, 0.55
    chosen, words, last = rows_of(data.maps, data.chosen)
    heads = range(chosen.shape[1])
    if len(heads) > MOST_HEADS:  # those that look at the image most
        heads = sorted(np.argsort(-chosen[data.shown].sum((0, 2)))[:MOST_HEADS].tolist())
    canvas = Canvas(6.75, top + step * (len(heads) + 3) + 0.36)
    _draw_header(canvas, data, left, step, side)
    rows = [(f"head {h}", chosen[:, h], RATERS, 0.0) for h in heads]
    rows += [
        ("mean over\nheads", chosen.mean(1), RATERS, 0.09),
        ("all words,\nmean", words.mean(1), ALL_TEXT, 0.09),
        ("last token,\nmean", last.mean(1), LAST_TOKEN, 0.09),
    ]
    for number, (name, maps, color, gap) in enumerate(rows):
        y = top + number * step + gap
        how = {"size": 6.5, "ha": "right", "va": "center", "color": color}
        canvas.text(left - 0.06, y + side / 2, name, **how)
        for column, layer in enumerate(data.shown):
            axes = canvas.panel(left + column * step, y, side, side)
            _draw_one(axes, data, layer, maps[layer], color, with_sinks=number >= len(heads))
    key = "outline: what is asked for · " if data.maps.target else ""
    key += (
        "circles: sinks · shade: square root of the attention to the image, darkest at the 99.5th "
        "percentile of each map"
    )
    canvas.text(left, top + step * (len(heads) + 3) + 0.12, key, size=5.5, color="#555555")
    return canvas.figure


def _draw_header(canvas: Canvas, data: AttentionData, left: float, step: float,
                 side: float) -> None:  # fmt: skip
    from sparsevlm.analysis.panels import draw_stage
    from sparsevlm.analysis.survivors import draw_words

    maps = data.maps
    draw_stage(canvas.panel(0.03, 0.03, 0.5, 0.5), maps, width=0.7)
    line = canvas.panel(left, 0.06, 4, 0.2)
    line.axis("off")
    asked = list(maps.asked)
    words = [maps.words[i] for i in asked]
    draw_words(line, words, [n for n, i in enumerate(asked) if i in data.chosen], 0, 0.1)
    for column, layer in enumerate(data.shown):
        canvas.text(left + column * step + side / 2, 0.39, f"layer {layer}", size=6.5, ha="center")


def _draw_one(axes: Axes, data: AttentionData, layer: int, values: np.ndarray, color: str,
              with_sinks: bool) -> None:  # fmt: skip
    from sparsevlm.analysis.panels import draw_map

    draw_map(axes, values, data.maps.grid, color, data.maps.target)
    if with_sinks:
        rows, columns = np.divmod(sinks(data.maps.visual[layer]), data.maps.grid[1])
        axes.plot(columns + 0.5, rows + 0.5, "o", ms=4, mfc="none", mec="#333333", mew=0.6)


def draw_layers(data: AttentionData) -> Figure:
    """Attention by layer of the raters, all words, last token: on the target, over its area.

    Where no targets are known: of all attention the share that goes to the image.
    """
    import matplotlib.pyplot as plt

    from sparsevlm.analysis.panels import ALL_TEXT, LAST_TOKEN, RATERS
    from sparsevlm.analysis.style import figure_size, use_style

    use_style()
    figure, axes = plt.subplots(figsize=figure_size(1, 2.3))
    shares = data.mass if len(data.mass) else data.image_mass
    layers = np.arange(shares.shape[1])
    looks = zip(WHO, (RATERS, ALL_TEXT, LAST_TOKEN), ("o", "P", "s"), strict=True)
    for column, (who, color, mark) in enumerate(looks):
        mean, low, high = 100 * mean_and_interval(shares[..., column])
        axes.fill_between(layers, low, high, color=color, alpha=0.15, lw=0)
        axes.plot(layers, mean, color=color, marker=mark, label=who)
    label = "share of all attention\nthat goes to the image, %"
    if len(data.mass):
        axes.plot(layers, 100 * data.best_head.mean(0), color=RATERS, ls=":", lw=1,
                  label="raters, best head")  # fmt: skip
        axes.axhline(100 * data.area.mean(), color="#333333", lw=0.8, ls=(0, (4, 2)),
                     label="area of the target")  # fmt: skip
        label = "attention to the image\nthat lies on the target, %"
    axes.set(xlabel="layer of the dense model", ylim=(0, 100))
    axes.set_xticks(layers[:: 1 + len(layers) // 12])
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure
