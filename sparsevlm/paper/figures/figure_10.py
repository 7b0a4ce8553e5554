"""Figure 10: accuracy of Video-LLaVA against tokens and FLOPs, on TGIF and MSVD."""

from __future__ import annotations

from sparsevlm.paper.figures.trade_off import TradeOff

FIGURE = TradeOff(
    name="figure_10",
    benchmarks=("tgif", "msvd"),
    paper_model="Video-LLaVA-7B",
    item="table3",
    where="Table 3, judged",
    suffix="_accuracy",
)
REPORT = FIGURE.report
measure = REPORT.measure
