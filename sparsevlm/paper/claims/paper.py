"""Arithmetic on the paper's own numbers: do its sentences follow from its tables?

Every public function can be named in the column "paper" of data/claims.csv and returns one number.
Methods, measures and versions are spelled as in data/published.csv.
"""

from __future__ import annotations

from statistics import fmean

from sparsevlm.analysis import published

DENSE = "Dense"
V4 = "v4"
SCORES = {
    "v4": ("GQA", "MMB", "MME", "POPE", "SQA", "SEED", "TextVQA", "MMVet"),
    "v1": ("GQA", "MMB", "MME", "POPE", "SQA", "VQAv2", "TextVQA", "ConBench"),
}
VIDEO = ("TGIF-QA", "MSVD-QA", "MSRVTT-QA", "ActivityNet-QA")
VIDEO_TABLE = {"v4": ("table3", 194), "v1": ("table2", 135)}
GEMINI = ("POPE", "TextVQA", "GQA")
GEMINI_BUDGETS = (256, 192, 128, 96, 64)
RECONSTRUCTION_BUDGETS = (64, 96, 128, 192)
QWEN = ("MMB", "POPE", "TextVQA")
_DENSE_TOKENS = {"table1": 576, "table2": 2048, "table3": 2048, "figure4": 576}


def value(item: str, method: str, tokens: int | str, measure: str, version: str = V4) -> float:
    """The printed number itself."""
    return published.value(item, method, tokens, measure, version=version)


def percent_of_dense(item: str, method: str, tokens: int, measure: str, version: str = V4) -> float:
    """A score in percent of the dense model's."""
    dense = value(item, DENSE, _DENSE_TOKENS[item], measure, version)
    return 100 * value(item, method, tokens, measure, version) / dense


def percent(method: str, tokens: int, measure: str) -> float:
    """A score of Table 1 in percent of the dense model's."""
    return percent_of_dense("table1", method, tokens, measure)


def saving(item: str, method: str, tokens: int, measure: str) -> float:
    """How many percent a measure lies below the dense model's."""
    return 100 - percent_of_dense(item, method, tokens, measure)


def relative_accuracy(method: str, tokens: int, version: str = V4) -> float:
    """The mean of the eight percentages of Table 1, from the scores."""
    return fmean(
        percent_of_dense("table1", method, tokens, name, version) for name in SCORES[version]
    )


def loss(method: str, tokens: int) -> float:
    """100 minus the relative accuracy of Table 1."""
    return 100 - relative_accuracy(method, tokens)


def lead(first: str, second: str, tokens: int, version: str = V4) -> float:
    """The difference of two printed relative accuracies of Table 1, in points."""
    ends = [
        value("table1", method, tokens, "relative_accuracy_percent", version)
        for method in (first, second)
    ]
    return ends[0] - ends[1]


def removed(before: float, after: float) -> float:
    """How many percent are gone."""
    return 100 * (1 - after / before)


def scaled(percentage: float, method: str, tokens: int, measure: str, version: str = V4) -> float:
    """The score of Table 1 that a printed percentage gives."""
    return percentage / 100 * value("table1", method, tokens, measure, version)


def carried_over(method: str) -> float:
    """How many scores of a method are the same in both versions of Table 1."""
    own = published.METHOD[method]
    first = published.by_setting("table1", version="v1")
    return float(
        sum(
            first.get(setting, {}).get(measure) == number
            for setting, row in published.by_setting("table1").items()
            if setting[0] == own
            for measure, number in row.items()
            if measure in SCORES["v1"]
        )
    )


def average(item: str, method: str, tokens: int | str, *measures: str) -> float:
    """The mean of several scores."""
    return fmean(value(item, method, tokens, measure) for measure in measures)


def kv_saving() -> float:
    """Percent of the KV cache that 192 tokens save, from the two printed sizes."""
    return removed(
        value("section5.3", DENSE, 576, "dense_kv_cache_megabytes"),
        value("section5.3", "SparseVLM", 192, "sparse_192_kv_cache_megabytes"),
    )


