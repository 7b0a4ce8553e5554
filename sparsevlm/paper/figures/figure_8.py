"""Figure 8: accuracy of LLaVA against FLOPs and latency, on POPE, TextVQA and MME."""

from __future__ import annotations

from sparsevlm.paper.figures.trade_off import TradeOff

FIGURE = TradeOff(
    name="figure_8",
    benchmarks=("pope", "textvqa", "mme"),
    paper_model="LLaVA-1.5-7B",
    item="table1",
    where="Table 1",
    has_latency=True,
)
REPORT = FIGURE.report
measure = REPORT.measure
