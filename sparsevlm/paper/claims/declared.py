"""The list of claims: data/claims.csv, and one for every cell of the paper's tables.

data/claims.csv holds the paper's sentences, one row each, in the columns of `claim.Claim`.
data/claims_percent.csv holds the percentages that Table 1 prints under its scores. What
data/published.csv holds needs no row: every number of it becomes a claim here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import fields
from itertools import combinations
from pathlib import Path

from sparsevlm.analysis import published
from sparsevlm.analysis.published import METHOD
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.paths import DATA
from sparsevlm.paper.claims.claim import POSITIVE, Claim

CLAIMS = DATA / "claims.csv"
PERCENT = DATA / "claims_percent.csv"

# The notebook of every item of published.csv, and what it is called in the paper.
ITEMS = {
    ("table1", "v4"): ("table_1", "Table 1"),
    ("table2", "v4"): ("table_2", "Table 2"),
    ("table3", "v4"): ("table_3", "Table 3"),
    ("table4", "v4"): ("table_4", "Table 4"),
    ("figure4", "v4"): ("figure_4", "Figure 4"),
    ("figure5", "v4"): ("figure_5", "Figure 5"),
    ("table1", "v1"): ("table_1_v1", "preprint v1, Table 1"),
    ("table2", "v1"): ("table_3", "preprint v1, Table 2"),
}
BENCHMARK = {benchmark.paper_column: name for name, benchmark in BENCHMARKS.items()}
NEEDS_LATENCY = "the latency of LLaVA-1.5-7B on an A100"
# Printed digits, tolerance and unit of a measure by what its name ends in.
PRECISION = {
    "MME": (0, 20.0, "points"),
    "latency_ms": (2, 5.0, "ms"),
    "judge_score": (2, 0.05, "of 5"),
    "mean_visual_tokens": (0, 20.0, "tokens"),
    "percent": (1, 1.0, "%"),
}
JUDGE_RETIRED = "the judge, a snapshot of gpt-3.5-turbo, is retired"
NO_COUNTERPART = "VQAv2 and ConBench, of the first preprint, have no counterpart here"
TOKENS = "_mean_visual_tokens"
JUDGE_UNKNOWN = "GPT-4 judges, in a version that the paper does not name"


def load() -> list[Claim]:
    """Return all claims: sentences, FLOPs and orderings first, then the cells of the tables.

    Raises
    ------
    ValueError
        A row of the file is no claim, or an id comes twice.
    """
    sentences, orderings = _sentences(CLAIMS), list(_orderings())
    cells = [*_cells(), *_percentages(PERCENT)]
    claims = [*sentences, *_flops(), *orderings, *cells]
    ids = [claim.id for claim in claims]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"two claims have the id {', '.join(twice)}; ids must differ")
    return claims


def _sentences(path: Path) -> list[Claim]:
    known = {field.name for field in fields(Claim)} - {"is_cell"}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    claims = []
    for row in rows:
        if set(row) != known:
            odd = ", ".join(map(str, known.symmetric_difference(row)))
            raise ValueError(f"{path.name}: columns missing or unknown: {odd}")
        row["tolerance"] = float(row["tolerance"]) if row["tolerance"] else None
        claims.append(Claim(**row))
    return claims


def _flops() -> Iterator[Claim]:
    for row in published.rows("table1"):
        if row.measure != "prefill_tflops":
            continue
        method, tokens = METHOD[row.method], _budget(row)
        yield Claim(
            id=f"flops.{method}" + ("" if tokens is None else f".{tokens}"),
            notebook="table_1",
            place=_place("Table 1", row, "FLOPs"),
            statement="operations of one prefill",
            expected=f"{row.value:.2f}",
            tolerance=0.03,
            unit="T",
            analytic=f'tflops("{method}", {tokens})',
            falsified_by=f"more than 0.03 T from {row.value:.2f}",
        )


def _budget(row: published.Row) -> int | str | None:
    return None if row.method == "Dense" else row.visual_tokens


def _place(where: str, row: published.Row, measure: str) -> str:
    budget = "" if row.method == "Dense" else f" at {row.visual_tokens}"
    return f"{where}, {row.method}{budget}, {measure}"


def _orderings() -> Iterator[Claim]:
    """Every pair of methods that Table 1 ranks by relative accuracy, at every budget."""
    rows = [r for r in published.rows("table1") if r.measure == "relative_accuracy_percent"]
    for tokens in (192, 128, 64):
        ranked = sorted((r for r in rows if r.visual_tokens == tokens), key=lambda r: -r.value)
        for above, below in combinations(ranked, 2):
            first, second = METHOD[above.method], METHOD[below.method]
            yield Claim(
                id=f"order.{tokens}.{first}.{second}",
                notebook="table_1",
                place=f"Table 1, {tokens} tokens",
                statement=f"{above.method} ({above.value} %) is above {below.method} "
                f"({below.value} %)",
                expected=POSITIVE,
                unit="points",
                records=f'lead("{first}", "{second}", {tokens})',
                falsified_by=f"{below.method} ahead by a paired interval that excludes zero",
            )


def _cells() -> Iterator[Claim]:
    for (item, version), (notebook, where) in ITEMS.items():
        for row in published.rows(item, version=version):
            if row.measure != "prefill_tflops":
                yield _cell(row, notebook, where)


def _cell(row: published.Row, notebook: str, where: str) -> Claim:
    digits, tolerance, unit = _precision(row.measure)
    name = f"{notebook}.{row.method}.{row.visual_tokens}.{row.measure}"
    version = "" if row.paper_version == "v4" else f"{row.paper_version}."
    records, needs, untestable = _source(row, notebook)
    return Claim(
        id=version + name.lower().replace(" ", "-").replace("_", "-"),
        notebook=notebook,
        place=where,
        statement=_place("", row, row.measure.replace("_", " ")).lstrip(", "),
        expected=f"{row.value:.{digits}f}",
        tolerance=tolerance,
        unit=unit,
        paper=_arithmetic(row),
        records=records,
        needs=needs,
        untestable=untestable,
        falsified_by=f"more than {tolerance:g} from the printed value",
        is_cell=True,
    )


def _precision(measure: str) -> tuple[int, float, str]:
    """Printed digits, tolerance and unit of a measure."""
    for ending, found in PRECISION.items():
        if measure.endswith(ending):
            return found
    return 1, 1.0, "points"


def _arithmetic(row: published.Row) -> str:
    """The call that gives a mean from what it is the mean of."""
    if row.measure == "relative_accuracy_percent" and row.method != "Dense":
        return f'relative_accuracy("{row.method}", {row.visual_tokens}, "{row.paper_version}")'
    if row.item == "table3" and row.measure.startswith("average_"):
        kind = row.measure.removeprefix("average_")
        parts = ", ".join(
            f'"{name}_{kind}"' for name in ("TGIF-QA", "MSVD-QA", "MSRVTT-QA", "ActivityNet-QA")
        )
        return f'value("table3", "{row.method}", {row.visual_tokens}, [{parts}])'
    return ""


def _source(row: published.Row, notebook: str) -> tuple[str, str, str]:
    """Records, what is needed, and why it is not testable: at least one of the three is given."""
    if notebook == "table_3":
        return _of_videos(row), "", JUDGE_RETIRED
    if row.measure == "latency_ms":
        return "", NEEDS_LATENCY, ""
    method, tokens = METHOD[row.method], _budget(row)
    if notebook == "table_1_v1" and method == "sparsevlm":
        method = "sparsevlm-v1.0"
    if row.measure.endswith(TOKENS):
        benchmark = BENCHMARK[row.measure.removesuffix(TOKENS)]
        return f'visual_tokens("{benchmark}", "{notebook}")', "", ""
    if row.measure == "average":
        return f'average_score("{method}", {tokens}, "{notebook}")', "", ""
    if row.measure == "relative_accuracy_percent":
        call = f'accuracy("{method}", {tokens}, "{notebook}")'
        return call, "", NO_COUNTERPART if notebook == "table_1_v1" else ""
    if row.measure not in BENCHMARK:
        return "", "", NO_COUNTERPART
    benchmark = BENCHMARK[row.measure]
    if row.visual_tokens == "average":
        return f'mean_score("{method}", "{benchmark}", "{notebook}")', "", ""
    judged = JUDGE_UNKNOWN if benchmark == "mmvet" else ""
    return f'score("{method}", {tokens}, "{benchmark}", "{notebook}")', "", judged


def _of_videos(row: published.Row) -> str:
    """The call for a judged number of Table 3; "" for the preprint's, whose budget is not run."""
    column, _, kind = row.measure.partition("_")
    measure = {"accuracy": "score", "judge_score": "judge score"}[kind]
    benchmark = BENCHMARK.get(column, "")
    known = row.item == "table3"
    setting = f'"{METHOD[row.method]}", {_budget(row)}'
    return f'judged("{measure}", {setting}, "{benchmark}")' if known else ""


def _percentages(path: Path) -> Iterator[Claim]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            printed, tokens = row.pop("method"), row.pop("tokens")
            for measure, expected in row.items():
                call = f'"{METHOD[printed]}", {tokens}, "{BENCHMARK[measure]}"'
                yield Claim(
                    id=f"table-1.{METHOD[printed]}.{tokens}.{measure.lower()}-percent",
                    notebook="table_1",
                    place="Table 1",
                    statement=f"{printed} at {tokens}, {measure} in percent of dense",
                    expected=expected,
                    tolerance=1.5,
                    unit="%",
                    paper=f'percent_of_dense("table1", "{printed}", {tokens}, "{measure}")',
                    records=f"percent_of_dense({call})",
                    untestable=JUDGE_UNKNOWN if measure == "MMVet" else "",
                    falsified_by="more than 1.5 from the printed value",
                    is_cell=True,
                )
