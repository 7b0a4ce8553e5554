"""What our own formulas give for LLaVA-1.5-7B, without a model: tokens, FLOPs, KV cache.

The column "analytic" of data/claims.csv is made of the functions here that return one number;
`section` shows them beside what Table 1 prints. Methods are spelled as in `sparsevlm.METHODS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean

import pandas as pd

from sparsevlm.analysis import published, tables
from sparsevlm.analysis.report import Section
from sparsevlm.analysis.study import DENSE, DENSE_SETTING
from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.models.checkpoints import find
from sparsevlm.models.sizes import PAPER_TEXT_TOKENS, kv_bytes, prefill_flops

LLAVA_7B = find("llava-7b").sizes
NUM_VISUAL = LLAVA_7B.num_visual
PAPER_METHODS = ("sparsevlm", "fastv", "pdrop", "tome")
BUDGETS = (192, 128, 64)
# The methods whose counts are known without a question.
FIXED_COUNTS = (
    DENSE, *PAPER_METHODS, "sparsevlm-all-text", "sparsevlm-no-recycling",
    "sparsevlm-not-refilled", "sparsevlm-plus", "random", "uniform",
)  # fmt: skip
TITLE = "LLaVA-1.5-7B, by our formulas and as published (Table 1)"


@cache
def _visual_tokens(
    method: str, tokens: int | None, num_visual: int = NUM_VISUAL
) -> tuple[list[int], list[int]]:
    """Visual tokens entering and leaving each layer."""
    pruner = replace(LLAVA_7B, num_visual=num_visual).pruner(method, tokens)
    return tokens_per_layer(
        pruner.stages,
        LLAVA_7B.layers,
        num_visual,
        recycle=getattr(pruner, "recycle", 0),
        counted_layer=pruner.counted_layer,
    )


def tokens_out(method: str, tokens: int, num_visual: int = NUM_VISUAL) -> float:
    """The mean over the layers of the visual tokens left by each: the paper's budget."""
    return fmean(_visual_tokens(method, tokens, num_visual)[1])


def tokens_in(method: str, tokens: int) -> float:
    """The mean over the layers of the visual tokens entering each: what is computed."""
    return fmean(_visual_tokens(method, tokens)[0])


def tflops(method: str, tokens: int | None) -> float:
    """The paper's FLOPs of a prefill with 117 text tokens, in 10^12."""
    entering = [visual + PAPER_TEXT_TOKENS for visual in _visual_tokens(method, tokens)[0]]
    return prefill_flops(entering, LLAVA_7B) / 1e12


def kv_megabytes(tokens: float) -> float:
    """Keys and values of so many visual tokens in every layer, half precision, 10^6 bytes."""
    return kv_bytes([tokens] * LLAVA_7B.layers, LLAVA_7B) / 1e6


def kv_megabytes_entering(method: str, tokens: int) -> float:
    """Keys and values of the visual tokens that enter each layer, half precision, 10^6 bytes."""
    return kv_bytes(_visual_tokens(method, tokens)[0], LLAVA_7B) / 1e6


def dual_flash_share() -> float:
    """What the second attention of appendix B returns at the image, against what is needed.

    The output at the image's rows, summed, over the mean attention of the raters on the image,
    summed. V holds 1/n on the rater rows, as the appendix says. Every row of the output sums over
    keys, and no visual token sees a later rater, so nothing comes out, whatever the queries and
    keys.
    """
    import torch

    visual, text = 12, 5
    torch.manual_seed(0)
    logits = torch.randn(visual + text, visual + text)
    future = torch.ones_like(logits, dtype=torch.bool).triu(1)
    attention = logits.masked_fill(future, float("-inf")).softmax(-1)
    values = torch.zeros(visual + text, 1)
    values[visual:] = 1 / text
    needed = attention[visual:, :visual].mean(0).sum()
    return float((attention @ values)[:visual].sum() / needed)


def numbers(
    methods: Sequence[str] = PAPER_METHODS, budgets: Sequence[int] = BUDGETS
) -> pd.DataFrame:
    """Return the analytic columns of Table 1, numbers unrounded, of methods of `FIXED_COUNTS`.

    Returns
    -------
    DataFrame
        Rows by (budget, method), dense first. Columns: FLOPs of a prefill in 10^12, ours and
        printed; visual tokens left by and entering a layer; the keys and values of the visual
        tokens that are cached, in 10^6 bytes; the printed latency in ms.

    Raises
    ------
    ValueError
        The counts of a method follow the question.
    """
    if odd := set(methods) - set(FIXED_COUNTS):
        raise ValueError(
            f"the counts of {', '.join(sorted(odd))} follow the question, so no formula gives "
            f"them; known: {', '.join(FIXED_COUNTS)}"
        )
    settings = [DENSE_SETTING] + [(m, b) for b in budgets for m in methods]
    printed, rows = published.by_setting("table1"), []
    for setting in settings:
        paper = printed.get(setting, {})
        rows.append({
            "TFLOPs": tflops(*setting),
            "TFLOPs, paper": paper.get("prefill_tflops"),
            "tokens out": tokens_out(*setting),
            "tokens in": tokens_in(*setting),
            "KV (MB)": kv_megabytes_entering(*setting),
            "ms, paper (A100)": paper.get("latency_ms"),
        })  # fmt: skip
    return tables.by_setting(rows, settings)


def section(
    methods: Sequence[str] = PAPER_METHODS,
    budgets: Sequence[int] = BUDGETS,
    title: str = TITLE,
) -> Section:
    """Return the same as text; columns that the paper has no number for are left out."""
    digits = dict.fromkeys(("TFLOPs", "TFLOPs, paper", "ms, paper (A100)"), 2)
    shown = tables.as_text(numbers(methods, budgets), digits)
    return Section(title, shown.loc[:, (shown != tables.NONE).any()])
