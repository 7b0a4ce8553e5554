"""Figure 9: accuracy of Mini-Gemini against FLOPs and tokens, on POPE, TextVQA and MME."""

from __future__ import annotations

from sparsevlm.paper.figures.trade_off import TradeOff

FIGURE = TradeOff(
    name="figure_9",
    benchmarks=("pope", "textvqa", "mme"),
    paper_model="Mini-Gemini-7B",
    item="figure4",
    where="Figure 4, read off",
)
REPORT = FIGURE.report
measure = REPORT.measure
