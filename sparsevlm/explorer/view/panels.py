"""Everything that the widget draws, as plain values: one dictionary for the browser. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.explorer.run import AnswerToken, Model, Run
from sparsevlm.explorer.view import accounts, palette
from sparsevlm.explorer.view import color_map as paint
from sparsevlm.explorer.view import token_status as fate
from sparsevlm.explorer.view.color_map import Choice, Painting
from sparsevlm.explorer.view.geometry import Geometry
from sparsevlm.explorer.view.montage import Montage
from sparsevlm.explorer.view.palette import Look


def scene(
    runs: Sequence[Run],
    model: Model,
    geometry: Geometry,
    shown: Montage,
    choice: Choice,
    compare: str = "nothing",
) -> dict:
    """Describe what is to be drawn.

    Parameters
    ----------
    runs
        The first is the user's own; with ``compare="question"`` the second has another question,
        with ``"methods"`` the others have other methods.
    model, geometry
        As recorded.
    shown
        The picture as laid out.
    choice
        What is painted.
    compare
        "nothing", "question" or "methods".

    Returns
    -------
    dict
        ``picture``, ``size``, ``rectangles``; ``positions`` of the layer slider with ``labels``
        and ``cuts``; ``panels``; ``legend``; ``marker``.
    """
    positions = len(runs[0].sample.tokens_in) + 1
    # A scale of heat is that of all panels: a single head or word of one run is not in another.
    choices = [choice] + [Choice(choice.mode)] * (len(runs) - 1)
    panels = [
        _panel(run, model, geometry, own, title(run, index, compare), editable=index == 0)
        for index, (run, own) in enumerate(zip(runs, choices, strict=True))
    ]
    keys = paint.legend(runs[0], choice)
    if compare == "question" and len(runs) == 2:
        panels.append(_difference_panel(runs[0], runs[1]))
        keys += paint.difference_legend("question 1", "question 2")[2:]
    return {
        "picture": shown.data_url(),
        "size": list(shown.image.size),
        "rectangles": [found and list(found) for found in shown.rectangles],
        "positions": positions,
        "labels": ["input", *(f"after layer {layer}" for layer in range(positions - 1))],
        "cuts": sorted({p for run in runs for p in fate.cut_positions(run.sample)}),
        "panels": panels,
        "legend": [_key(look, text) for look, text in keys] + _signs(runs[0], choice),
        "marker": model.marker or model.name,
    }


def title(run: Run, index: int, compare: str) -> str:
    if compare == "question":
        return f"question {index + 1}"
    budget = "" if run.ask.tokens is None or run.ask.method == "dense" else f", {run.ask.tokens}"
    return METHOD_STYLE[run.ask.method].label + budget


def _panel(
    run: Run, model: Model, geometry: Geometry, choice: Choice, title: str, editable: bool
) -> dict:
    painting = paint.paint(run, choice)
    counted = accounts.account(run, model)
    positions = range(len(painting.at))
    through = fate.segments(run.sample)
    at = [fate.segment_of_position(run.sample, position) for position in positions]
    captions = [caption(stage) for stage in through]
    groups = [_groups(stage) for stage in through]
    return {
        "title": title,
        "colour": METHOD_STYLE[run.ask.method].color,
        "words": _words(run),
        "editable": editable,
        "switchable": editable and run.pruner["name"] == "sparsevlm",
        **_painted(painting),
        "captions": [captions[index] for index in at],
        "layers": [accounts.at_position(counted, position) for position in positions],
        "totals": accounts.totals(counted),
        "info": fate.biographies(run, geometry),
        "keep": list(run.ask.keep),
        "drop": list(run.ask.drop),
        "groups": groups,
        "stage": at,
        "sinks": [_sinks(run, position, choice) for position in positions],
        "answer": answer_html(run),
    }


def _painted(painting: Painting) -> dict:
    return {
        "codes": [list(codes) for codes in painting.codes],
        "at": list(painting.at),
        "palette": [look.css() for look in painting.looks],
    }


def _difference_panel(first: Run, second: Run) -> dict:
    painting = paint.difference(first, second)
    captions = []
    for index in painting.at:
        codes = painting.codes[index]
        both, one, two = (codes.count(code) for code in (0, 2, 3))
        captions.append(f"kept by both: {both}, only 1: {one}, only 2: {two}")
    names = ("kept by both", "kept by neither", "kept by question 1 only", "by question 2 only")
    last = painting.codes[painting.at[-1]]
    return {
        "title": "difference", "colour": "#333333", "words": [], "editable": False,
        "switchable": False, **_painted(painting), "captions": captions,
        "layers": [""] * len(captions), "totals": "", "keep": [], "drop": [], "answer": "",
        "info": [f"patch {i} · at the end {names[code]}" for i, code in enumerate(last)],
        "groups": [{}], "stage": [0] * len(captions), "sinks": [[] for _ in captions],
    }  # fmt: skip


def caption(stage: fate.Segment) -> str:
    """How many tokens there are, and what of."""
    groups = f" + {len(stage.groups)} recycled" if stage.groups else ""
    return f"{len(stage.kept)} kept{groups} of {len(stage.fates)}"


def _groups(stage: fate.Segment) -> dict[str, int]:
    """The group of every recycled token, to light up its companions."""
    found = enumerate(stage.fates)
    return {str(token): one.group for token, one in found if one.group is not None}


def _sinks(run: Run, position: int, choice: Choice) -> list[int]:
    """Tokens marked as sinks, in the view of the attention."""
    if run.attention is None or choice.mode != "attention":
        return []
    index = run.attention.index_of(max(position - 1, 0))
    found = () if index is None else run.attention.sinks[index]
    return [token for token in found if token < run.sample.num_visual]


def _words(run: Run) -> list[dict]:
    most = max(run.relevance, default=0) or 1
    return [
        {
            "text": word,
            "share": round(relevance / most, 3),
            "rates": index in run.raters,
            "hint": f"relevance {relevance:.3f}" + (", rates" if index in run.raters else ""),
        }
        for index, (word, relevance) in enumerate(zip(run.words, run.relevance, strict=True))
    ]


def _key(look: Look | str, text: str) -> list[str]:
    """[CSS background, dot, text, outlined]."""
    if isinstance(look, str):
        return [look, "", text, ""]
    # On the grey of an average picture, as it would look there.
    colour = palette.mixed("#8c8c8c", look.colour, look.share)
    return [colour, look.dot, text, "1" if look.outlined else ""]


def _signs(run: Run, choice: Choice) -> list[list[str]]:
    """Keys of the signs that are on the patches, as `_key` writes them."""
    wanted = {
        "+ forced to stay": bool(run.ask.keep),
        "× forced to go": bool(run.ask.drop),
        "◎ sink: words that do not rate look here too": choice.mode == "attention",
    }
    return [["", "", text, ""] for text, is_there in wanted.items() if is_there]


def answer_html(run: Run) -> str:
    """Both answers token by token, with the change of probability; text is escaped."""
    same = [t.text for t in run.dense] == [t.text for t in run.pruned]
    verdict = ("✓ same answer", palette.RIGHT) if same else ("✗ another answer", palette.WRONG)
    rows = [_answer_row("dense", run.dense, "pruned")]
    if run.ask.method != "dense":
        rows.append(_answer_row("pruned", run.pruned, "dense"))
        rows.append(f'<div style="color:{verdict[1]}">{verdict[0]}</div>')
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
