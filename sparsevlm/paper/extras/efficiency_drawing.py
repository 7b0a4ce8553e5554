"""Drawing of the efficiency figure: six panels from the formulas and the records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sparsevlm.analysis.style import figure_size, use_style
from sparsevlm.paper.extras.efficiency import (
    LIMIT_PERCENT,
    ONCE_PER_PROMPT,
    analytic,
    having,
    operators,
    overhead,
    parts,
    scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Mapping[str, dict]

PHASE_COLORS = {
    "hooks": "#999999", "scoring": "#D55E00", "rank": "#CC79A7", "clustering": "#56B4E9",
    "cut": "#009E73",
}  # fmt: skip
PART_COLORS = {"vision": "#E69F00", "prefill": "#0072B2", "rest": "#BBBBBB"}
KERNEL_COLORS = {"dense": "#999999", "oracle": "#0072B2", "method": "#D55E00"}
BUDGET_LINES = ("-", "--", ":")
GREY = "#555555"


def draw(records: Records) -> Figure:
    """FLOPs, time by part, overhead by phase, its share and memory by number of tokens, kernels."""
    import matplotlib.pyplot as plt

    use_style()
    fig = plt.figure(figsize=figure_size(2, 4.4))
    grid = fig.add_gridspec(2, 6)
    _flops(fig.add_subplot(grid[0, :2]))
    _answer(fig.add_subplot(grid[0, 2:4]), records)
    _overhead(fig.add_subplot(grid[0, 4:]), records)
    _share(fig.add_subplot(grid[1, :2]), records)
    _memory(fig.add_subplot(grid[1, 2:4]), records)
    _kernels(fig.add_subplot(grid[1, 4:]), records)
    timed = [one for one in records.values() if "operators" not in one]
    clocks = " and ".join(sorted({one["clock"] for one in timed}))
    fig.supxlabel(
        f"First and last panel: calculated for full size. All others: {clocks}, random weights.",
        size=6, color=GREY,
    )  # fmt: skip
    return fig


def _flops(axes: Axes) -> None:
    table = analytic()
    for color, (model, rows) in zip(
        ("#D55E00", "#882255", "#0072B2", "#009E73", "#999999"), table.groupby("model", sort=False),
        strict=True,
    ):  # fmt: skip
        share = rows["tokens"] / rows["tokens"].iloc[0]
        axes.plot(share, rows["FLOPs / dense"], "o-", color=color, ms=2.5, lw=0.9, label=model)
    paper = table.dropna(subset="paper latency / dense")
    axes.plot(paper["tokens"] / paper["tokens"].iloc[0], paper["paper latency / dense"], "k*",
              ms=4, label="LLaVA-1.5-7B:\nlatency in the paper")  # fmt: skip
    axes.set(title="FLOPs of the prefill\n(formula)", xlabel="budget / visual tokens",
             ylabel="of the dense model", xlim=(0, 1.03), ylim=(0, 1.03))  # fmt: skip
    axes.legend(fontsize=5, handlelength=1.2, labelspacing=0.25)


def _answer(axes: Axes, records: Records) -> None:
    for record in list(having(records, "answers").values())[:1]:
        table = parts(record)
        place = range(len(table))
        left = [0.0] * len(table)
        for part, color in PART_COLORS.items():
            width = table[part].fillna(0.0)
            axes.barh(place, width, left=left, color=color, label=part, height=0.6)
            left = [a + b for a, b in zip(left, width, strict=True)]
        axes.plot(table["tpot"], place, "k|", ms=7, label="one further token")
        names = [run.replace("sparsevlm ", "") for run in table["run"]]
        axes.set_yticks(place, names)
        axes.invert_yaxis()
        axes.legend(fontsize=5, handlelength=1.2, loc="lower right")
        axes.set_title(f"Up to the first token{_of(record)}")
    axes.set_xlabel("of the dense model's")


def _overhead(axes: Axes, records: Records) -> None:
    for record in list(having(records, "budgets").values())[:1]:
        table = overhead(record)
        table = table[table["method"] == "sparsevlm"]
        place = range(len(table))
        bottom = [0.0] * len(table)
        for phase in ONCE_PER_PROMPT:
            height = table[phase]
            if height.sum() > 0:
                axes.bar(place, height, bottom=bottom, color=PHASE_COLORS[phase], label=phase,
                         width=0.6)  # fmt: skip
                bottom = [a + b for a, b in zip(bottom, height, strict=True)]
        axes.set_xticks(place, table["tokens"])
        axes.axhline(LIMIT_PERCENT, color="#333333", lw=0.7, ls=(0, (4, 2)))
        axes.set_ylim(0, 1.45 * max(LIMIT_PERCENT, max(bottom)))
        axes.legend(fontsize=5, ncols=2, handlelength=1.0, columnspacing=0.8, loc="upper left")
        axes.set_title(f"Pruning's own time{_of(record)}")
    axes.set(xlabel="budget", ylabel="% of the oracle's prefill")


def _of(record: dict) -> str:
    return f"\n(hidden {record['shape']['hidden']})"


def _by_size(axes: Axes, records: Records, column: str, title: str) -> None:
    for record in list(having(records, "scale").values())[:1]:
        for line, (budget, rows) in zip(BUDGET_LINES, scale(record).groupby("budget", sort=False),
                                        strict=False):  # fmt: skip
            axes.plot(rows["visual tokens"], rows[column], "o", ls=line, color="#D55E00", ms=2.5,
                      label=f"{budget} of {record['shape']['num_visual']}")  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = _apart(sorted(int(size) for size in record["scale"]))
        axes.set_xticks(ticks, ticks)
        axes.minorticks_off()
        axes.set_title(title + _of(record))
    axes.set_xlabel("visual tokens")
    axes.grid(axis="y")
    axes.legend(fontsize=5.5)


def _apart(sizes: list[int]) -> list[int]:
    """Those whose labels do not run into the one before."""
    chosen = sizes[:1]
    for size in sizes[1:]:
        if size >= 1.9 * chosen[-1]:
            chosen.append(size)
    return chosen


def _kernels(axes: Axes, records: Records) -> None:
    found = having(records, "operators").values()
    for record in sorted(found, key=lambda one: one["shape"]["hidden"])[:1]:
        table = operators(record)
        table = table[(table["method"] == "sparsevlm") & (table["tokens"] == table["tokens"].min())]
        place = range(len(table))
        for shift, (run, color) in zip((-0.27, 0, 0.27), KERNEL_COLORS.items(), strict=True):
            axes.bar([x + shift for x in place], table[f"{run} kernels"], width=0.25, color=color,
                     label=run)  # fmt: skip
        axes.set_xticks(place, table["batch"])
        axes.legend(fontsize=5.5, loc="upper left")
        axes.set_title(f"Kernels of one prefill\n({record['shape']['name']}, "
                       f"{table['tokens'].iloc[0]} tokens)")  # fmt: skip
    axes.set(xlabel="batch", ylabel="kernels")
    axes.grid(axis="y")


def _share(axes: Axes, records: Records) -> None:
    _by_size(axes, records, "share_percent", "Own time by tokens")
    axes.set(ylabel="% of the model's", ylim=(0, None))


def _memory(axes: Axes, records: Records) -> None:
    _by_size(axes, records, "memory_to_dense", "Peak memory by tokens")
    axes.axhline(1, color="#333333", lw=0.7, ls=(0, (4, 2)))
    axes.set(ylabel="of the dense model's", ylim=(0, 1.1))
