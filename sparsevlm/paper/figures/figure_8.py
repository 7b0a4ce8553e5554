"""Figure 8: accuracy of LLaVA against FLOPs and latency, on POPE, TextVQA and MME."""

from __future__ import annotations

from sparsevlm.paper.figures.trade_off import PaperRow, TradeOff

FIGURE = TradeOff(
    name="figure_8",
    benchmarks=("pope", "textvqa", "mme"),
    costs=("FLOPs (%)",),
    paper_model="LLaVA-1.5-7B",
    paper_rows=(
        PaperRow("table1", "prefill_tflops", "prefill TFLOPs", "Table 1"),
        PaperRow("table1", "latency_ms", "latency on an A100 (ms)", "Table 1"),
    ),
)
REPORT = FIGURE.report
measure = REPORT.measure
