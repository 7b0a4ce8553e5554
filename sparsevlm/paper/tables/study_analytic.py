"""What our formulas give for LLaVA-1.5-7B beside what the paper prints; no model runs.

The formulas are `claims_analytic`'s; the ledger of claims judges the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsevlm.analysis import accounting as claims_analytic
from sparsevlm.analysis import published
from sparsevlm.analysis.study_views import NONE, number
from sparsevlm.analysis.study_words import label
from sparsevlm.evaluation.plan import DENSE
from sparsevlm.models.sizes import PAPER_TEXT_TOKENS
from sparsevlm.paper.tables.table_1 import published_row

if TYPE_CHECKING:
    import pandas as pd

PAPER_METHODS = ("sparsevlm", "fastv", "pdrop", "tome")
BUDGETS = (192, 128, 64)
# The methods whose counts are known without a question.
FIXED_COUNTS = (
    DENSE, *PAPER_METHODS, "sparsevlm-all-text", "sparsevlm-no-recycling",
    "sparsevlm-not-refilled", "sparsevlm-plus", "random", "uniform",
)  # fmt: skip
TITLE = "LLaVA-1.5-7B, by our formulas and as published (Table 1)"


def frame(methods: Sequence[str] = PAPER_METHODS, budgets: Sequence[int] = BUDGETS) -> pd.DataFrame:
    """Return the analytic columns of Table 1, numbers unrounded.

    Parameters
    ----------
    methods : sequence of str
        Of `FIXED_COUNTS`.
    budgets : sequence of int

    Returns
    -------
    DataFrame
        Rows by (budget, method), dense first. Columns: FLOPs of a prefill in 10^12, ours and
        printed; visual tokens left by and entering a layer; the keys and values of the visual
        tokens that are cached, in 10^6 bytes; the printed latency in ms.
    """
    import pandas as pd

    settings = [(DENSE, None)] + [(m, b) for b in budgets for m in methods]
    rows = [_row(*setting) for setting in settings]
    names = [("all" if b is None else str(b), label(m)) for m, b in settings]
    table = pd.DataFrame(rows)
    table.index = pd.MultiIndex.from_tuples(names, names=["budget", "method"])
    return table


def _row(method: str, tokens: int | None) -> dict:
    if method not in FIXED_COUNTS:
        raise ValueError(
            f"the counts of {method!r} follow the question, so no formula gives them; "
            f"known: {', '.join(FIXED_COUNTS)}"
        )
    paper = published_row(method, tokens)
    return {
        "TFLOPs": claims_analytic.tflops(method, tokens),
        "TFLOPs, paper": paper.get("prefill_tflops"),
        "tokens out": claims_analytic.tokens_out(method, tokens),
        "tokens in": claims_analytic.tokens_in(method, tokens),
        "KV (MB)": claims_analytic.kv_megabytes_entering(method, tokens),
        "ms, paper (A100)": paper.get("latency_ms"),
    }


def readable(
    methods: Sequence[str] = PAPER_METHODS, budgets: Sequence[int] = BUDGETS
) -> pd.DataFrame:
    """Return the same as text; columns that the paper has no number for are left out."""
    numbers = frame(methods, budgets)
    shown = numbers.map(number).astype(object)
    for column in ("TFLOPs", "TFLOPs, paper", "ms, paper (A100)"):
        shown[column] = [number(value, 2) for value in numbers[column]]
    return shown.loc[:, (shown != NONE).any()]


def sentences() -> list[str]:
    """Return how the formulas agree with what the paper prints, in words."""
    table = frame()
    apart = (table["TFLOPs"] - table["TFLOPs, paper"]).abs()
    sizes = {n: claims_analytic.kv_megabytes(n) for n in (claims_analytic.NUM_VISUAL, BUDGETS[0])}
    printed = [row.value for row in published.rows("section5.3")]
    ours, paper = (
        " and ".join(f"{value:.1f}" for value in sorted(values, reverse=True))
        for values in (sizes.values(), printed)
    )
    return [
        f"All {len(apart)} FLOPs values of Table 1 are within {apart.max():.3f} T of the formula, "
        f"with {PAPER_TEXT_TOKENS} text tokens, a number that the paper does not give.",
        f"Keys and values of {' and '.join(map(str, sizes))} visual tokens in each of "
        f"{claims_analytic.LLAVA_7B.layers} layers take {ours} MB in half precision; the paper "
        f"prints {paper} MB. The column KV counts the tokens that enter each layer, which is what "
        "a cache holds.",
    ]