def qwen_removed(tokens: int) -> float:
    """Percent of Qwen2-VL's tokens removed, from the mean numbers of the dense model."""
    dense = fmean(value("table2", DENSE, "dynamic", f"{n}_mean_visual_tokens") for n in QWEN)
    return removed(dense, tokens)


def qwen_kept(tokens: int) -> float:
    """Percent of the dense average that Qwen2-VL keeps, from the printed averages."""
    kept = value("table2", "SparseVLM", tokens, "average")
    return 100 * kept / value("table2", DENSE, "dynamic", "average")


def qwen_slope(more: int, fewer: int) -> float:
    """Points of the printed average lost per 100 tokens between two budgets."""
    ends = [value("table2", "SparseVLM", tokens, "average") for tokens in (more, fewer)]
    return 100 * (ends[0] - ends[1]) / (more - fewer)


def video_percent(method: str, version: str = V4) -> float:
    """The mean of the four percentages of the dense accuracies."""
    item, tokens = VIDEO_TABLE[version]
    return fmean(
        percent_of_dense(item, method, tokens, f"{name}_accuracy", version) for name in VIDEO
    )


def video_lead() -> float:
    """SparseVLM's mean percentage minus FastV's."""
    return video_percent("SparseVLM") - video_percent("FastV")


def judge_delta(item: str, method: str, tokens: int, benchmark: str, version: str = V4) -> float:
    """The judge's score minus that of the dense model."""
    measure = f"{benchmark}_judge_score"
    dense = value(item, DENSE, _DENSE_TOKENS[item], measure, version)
    return value(item, method, tokens, measure, version) - dense


def video_judge_loss(method: str) -> float:
    """The dense average of the judge's scores minus the method's, as printed."""
    dense = value("table3", DENSE, 2048, "average_judge_score")
    return dense - value("table3", method, 194, "average_judge_score")


def video_judge_delta_v1(method: str) -> float:
    """The mean over four benchmarks of `judge_delta` in the first preprint."""
    item, tokens = VIDEO_TABLE["v1"]
    return fmean(judge_delta(item, method, tokens, name, "v1") for name in VIDEO)


def _reconstruction(kind: str, tokens: int, benchmark: str) -> float:
    return value("table4", f"SparseVLM {kind} token reconstruction", tokens, benchmark)


def reconstruction_average(benchmark: str, kind: str) -> float:
    """The mean of Table 4 over four budgets, "with" or "without" reconstruction."""
    return fmean(_reconstruction(kind, tokens, benchmark) for tokens in RECONSTRUCTION_BUDGETS)


def reconstruction_gain(benchmark: str, tokens: int | None = None) -> float:
    """Percent that reconstruction gains at a budget, or by the averages over all four."""
    with_it, without = (
        reconstruction_average(benchmark, kind)
        if tokens is None
        else _reconstruction(kind, tokens, benchmark)
        for kind in ("with", "without")
    )
    return 100 * (with_it / without - 1)


def reconstruction_same() -> float:
    """How many scores of Table 4 with reconstruction equal those of Table 1."""
    pairs = [(name, tokens) for name in ("GQA", "POPE") for tokens in (64, 128, 192)]
    table_1 = [value("table1", "SparseVLM", tokens, name) for name, tokens in pairs]
    table_4 = [_reconstruction("with", tokens, name) for name, tokens in pairs]
    return float(sum(a == b for a, b in zip(table_1, table_4, strict=True)))


def _gemini_ahead(rival: str, benchmark: str, tokens: int) -> float:
    ours, other = (value("figure4", m, tokens, benchmark) for m in ("SparseVLM", rival))
    return ours - other


def gemini_lead(rival: str, tokens: int) -> float:
    """Points that SparseVLM is above a rival in Figure 4, mean of its three benchmarks."""
    return fmean(_gemini_ahead(rival, name, tokens) for name in GEMINI)


def gemini_above(rival: str, benchmark: str) -> float:
    """At how many of the five budgets of Figure 4 SparseVLM is above a rival."""
    return float(sum(_gemini_ahead(rival, benchmark, tokens) > 0 for tokens in GEMINI_BUDGETS))
