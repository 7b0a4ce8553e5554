"""The two figures of the notebook `miniature`: attention by layer, and the price of pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsevlm.analysis.panels import LAST_TOKEN, QUIET, RATERS
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.study_drawing import budget_axis, draw_estimates, spread
from sparsevlm.analysis.style import METHOD_STYLE, figure_size, use_style
from sparsevlm.paper.extras.miniature_validity import Look, Stand

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOVED = {"linestyle": "--", "markerfacecolor": "white"}


def attention(found: list[Stand]) -> Figure:
    """Attention on the object that a question names, by layer; one panel per miniature."""
    fig, panels = _panels(len(found))
    for axes, stand in zip(panels, found, strict=True):
        _draw_look(axes, stand.look, stand.moved is not None)
    panels[0].set_ylabel("share")
    _legend(fig, panels)
    return fig


def _legend(fig: Figure, panels: list[Axes]) -> None:
    """One legend for all panels, an entry for whatever is in any of them."""
    entries: dict[str, object] = {}
    for axes in panels:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    columns = len(entries) if len(entries) < 6 else 3
    fig.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    import matplotlib.pyplot as plt

    use_style()
    fig, panels = plt.subplots(1, count, figsize=figure_size(2, 2.3), sharey=True)
    return fig, list(panels)


def _draw_look(axes: Axes, look: Look, is_moved: bool) -> None:
    layers = range(len(look.naming))
    size = {"markersize": 2.5}
    axes.plot(layers, look.naming, "o-", color=RATERS, label="naming word on its object", **size)
    axes.plot(layers, look.last, "s-", color=LAST_TOKEN, label="last token on it", **size)
    axes.axhline(look.area, color=QUIET, linestyle=":", linewidth=0.9, label="its area")
    steps = [*look.without[:-1], look.without[-1]]
    axes.step(range(len(steps)), steps, where="mid", color="black", linewidth=0.8,
              label="right without picture from here on")  # fmt: skip
    for number, stage in enumerate(look.stages):
        axes.axvline(stage + 0.5, color=QUIET, linestyle="--", linewidth=0.6,
                     label="SparseVLM cuts" if number == 0 else None)  # fmt: skip
    if is_moved:
        moved = [layer + 0.5 for layer in look.moved]
        axes.plot(moved, [0.02] * len(moved), "^", color="black", markersize=3.5, clip_on=False,
                  label="moved cuts")  # fmt: skip
    axes.set(title=look.name, xlabel="layer", ylim=(0, 1.03), xlim=(-0.5, len(layers) + 0.3))
    every = 4 if len(layers) > 8 else 2
    axes.set_xticks(range(0, len(layers), every))


def price(
    found: list[Stand], methods: tuple[str, ...] = ("sparsevlm", "fastv", "random")
) -> Figure:
    """Relative accuracy against budget with paired intervals; one panel per miniature."""
    fig, panels = _panels(len(found))
    for axes, stand in zip(panels, found, strict=True):
        _draw_price(axes, stand.results, methods)
        if stand.moved:
            _draw_price(axes, stand.moved, ("sparsevlm", "random"), ", moved cuts", **MOVED)
        axes.set_title(f"{stand.look.name}\n{stand.questions} questions")
    panels[0].set_ylabel("accuracy relative to dense (%)")
    _legend(fig, panels)
    return fig


def _draw_price(
    axes: Axes, results: Results, methods: tuple[str, ...], suffix: str = "", **how: object
) -> None:
    rows = {(row.method, row.tokens): row.relative for row in results.rows}
    budgets = sorted(results.profile.budgets)
    for method, shift in zip(methods, spread(len(methods), 0.02), strict=True):
        here = [budget for budget in budgets if (method, budget) in rows]
        if here:
            at, estimates = [b * (1 + shift) for b in here], [rows[method, b] for b in here]
            label = f"{METHOD_STYLE[method].label}{suffix}"
            draw_estimates(axes, at, estimates, method, **{"markersize": 3, "label": label, **how})
    axes.axhline(100, color="black", linewidth=0.8, linestyle=":")
    budget_axis(axes, budgets)
    axes.tick_params(axis="x", labelsize=5.5)
    axes.set_xlabel("visual tokens")
    # A single budget would otherwise fill the panel with the offsets between the methods.
    low, high = min(budgets), max(budgets)
    axes.set_xlim(0.8 * low, 1.2 * high) if high > low else axes.set_xlim(low / 1.5, high * 1.5)
