"""Figure 10: accuracy of Video-LLaVA against tokens and FLOPs, on TGIF and MSVD."""

from __future__ import annotations

from sparsevlm.paper.figures.trade_off import PaperRow, TradeOff

FIGURE = TradeOff(
    name="figure_10",
    benchmarks=("tgif", "msvd"),
    costs=("tokens out", "FLOPs (%)"),
    paper_model="Video-LLaVA-7B",
    paper_rows=(PaperRow("table3", "tokens", "visual tokens", "Table 3, judged", "_accuracy"),),
)
REPORT = FIGURE.report
measure = REPORT.measure
