"""Drawing of the efficiency figure: six questions, answered by the formulas and the records."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis.drawing import apart
from sparsevlm.analysis.style import OUTPUT, SMALLEST, use_style
from sparsevlm.paper.extras import efficiency

Records = Mapping[str, dict]

PHASE_COLORS = {
    "hooks": "#999999", "scoring": "#D55E00", "rank": "#CC79A7", "clustering": "#56B4E9",
    "cut": "#009E73",
}  # fmt: skip
MODEL_COLORS = ("#D55E00", "#882255", "#0072B2", "#009E73", "#999999")
PART_COLORS = {"vision": "#E69F00", "prefill": "#0072B2", "rest": "#BBBBBB"}
KERNEL_COLORS = {"dense": "#999999", "oracle": "#0072B2", "method": "#D55E00"}
BUDGET_LINES = ("-", "--", ":")
LEGEND = {"fontsize": SMALLEST, "handlelength": 1.1, "labelspacing": 0.25, "columnspacing": 0.8}


def draw(records: Records) -> Figure:
    """FLOPs, time by part, overhead by phase, its share and memory by number of tokens, kernels."""
    use_style()
    down, across, height = (2, 3, 2.45) if OUTPUT.columns == 2 else (6, 1, 1.5)
    fig, grid = plt.subplots(down, across, figsize=(OUTPUT.width, down * height))
    for axes, panel in zip(
        grid.flat, (_flops, _answer, _overhead, _share, _memory, _kernels), strict=True
    ):
        panel(axes, records)
    timed = [one for one in records.values() if "operators" not in one]
    clocks = " and ".join(sorted({one["clock"] for one in timed}))
    about = f"First and last panel: calculated for full size. Others: {clocks}, random weights."
    fig.supxlabel(
        textwrap.fill(about, 55 if OUTPUT.columns == 2 else 36),
        size=SMALLEST, color="#555555", x=0.02, ha="left",
    )  # fmt: skip
    return fig


def _legend(axes: Axes, **how: object) -> None:
    if OUTPUT.columns == 1:  # beside the panel, which is low there
        how |= {"loc": "upper left", "bbox_to_anchor": (1.01, 1.05), "ncols": 1}
    axes.legend(**LEGEND, **how)


def _ask(axes: Axes, question: str, about: str) -> None:
    axes.set_title(f"{question}\n{about}", size=7)


def _flops(axes: Axes, records: Records) -> None:
    table = efficiency.analytic()
    for color, (model, rows) in zip(MODEL_COLORS, table.groupby("model", sort=False), strict=True):
        share = 100 * rows["tokens"] / rows["tokens"].iloc[0]
        axes.plot(share, 100 * rows["FLOPs / dense"], "o-", color=color, ms=2.5, lw=0.9,
                  label=model)  # fmt: skip
    paper = table.dropna(subset="paper latency / dense")
    axes.plot(100 * paper["tokens"] / paper["tokens"].iloc[0], 100 * paper["paper latency / dense"],
              "k*", ms=4, label="paper's latency")  # fmt: skip
    axes.set(xlabel="visual tokens kept (%)", ylabel="FLOPs (% of dense)", xlim=(0, 103),
             ylim=(0, 103))  # fmt: skip
    _legend(axes, loc="lower right", borderaxespad=0)
    _ask(axes, "What is left to compute?", "prefill, by formula")


def _answer(axes: Axes, records: Records) -> None:
    for record in list(efficiency.having(records, "answers").values())[:1]:
        table = efficiency.parts(record)
        place = range(len(table))
        left = [0.0] * len(table)
        for part, color in PART_COLORS.items():
            width = 100 * table[part].fillna(0.0)
            axes.barh(place, width, left=left, color=color, label=part, height=0.6)
            left = [a + b for a, b in zip(left, width, strict=True)]
        axes.plot(100 * table["tpot"], place, "k|", ms=7, label="a further token")
        axes.set_yticks(place, [run.replace("sparsevlm ", "") for run in table["run"]])
        axes.set_ylim(len(table) + 0.6, -0.5)  # room for the legend
        _legend(axes, loc="lower left", ncols=2, borderaxespad=0)
        _ask(axes, "Where does the time go?", f"to the first token{_of(record)}")
    axes.set(xlabel="time (% of dense)", ylabel="visual tokens")


def _overhead(axes: Axes, records: Records) -> None:
    for record in list(efficiency.having(records, "budgets").values())[:1]:
        table = efficiency.overhead(record)
        table = table[table["method"] == "sparsevlm"]
        place = range(len(table))
        bottom = [0.0] * len(table)
        for phase in efficiency.ONCE_PER_PROMPT:
            height = table[phase]
            if height.sum() > 0:
                axes.bar(place, height, bottom=bottom, color=PHASE_COLORS[phase], label=phase,
                         width=0.6)  # fmt: skip
                bottom = [a + b for a, b in zip(bottom, height, strict=True)]
        axes.set_xticks(place, table["tokens"])
        axes.axhline(efficiency.LIMIT_PERCENT, color="#333333", lw=0.7, ls=(0, (4, 2)))
        axes.set_ylim(0, 1.5 * max(efficiency.LIMIT_PERCENT, max(bottom)))
        _legend(axes, ncols=2, loc="upper left")
        _ask(axes, "What does choosing cost?", f"dashes: our limit{_of(record)}")
    axes.set(xlabel="visual tokens", ylabel="% of the prefill without it")


def _of(record: dict) -> str:
    return f", hidden {record['shape']['hidden']}"


def _by_size(axes: Axes, records: Records, column: str, question: str, about: str) -> None:
    for record in list(efficiency.having(records, "scale").values())[:1]:
        groups = efficiency.scale(record).groupby("budget", sort=False)
        for line, (budget, rows) in zip(BUDGET_LINES, groups, strict=False):
            share = 100 if column == "memory_to_dense" else 1
            axes.plot(rows["visual tokens"], share * rows[column], "o", ls=line, color="#D55E00",
                      ms=2.5, label=f"{budget} of {record['shape']['num_visual']}")  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = apart(axes, sorted(int(size) for size in record["scale"]))
        axes.set_xticks(ticks, ticks)
        axes.minorticks_off()
        _ask(axes, question, about + _of(record))
    axes.set_xlabel("visual tokens")
    axes.grid(axis="y")
    _legend(axes, title="kept", title_fontsize=SMALLEST)


def _share(axes: Axes, records: Records) -> None:
    _by_size(axes, records, "share_percent", "Does it grow with the picture?", "choosing")
    axes.set(ylabel="% of the model's time", ylim=(0, None))


def _memory(axes: Axes, records: Records) -> None:
    _by_size(axes, records, "memory_to_dense", "How much memory is needed?", "peak")
    axes.axhline(100, color="#333333", lw=0.7, ls=(0, (4, 2)))
    axes.set(ylabel="peak memory (% of dense)", ylim=(0, 110))


def _kernels(axes: Axes, records: Records) -> None:
    found = efficiency.having(records, "operators").values()
    for record in sorted(found, key=lambda one: one["shape"]["hidden"])[:1]:
        table = efficiency.operators(record)
        table = table[(table["method"] == "sparsevlm") & (table["tokens"] == table["tokens"].min())]
        place = range(len(table))
        for shift, (run, color) in zip((-0.27, 0, 0.27), KERNEL_COLORS.items(), strict=True):
            axes.bar([x + shift for x in place], table[f"{run} kernels"], width=0.25, color=color,
                     label=run)  # fmt: skip
        axes.set_xticks(place, table["batch"])
        axes.set_ylim(0, 1.45 * axes.dataLim.y1)  # the legend stands above the bars
        _legend(axes, loc="upper left")
        tokens = table["tokens"].iloc[0]
        _ask(axes, "How do batches fare?", f"{record['shape']['name']}, {tokens} tokens")
    axes.set(xlabel="batch", ylabel="kernels of a prefill")
    axes.grid(axis="y")
