"""Figure 10: accuracy of Video-LLaVA against tokens and FLOPs, on TGIF and MSVD."""

from __future__ import annotations

from sparsevlm.analysis.study_tradeoff import PaperRow, TradeOff

FIGURE = TradeOff(
    name="figure_10",
    benchmarks=("tgif", "msvd"),
    costs=("tokens", "flops"),
    paper_model="Video-LLaVA-7B",
    paper_rows=(PaperRow("table3", "tokens", "visual tokens", "Table 3, judged", "_accuracy"),),
)
measure = FIGURE.measure
