"""Tables from the frame of a study: unrounded numbers for a CSV, text for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE, DENSE_SETTING, Results, Setting
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.benchmarks.registry import accuracy_by_kind

NONE = "–"
PAPER = "arXiv 2410.04417v4"


@dataclass(frozen=True)
class Column:
    """A column of a table with one row per setting, of a measure in the frame (`study.Results`).

    Attributes
    ----------
    benchmark : str
        "" is over all of them.
    short : str
        Begins the names of two more columns with the ends of the interval; "" for none.
    sign : str
        "+" where every number is shown with its sign.
    digits : int
        Decimals of the text.
    """

    head: str
    measure: str
    benchmark: str = ""
    short: str = ""
    sign: str = ""
    digits: int = 1

    def text(self, found: Estimate | None) -> str:
        """Return a number as text, with its interval where the column has one."""
        if found is None:
            return NONE
        if not self.short or found.low == found.value == found.high:
            return number(found.value, self.digits, self.sign)
        return interval(found, self.sign)


COSTS = (
    Column("tokens in", "tokens in"),
    Column("tokens out", "tokens out"),
    Column("GFLOPs", "GFLOPs", digits=2),
    Column("FLOPs (%)", "FLOPs (%)"),
)


def default_columns(results: Results) -> list[Column]:
    """Return scores, relative accuracy, the lead of `Results.ours`, tokens and FLOPs."""
    return [
        *(Column(BENCHMARKS[n].paper_column, "score", n) for n in results.profile.benchmarks),
        Column("Acc. (%)", "relative accuracy", short="Acc."),
        Column(f"{label(results.ours)} ahead by", "ahead", short="ahead", sign="+"),
        *COSTS,
    ]


def score_columns(results: Results) -> list[Column]:
    """Return score and percent of dense by benchmark, paired differences, tokens, FLOPs, cache."""
    columns = [Column("Avg", "mean score")]
    for name in results.profile.benchmarks:
        head = BENCHMARKS[name].paper_column
        percent = f"{head} (% of dense)"
        score = [Column(head, "score", name)]
        if results.find("judge score", DENSE_SETTING, name):
            score = [
                Column(f"{head} accuracy", "score", name),
                Column(f"{head} score", "judge score", name, digits=2),
            ]
        columns += [*score, Column(percent, "percent", name, short=percent)]
    return [
        *columns,
        Column("Avg (% of dense)", "relative accuracy", short="Avg (% of dense)"),
        Column("minus dense", "minus dense", short="minus dense", sign="+"),
        Column("minus random", "minus random", short="minus random", sign="+"),
        *COSTS,
        Column("KV (MB)", "KV (MB)", digits=2),
        Column("KV (%)", "KV (%)"),
    ]


def numbers(results: Results, columns: Sequence[Column] | None = None) -> pd.DataFrame:
    """Return unrounded numbers, one row per setting; `default_columns` if none are given."""
    rows = []
    for setting in results.settings:
        row: dict[str, float | None] = {}
        for column in columns or default_columns(results):
            found = results.find(column.measure, setting, column.benchmark)
            if column.short:
                row |= ends(column.head, found, column.short)
            else:
                row[column.head] = found and found.value
        rows.append(row)
    return by_setting(rows, results.settings)


def readable(results: Results, columns: Sequence[Column] | None = None) -> pd.DataFrame:
    """Return the same as text: rounded, every interval beside its number."""
    rows = [
        {c.head: c.text(results.find(c.measure, setting, c.benchmark))
         for c in columns or default_columns(results)}
        for setting in results.settings
    ]  # fmt: skip
    return by_setting(rows, results.settings)


def published(results: Results, extra: Sequence[str] = ()) -> pd.DataFrame:
    """Return the paper's numbers in the same rows, unrounded; empty where the paper has none.

    `extra` are further measures of the paper that have no counterpart in the study.
    """
    dense = results.paper.get(DENSE_SETTING, {}).get("prefill_tflops")
    rows = []
    for setting in results.settings:
        paper = results.paper.get(setting, {})
        columns = [BENCHMARKS[name].paper_column for name in results.profile.benchmarks]
        row = {column: paper.get(column) for column in (*columns, *extra)}
        row["Acc. (%)"] = paper.get("relative_accuracy_percent")
        if dense:
            flops = paper.get("prefill_tflops")
            row |= {"TFLOPs": flops, "FLOPs (%)": 100 * flops / dense if flops else None}
        rows.append(row)
    return by_setting(rows, results.settings)


def as_text(table: pd.DataFrame, digits: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Return numbers as text: one decimal, or as many as `digits` says of a column."""
    known = digits or {}
    texts = {c: [number(v, known.get(c, 1)) for v in table[c]] for c in table}
    return pd.DataFrame(texts, index=table.index, dtype=object)


def by_setting(rows: Sequence[Mapping], settings: Sequence[Setting]) -> pd.DataFrame:
    """Return rows under the names of their settings: (budget, method)."""
    names = [("all" if m == DENSE else str(b), label(m)) for m, b in settings]
    return indexed(dict(zip(names, rows, strict=True)), ("budget", "method"))


def indexed(
    rows: Mapping[tuple[str, str], Mapping | Sequence],
    names: tuple[str, str],
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return a table from its rows by two names each."""
    index = pd.MultiIndex.from_tuples(list(rows), names=names)
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)


def grid(
    found: Mapping[tuple[str, str, int], str], names: tuple[str, str], budgets: Sequence[int]
) -> pd.DataFrame:
    """Return cells by two names and a budget as a table with a column per budget."""
    pairs = dict.fromkeys((first, second) for first, second, _ in found)
    rows = {pair: [found.get((*pair, tokens), NONE) for tokens in budgets] for pair in pairs}
    return indexed(rows, names, list(map(str, budgets)))


def ends(column: str, estimate: Estimate | None, short: str) -> dict[str, float | None]:
    """Return the three columns of an estimate: the value, "SHORT low" and "SHORT high"."""
    if estimate is None:
        return dict.fromkeys((column, f"{short} low", f"{short} high"))
    return {column: estimate.value, f"{short} low": estimate.low, f"{short} high": estimate.high}


def interval(estimate: Estimate, sign: str = "") -> str:
    """Return "1.2 [0.3, 2.1]", with signs where `sign` is "+"; a dash where there is no number."""
    if not estimate.exists:
        return NONE
    value, low, high = (f"{one:{sign}.1f}" for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def number(value: float | None, digits: int = 1, sign: str = "") -> str:
    """Return a rounded number, or a dash where there is none."""
    return NONE if value is None or value != value else f"{value:{sign}.{digits}f}"


def by_kind(results: Results) -> pd.DataFrame:
    """Return percent right by kind of question, unrounded, of a study with one budget.

    Rows by (benchmark, kind); columns: number of questions, then one per method.

    Raises
    ------
    ValueError
        The study has several budgets.
    """
    if len(results.profile.budgets) != 1:
        raise ValueError(f"expected one budget, got {results.profile.budgets}")
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for (method, _, benchmark), record in results.records.items():
        found = accuracy_by_kind(benchmark, record.predictions)
        for kind, share in found["splits"].items():
            row = rows.setdefault((found["label"], kind), {})
            row["questions"] = found["split_questions"][kind]
            row[label(method)] = 100 * share
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["benchmark", "kind"])
