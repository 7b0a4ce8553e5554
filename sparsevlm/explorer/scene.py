"""Everything that the widget draws, as plain values: one dictionary for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Template

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.explorer.color_map import (
    OUTLINED,
    PALE,
    ColorChoice,
    ColorMap,
    TokenStyle,
    color_map,
    legend,
    snapshot_at,
)
from sparsevlm.explorer.exploration import Exploration, ModelInfo
from sparsevlm.explorer.geometry import Geometry, Montage
from sparsevlm.explorer.token_status import (
    prefill_cost,
    snapshots,
    stage_positions,
    token_histories,
)

ANSWERS = Path(__file__).with_name("templates") / "answers.html.j2"
ONLY_FIRST, ONLY_SECOND = "#D55E00", "#0072B2"
DIFFERENCE = (
    OUTLINED, PALE, TokenStyle(ONLY_FIRST, 0.62, ONLY_FIRST),
    TokenStyle(ONLY_SECOND, 0.62, ONLY_SECOND),
)  # fmt: skip
LENSES = {
    "status": "the picture", "lost": "when a patch lost its place", "score": "score",
    "attention": "attention",
}  # fmt: skip


def scene(
    found: Sequence[Exploration],
    model: ModelInfo,
    geometry: Geometry,
    shown: Montage,
    choice: ColorChoice,
    compare: str = "nothing",
) -> dict:
    """Describe what is to be drawn.

    The first panel is the picture. Where nothing is compared it shows what was chosen by color, and
    the second one what every patch is at the same stage.

    The first exploration is the user's own; with ``compare="question"`` the second has another
    question, with ``"methods"`` the others have other methods.

    Returns
    -------
    dict
        ``image``, ``size``, ``rectangles``; ``positions`` of the layer slider with ``labels``
        and ``stages``; ``panels``; ``legend``; ``marker``.
    """
    own = found[0]
    positions = len(own.trace.tokens_in) + 1
    alone = compare == "nothing"
    # A single head or word of one exploration is none of another.
    choices = [ColorChoice() if alone else choice, *[ColorChoice(choice.mode)] * (len(found) - 1)]
    panels = [_lens(own, geometry, choice if alone else ColorChoice())]
    for index, (one, chosen) in enumerate(zip(found, choices, strict=True)):
        title = f"{index + 1}: {one.title}" if compare == "question" else one.title
        panels.append(_panel(one, model, geometry, chosen, title, is_own=index == 0))
    keys = legend(own, choice)
    if alone and choice.mode != "status":
        keys = [*keys[:-1], *legend(own, ColorChoice())]
    if compare == "question":
        panels.append(_difference_panel(found[0], found[1]))
        keys += list(zip(DIFFERENCE[2:], ("only by 1", "only by 2"), strict=True))
    return {
        "image": shown.data_url(),
        "size": list(shown.image.size),
        "rectangles": [box and list(box) for box in shown.rectangles],
        "positions": positions,
        "labels": [_layer(own, position) for position in range(positions)],
        "stages": sorted({p for one in found for p in stage_positions(one.trace)}),
        "panels": panels,
        "legend": [_key(style, text) for style, text in keys] + _signs(own, choice),
        "marker": model.marker or model.name,
    }


def _base(found: Exploration, title: str, colors: ColorMap, **more: object) -> dict:
    """A panel with all keys; a heat map needs a scale and may need a note at each position."""
    many = len(found.trace.tokens_in) + 1
    return {
        "title": title, "color": "#777777", "words": [], "editable": False, "switchable": False,
        "codes": [list(codes) for codes in colors.codes], "at": list(colors.at),
        "palette": [style.css() for style in colors.styles],
        "scales": [list(scale) for scale in colors.scales or [""] * many],
        "notes": list(colors.notes or [""] * many), "captions": [""] * many, "totals": [],
        "info": [], "keep": [], "drop": [], "groups": [{}], "snapshot": [0] * many,
        "sinks": [[]] * many, "answer": "", **more,
    }  # fmt: skip


def _lens(found: Exploration, geometry: Geometry, choice: ColorChoice) -> dict:
    """The picture, or what was chosen to be seen on it."""
    positions = range(len(found.trace.tokens_in) + 1)
    if choice.mode == "status":  # the image as it is
        bare = (0,) * found.trace.num_visual
        colors = ColorMap((TokenStyle(),), (bare,), (0,) * len(positions))
    else:
        colors = color_map(found, choice)
    layers = [f"in layer {max(position - 1, 0)}" for position in positions]
    title = LENSES[choice.mode]
    if choice.mode == "attention":
        title += " of " + ", ".join(f"“{found.words[word]}”" for word in choice.words(found))
    return _base(
        found, title, colors, editable=True, info=token_histories(found, geometry),
        keep=list(found.query.keep), drop=list(found.query.drop),
        sinks=_sinks(found, choice),
        captions=layers if choice.mode == "attention" else [""] * len(positions),
    )  # fmt: skip


def _panel(
    found: Exploration,
    model: ModelInfo,
    geometry: Geometry,
    choice: ColorChoice,
    title: str,
    is_own: bool,
) -> dict:
    trace, query = found.trace, found.query
    through = snapshots(trace)
    at = list(snapshot_at(found))
    groups = [  # of every recycled token, to light up its companions
        {str(i): one.group for i, one in enumerate(shot.tokens) if one.group is not None}
        for shot in through
    ]
    return _base(
        found, title, color_map(found, choice),
        color=METHOD_STYLE[query.method].color, words=_words(found), editable=is_own,
        switchable=is_own and found.pruner["name"] == "sparsevlm",
        captions=[through[index].caption for index in at],
        totals=[list(line) for line in prefill_cost(found, model)],
        info=token_histories(found, geometry), keep=list(query.keep), drop=list(query.drop),
        groups=groups, snapshot=at,
        sinks=_sinks(found, choice),
        answer=answer_html(found),
    )  # fmt: skip


def _layer(found: Exploration, position: int) -> str:
    """Where the slider is, and what the layer before it made of its tokens."""
    trace, layer = found.trace, position - 1
    if not position:
        return f"input: {trace.tokens_in[0]} tokens"
    counts = f"{trace.tokens_in[layer]} tokens in, {trace.tokens_out[layer]} out"
    return f"after layer {layer}: {counts}"


def _difference_panel(first: Exploration, second: Exploration) -> dict:
    """Who keeps what: both, neither, only the first, only the second."""
    one, two = snapshots(first.trace), snapshots(second.trace)
    pairs = list(zip(snapshot_at(first), snapshot_at(second), strict=True))
    known = sorted(set(pairs))
    code = {(True, True): 0, (False, False): 1, (True, False): 2, (False, True): 3}
    codes = []
    for a, b in known:
        in_one, in_two = set(one[a].kept), set(two[b].kept)
        tokens = range(first.trace.num_visual)
        codes.append(tuple(code[token in in_one, token in in_two] for token in tokens))
    colors = ColorMap(DIFFERENCE, tuple(codes), tuple(known.index(pair) for pair in pairs))
    counts = [[codes[index].count(kind) for kind in (0, 2, 3)] for index in colors.at]
    names = ("kept by both", "kept by neither", "kept by 1 only", "kept by 2 only")
    return _base(
        first, "difference", colors,
        captions=[f"kept by both: {a}, only by 1: {b}, only by 2: {c}" for a, b, c in counts],
        info=[f"patch {i} · at the end {names[c]}" for i, c in enumerate(codes[colors.at[-1]])],
    )  # fmt: skip


def _sinks(found: Exploration, choice: ColorChoice) -> list[list[int]]:
    """For every position of the slider the tokens marked as sinks, where attention is shown."""
    layers = [max(position - 1, 0) for position in range(len(found.trace.tokens_in) + 1)]
    if choice.mode != "attention":
        return [[] for _ in layers]
    sinks = {
        rows.layer: [token for token in tokens if token < found.trace.num_visual]
        for rows, tokens in zip(found.attention.layers, found.attention.sinks, strict=True)
    }
    return [sinks.get(layer, []) for layer in layers]


def _words(found: Exploration) -> list[dict]:
    most = max(found.relevance, default=0) or 1
    return [
        {
            "text": word,
            "share": round(relevance / most, 3),
            "rates": index in found.raters,
            "hint": f"relevance to the image {relevance:.3f}, "
            + ("rates" if index in found.raters else "does not rate"),
        }
        for index, (word, relevance) in enumerate(zip(found.words, found.relevance, strict=True))
    ]


def _key(style: TokenStyle | str, text: str) -> list[str]:
    """[CSS background, dot, text, outlined]."""
    if isinstance(style, str):
        return [style, "", text, ""]
    return [style.on_gray, style.dot, text, "1" if style.outlined else ""]


def _signs(found: Exploration, choice: ColorChoice) -> list[list[str]]:
    """Keys of the signs that are on the patches, as `_key` writes them."""
    wanted = {
        "+ forced to stay": bool(found.query.keep),
        "× forced to go": bool(found.query.drop),
        "◎ sink: words that do not rate look here too": choice.mode == "attention",
    }
    return [["", "", text, ""] for text, is_there in wanted.items() if is_there]


def answer_html(found: Exploration) -> str:
    """Both answers, each token with its probability in both models, and what that means."""
    method = METHOD_STYLE[found.query.method].label
    page = Template(ANSWERS.read_text(encoding="utf-8"), autoescape=True)
    return page.render(found=found, method=method, percent=percent, verdict=verdict(found))


def verdict(found: Exploration) -> str:
    """A sentence that compares both answers."""
    if found.same_answer:
        changes = [own.other - own.probability for own in found.dense]
        most = max(changes, key=abs, default=0.0)
        sure = f", {100 * abs(most):.0f} points {'more' if most > 0 else 'less'} sure"
        return f"✓ Same answer{sure if abs(most) >= 0.005 else ''}."
    pairs = zip(found.dense, found.pruned, strict=False)
    first = next(((own, other) for own, other in pairs if own.text != other.text), None)
    if first is None:
        return "✗ Another answer: one of the two goes on where the other ends."
    return f"✗ Another answer: “{first[1].text}” in place of “{first[0].text}”, to which pruning " \
           f"leaves {percent(first[0].other)}."  # fmt: skip


def percent(share: float) -> str:
    """A probability in few characters."""
    return (
        "<0.1 %" if share < 0.001 else f"{share:.1%}".replace("100.0%", "100%").replace("%", " %")
    )
