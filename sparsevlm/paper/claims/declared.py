"""The list of claims: data/claims.csv, and one for every cell of the paper's tables.

data/claims.csv holds the paper's sentences, one row each, in the columns of `claim.Claim`.
data/claims_percent.csv holds the percentages that Table 1 prints under its scores. What
data/published.csv holds needs no row: every number of it becomes a claim, obtained as the first
row of data/claims_cells.csv that fits it says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path

from sparsevlm.analysis import published
from sparsevlm.analysis.published import METHOD
from sparsevlm.benchmarks import BENCHMARKS
from sparsevlm.evaluation.paths import DATA
from sparsevlm.paper.claims.claim import POSITIVE, Claim

CLAIMS = DATA / "claims.csv"
PERCENT = DATA / "claims_percent.csv"
CELLS = DATA / "claims_cells.csv"

BENCHMARK = {benchmark.paper_column: name for name, benchmark in BENCHMARKS.items()}
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


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sentences(path: Path) -> list[Claim]:
    known = {field.name for field in fields(Claim)} - {"is_cell"}
    claims = []
    for row in _rows(path):
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


def rules() -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return the rows of data/claims_cells.csv by item and version of data/published.csv."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for rule in _rows(CELLS):
        found.setdefault((rule["item"], rule["version"]), []).append(rule)
    return found


def _cells() -> Iterator[Claim]:
    for (item, version), own in rules().items():
        for row in published.rows(item, version=version):
            parts = {"measure": row.measure, "method": row.method, "tokens": str(row.visual_tokens)}
            rule = next(r for r in own if all(fnmatch(parts[key], r[key]) for key in parts))
            if rule["notebook"]:
                yield _cell(row, rule)


def _cell(row: published.Row, rule: Mapping[str, str]) -> Claim:
    """The claim of a number: what the first rule that fits says, its expressions filled in."""
    named = {
        "printed": row.method, "method": METHOD[row.method], "version": row.paper_version,
        "tokens": _budget(row), "budget": row.visual_tokens,
        "benchmark": BENCHMARK.get(row.measure.partition("_")[0], ""),
    }  # fmt: skip
    name = f"{rule['notebook']}.{row.method}.{row.visual_tokens}.{row.measure}"
    version = "" if row.paper_version == "v4" else f"{row.paper_version}."
    return Claim(
        id=version + name.lower().replace(" ", "-").replace("_", "-"),
        statement=_place("", row, row.measure.replace("_", " ")).lstrip(", "),
        expected=f"{row.value:.{rule['digits']}f}",
        tolerance=float(rule["tolerance"]),
        falsified_by=f"more than {rule['tolerance']} from the printed value",
        is_cell=True,
        **{key: rule[key].format(**named) for key in ("paper", "records")},
        **{key: rule[key] for key in ("notebook", "place", "unit", "needs", "untestable")},
    )


def _percentages(path: Path) -> Iterator[Claim]:
    for row in _rows(path):
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
