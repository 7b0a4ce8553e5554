"""Everything that the widget draws, as plain values: one dictionary for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.explorer.color_map import (
    RIGHT,
    WRONG,
    ColorChoice,
    ColorMap,
    TokenStyle,
    color_map,
    difference_legend,
    difference_map,
    legend,
)
from sparsevlm.explorer.exploration import AnswerToken, Exploration, ModelInfo
from sparsevlm.explorer.geometry import Geometry, Montage
from sparsevlm.explorer.token_status import (
    Snapshot,
    snapshots,
    stage_positions,
    stages_before,
    token_histories,
)
from sparsevlm.models.sizes import kv_bytes, prefill_flops


@dataclass(frozen=True)
class PrefillCost:
    """What a prefill costs on paper, and what the dense model's would.

    Attributes
    ----------
    mean_in, mean_out
        Visual tokens entering a layer (what is computed and paid for) and left by it (the paper's
        budget), mean over layers, recycled ones included.
    flops, dense_flops
        Operations of the prefill, as the paper counts them.
    kv, dense_kv
        Bytes of keys and values after it.
    """

    mean_in: float
    mean_out: float
    flops: float
    dense_flops: float
    kv: float
    dense_kv: float

    @classmethod
    def of(cls, found: Exploration, model: ModelInfo) -> PrefillCost:
        """Count; text tokens are in operations and bytes, not in the means of tokens."""
        trace = found.trace
        entering = [tokens + found.num_text for tokens in trace.tokens_in]
        whole = [trace.num_visual + found.num_text] * len(entering)
        size = {"bytes_per_value": model.bytes_per_value}
        return cls(
            fmean(trace.tokens_in),
            fmean(trace.tokens_out),
            prefill_flops(entering, model.sizes),
            prefill_flops(whole, model.sizes),
            kv_bytes(entering, model.sizes, **size),
            kv_bytes(whole, model.sizes, **size),
        )

    def __str__(self) -> str:
        return (
            f"mean over layers: {self.mean_out:.1f} out (the paper's budget), {self.mean_in:.1f} "
            f"in (what is computed) · {_si(self.flops)}FLOPs, {self.flops / self.dense_flops:.0%} "
            f"of dense · KV {_si(self.kv)}B, {self.kv / self.dense_kv:.0%} of dense"
        )


def _si(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} "


def scene(
    found: Sequence[Exploration],
    model: ModelInfo,
    geometry: Geometry,
    shown: Montage,
    choice: ColorChoice,
    compare: str = "nothing",
) -> dict:
    """Describe what is to be drawn.

    Parameters
    ----------
    found
        The first is the user's own; with ``compare="question"`` the second has another question,
        with ``"methods"`` the others have other methods.
    model, geometry
        As recorded.
    shown
        The image as laid out.
    choice
        What is shown by color.
    compare
        "nothing", "question" or "methods".

    Returns
    -------
    dict
        ``image``, ``size``, ``rectangles``; ``positions`` of the layer slider with ``labels``
        and ``stages``; ``panels``; ``legend``; ``marker``.
    """
    positions = len(found[0].trace.tokens_in) + 1
    # A scale of heat is that of all panels: a single head or word of one is not in another.
    choices = [choice] + [ColorChoice(choice.mode)] * (len(found) - 1)
    panels = [
        _panel(one, model, geometry, own, title(one, index, compare), editable=index == 0)
        for index, (one, own) in enumerate(zip(found, choices, strict=True))
    ]
    keys = legend(found[0], choice)
    if compare == "question" and len(found) == 2:
        panels.append(_difference_panel(found[0], found[1]))
        keys += difference_legend("question 1", "question 2")[2:]
    return {
        "image": shown.data_url(),
        "size": list(shown.image.size),
        "rectangles": [box and list(box) for box in shown.rectangles],
        "positions": positions,
        "labels": ["input", *(f"after layer {layer}" for layer in range(positions - 1))],
        "stages": sorted({p for one in found for p in stage_positions(one.trace)}),
        "panels": panels,
        "legend": [_key(style, text) for style, text in keys] + _signs(found[0], choice),
        "marker": model.marker or model.name,
    }


def title(found: Exploration, index: int, compare: str) -> str:
    """What stands above a panel."""
    query = found.query
    if compare == "question":
        return f"question {index + 1}"
    budget = "" if query.tokens is None or query.method == "dense" else f", {query.tokens}"
    return METHOD_STYLE[query.method].label + budget


def _panel(
    found: Exploration,
    model: ModelInfo,
    geometry: Geometry,
    choice: ColorChoice,
    title: str,
    editable: bool,
) -> dict:
    trace, query = found.trace, found.query
    through = snapshots(trace)
    positions = range(len(trace.tokens_in) + 1)
    at = [stages_before(trace, position) for position in positions]
    counts = zip(trace.tokens_in, trace.tokens_out, strict=True)
    return {
        "title": title,
        "color": METHOD_STYLE[query.method].color,
        "words": _words(found),
        "editable": editable,
        "switchable": editable and found.pruner["name"] == "sparsevlm",
        **_colored(color_map(found, choice)),
        "captions": [through[index].caption for index in at],
        "layers": [
            f"input: {trace.tokens_in[0]} visual tokens",
            *(
                f"layer {layer}: {entering} visual tokens in, {left} counted out"
                for layer, (entering, left) in enumerate(counts)
            ),
        ],
        "totals": str(PrefillCost.of(found, model)),
        "info": token_histories(found, geometry),
        "keep": list(query.keep),
        "drop": list(query.drop),
        "groups": [_groups(shot) for shot in through],
        "snapshot": at,
        "sinks": [_sinks(found, position, choice) for position in positions],
        "answer": answer_html(found),
    }


def _colored(colors: ColorMap) -> dict:
    return {
        "codes": [list(codes) for codes in colors.codes],
        "at": list(colors.at),
        "palette": [style.css() for style in colors.styles],
    }


def _difference_panel(first: Exploration, second: Exploration) -> dict:
    colors = difference_map(first, second)
    counts = [[colors.codes[index].count(code) for code in (0, 2, 3)] for index in colors.at]
    names = ("kept by both", "kept by neither", "kept by question 1 only", "by question 2 only")
    last = colors.codes[colors.at[-1]]
    many = len(colors.at)
    return {
        "title": "difference", "color": "#333333", "editable": False, "switchable": False,
        "totals": "", "answer": "", "words": [], "keep": [], "drop": [], "groups": [{}],
        "layers": [""] * many, "snapshot": [0] * many, "sinks": [[]] * many, **_colored(colors),
        "captions": [f"kept by both: {a}, only 1: {b}, only 2: {c}" for a, b, c in counts],
        "info": [f"patch {i} · at the end {names[code]}" for i, code in enumerate(last)],
    }  # fmt: skip


def _groups(shot: Snapshot) -> dict[str, int]:
    """The group of every recycled token, to light up its companions."""
    grouped = enumerate(shot.tokens)
    return {str(token): one.group for token, one in grouped if one.group is not None}


def _sinks(found: Exploration, position: int, choice: ColorChoice) -> list[int]:
    """Tokens marked as sinks, where attention is shown."""
    if choice.mode != "attention":
        return []
    index = found.attention.index_of(max(position - 1, 0))
    sinks = () if index is None else found.attention.sinks[index]
    return [token for token in sinks if token < found.trace.num_visual]


def _words(found: Exploration) -> list[dict]:
    most = max(found.relevance, default=0) or 1
    return [
        {
            "text": word,
            "share": round(relevance / most, 3),
            "rates": index in found.raters,
            "hint": f"relevance {relevance:.3f}" + (", rates" if index in found.raters else ""),
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
    """Both answers token by token, with the change of probability; text is escaped."""
    rows = [_answer_row("dense", found.dense, "pruned")]
    if found.query.method != "dense":
        color, verdict = (
            (RIGHT, "✓ same answer") if found.same_answer else (WRONG, "✗ another answer")
        )
        rows.append(_answer_row("pruned", found.pruned, "dense"))
        rows.append(f'<div style="color:{color}">{verdict}</div>')
    return "".join(rows)


def _answer_row(name: str, tokens: Sequence[AnswerToken], other: str) -> str:
    cells = "".join(
        f'<span class="tok" title="{name} {t.probability:.2%}, {other} {t.other:.2%}">'
        f"<b>{escape(t.text) or '␣'}</b><small>{percent(t.probability)} "
        f"<i>{_arrow(t)} {percent(t.other)} {other}</i></small></span>"
        for t in tokens
    )
    return f'<div class="ans"><em>{name}</em>{cells or "(nothing)"}</div>'


def percent(share: float) -> str:
    """A probability in few characters."""
    return "<0.1%" if share < 0.001 else f"{share:.1%}".replace("100.0%", "100%")


def _arrow(token: AnswerToken) -> str:
    change = token.other - token.probability
    return "≈" if abs(change) < 0.005 else "▼" if change < 0 else "▲"
