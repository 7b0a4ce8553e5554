"""The ledger for the eye: CLAIMS.md, one claim in the terminal, and the texts that both share."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from sparsevlm.analysis.statistics import Estimate
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims.claim import Entry, Finding, Ledger
from sparsevlm.paper.notebooks import known_notebooks

NONE = "–"
TITLES = {
    "table_1": "Table 1: LLaVA-1.5-7B on eight benchmarks",
    "table_2": "Table 2: Qwen2-VL",
    "table_3": "Table 3: Video-LLaVA",
    "table_4": "Table 4: token reconstruction",
    "figure_1": "Figure 1: what the question changes",
    "figure_4": "Figure 4: Mini-Gemini",
    "figure_5": "Figure 5: who rates",
    "figure_7": "Figure 7: redundancy of image and text",
    "figure_8": "Figure 8: LLaVA against random choice",
    "figure_9": "Figure 9: Mini-Gemini against random choice",
    "figure_10": "Figure 10: Video-LLaVA against random choice",
    "algorithm": "The algorithm",
    "table_1_v1": "The first preprint's Table 1",
}
MEANING = {
    claims.REPRODUCED: "it rounds to the printed number; an ordering holds by an interval "
    "that excludes zero",
    claims.WITHIN: "it differs by no more than the tolerance of the row",
    claims.DEVIATES: "it differs by more",
    claims.CANNOT_TELL: "an ordering whose interval holds zero",
    claims.CONSISTENT: "the paper's own numbers give it; nothing was measured",
    claims.SLIP: "the paper's own numbers give something else",
    claims.NOT_TESTABLE: "the row says why",
    claims.NOT_RUN: "there is no record; the row says what it needs",
}
INTRO = """# Claims

Every number of the paper (arXiv 2410.04417v4, ICML 2025) and of its first preprint, claim by
claim: what is printed, what was obtained, the verdict, and what would falsify it. The page is made
by `sparsevlm claims` from formulas and records, never by hand.
`sparsevlm claims ID` prints one claim and how it is obtained.

A verdict is about the paper's number for the paper's model. The bundled miniature is another model,
so it never gives one: its column says whether a *direction* **holds on the miniature**, **does not
hold on the miniature** (both by a paired 95 % interval, in brackets, that excludes zero), or that
**the miniature cannot tell**. A plain value in that column is not compared with the paper's.

*Own numbers* are arithmetic on what the paper prints elsewhere; a *formula* is our count for
LLaVA-1.5-7B from schedule and sizes, without a model. A number in a sentence of the paper is a row;
a number in a table is a row too, folded below.
"""
TOLERANCES = """Tolerances: FLOPs 0.03 T (two printed decimals, and the length of the text, 117
tokens, is inferred); accuracies 1 point and MME 20 points (other people's runs of the authors' code
land within 0.2 on most benchmarks and within 1.1 on the worst); latency 5 ms (its protocol is only
partly given). Arithmetic on the paper's own numbers may be off by one in the last printed digit."""
HEAD = ["claim", "the paper says", "expected", "own numbers, formula", "miniature",
        "A100", "verdict", "falsified by"]  # fmt: skip


def number(value: float | Estimate | None, expected: str = "") -> str:
    """Return a value with one digit more than the paper prints, or an interval."""
    if value is None:
        return NONE
    if isinstance(value, Estimate):
        return str(value) if value.exists else "no value: dense scores 0"
    if value == int(value) and "." not in expected:
        return f"{value:.0f}"
    digits = len(expected.partition(".")[2]) + 1 if expected[:1] in tuple("-0123456789") else 1
    return f"{value:.{digits}f}"


def expected(entry: Entry) -> str:
    """Return what the paper prints, with its tolerance and unit."""
    claim = entry.claim
    tolerance = f" ± {claim.tolerance:g}" if claim.tolerance else ""
    return f"{claim.expected}{tolerance} {claim.unit}".strip() or NONE


def obtained(entry: Entry) -> str:
    """Return what the paper's own numbers and our formulas give."""
    parts = []
    if entry.paper.verdict:
        slip = f", {claims.SLIP}" if entry.paper.verdict == claims.SLIP else ""
        parts.append(f"own numbers {number(entry.paper.value, entry.claim.expected)}{slip}")
    if entry.analytic.verdict:
        parts.append(f"formula {number(entry.analytic.value, entry.claim.expected)}")
    return "; ".join(parts) or NONE


def finding(one: Finding, entry: Entry) -> str:
    """Return one profile's column."""
    if one.value is None:
        return one.verdict or NONE
    text = number(one.value, entry.claim.expected)
    return f"{one.verdict}: {text}" if one.verdict else text


def verdict(entry: Entry) -> str:
    """Return the verdict with its reason; why a whole profile is missing is said once, above."""
    own = entry.claim.untestable or (f"needs {entry.claim.needs}" if entry.claim.needs else "")
    return f"{entry.verdict}: {own}" if own and entry.reason else entry.verdict


def command(notebook: str) -> str:
    """Return how a notebook is run again, or "" where there is none yet."""
    if notebook not in known_notebooks():
        return ""
    return f"sparsevlm reproduce --only {notebook}"


def notebooks_of(ledger: Ledger) -> list[str]:
    """Return the notebooks that have claims: in the order of the titles, then the others."""
    named = list(dict.fromkeys(entry.claim.notebook for entry in ledger.entries))
    return [name for name in TITLES if name in named] + [n for n in named if n not in TITLES]


def page(ledger: Ledger) -> str:
    """Return CLAIMS.md; the same findings give the same text."""
    parts = [INTRO, _verdicts(ledger), TOLERANCES, _profiles(ledger), _summary(ledger)]
    parts += [_section(name, ledger.of(name)) for name in notebooks_of(ledger)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _verdicts(ledger: Ledger) -> str:
    counts = ledger.counts
    rows = [[f"**{name}**", str(counts[name]), MEANING[name]] for name in counts]
    return _table(["verdict", "claims", "meaning"], rows)


def _profiles(ledger: Ledger) -> str:
    lines = [f"- **{name}**: {reason}." for name, reason in sorted(ledger.missing.items())]
    return "No records of these profiles are at hand:\n\n" + "\n".join(lines) if lines else ""


def _summary(ledger: Ledger) -> str:
    names = [name for name in claims.VERDICTS if name in ledger.counts]
    seen = list(ledger.on_miniature)
    rows = []
    for notebook in notebooks_of(ledger):
        entries = ledger.of(notebook)
        counts = [sum(e.verdict == name for e in entries) for name in names]
        counts += [sum(e.mini.verdict == name for e in entries) for name in seen]
        rows.append([_link(notebook), str(len(entries)), *(str(n) if n else "" for n in counts)])
    return "## Overview\n\n" + _table(["", "claims", *names, *seen], rows)


def _link(notebook: str) -> str:
    title = TITLES.get(notebook, notebook)
    kept = [c for c in title.lower() if c.isalnum() or c in " -_"]
    return f"[{title}](#{''.join(kept).replace(' ', '-')})"


def _section(notebook: str, entries: Sequence[Entry]) -> str:
    lines = [f"## {TITLES.get(notebook, notebook)}"]
    if how := command(notebook):
        lines.append(f"Again: `{how}` ([notebook](notebooks/{notebook}.ipynb))")
    elif notebook != "algorithm":
        lines.append("There is no notebook of this yet.")
    shown = [entry for entry in entries if not entry.claim.is_cell]
    if shown:
        lines.append(_table(HEAD, [_row(entry) for entry in shown]))
    if cells := [entry for entry in entries if entry.claim.is_cell]:
        lines.append(_folded(cells))
    return "\n\n".join(lines)


def _row(entry: Entry) -> list[str]:
    claim = entry.claim
    return [
        f"`{claim.id}`", f"{claim.statement} ({claim.place})", expected(entry), obtained(entry),
        finding(entry.mini, entry), finding(entry.a100, entry), f"**{verdict(entry)}**",
        claim.falsified_by,
    ]  # fmt: skip


def _folded(cells: Sequence[Entry]) -> str:
    """All cells of the tables; what would falsify one is its own tolerance."""
    head = [*HEAD[:3], "own numbers", *HEAD[4:7]]
    table = _table(head, [_row(entry)[:7] for entry in cells])
    return (
        f"<details><summary>{len(cells)} single cells; each is falsified by a value further from "
        f"the printed one than the tolerance</summary>\n\n{table}\n\n</details>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def one(entry: Entry) -> str:
    """Return one claim for the terminal."""
    claim = entry.claim
    profiles = [(name, getattr(entry, name)) for name in ("mini", "a100")]
    lines = [
        ("claim", claim.id),
        ("the paper", f"{claim.place}: {claim.statement}"),
        ("expected", expected(entry)),
        ("obtained", obtained(entry)),
        *((name, " ".join(filter(None, [finding(f, entry), f.why]))) for name, f in profiles),
        ("verdict", f"{entry.verdict}" + (f" ({entry.reason})" if entry.reason else "")),
        ("falsified by", claim.falsified_by),
        ("from", "; ".join(filter(None, [claim.paper, claim.analytic, claim.records])) or NONE),
        ("again", command(claim.notebook) or f"sparsevlm claims {claim.id}"),
    ]
    return "\n".join(f"{name:<13} {text}" for name, text in lines)


def unknown(name: str, known: Sequence[str]) -> str:
    """Return what to say of an id that does not exist, with the nearest that do."""
    near = get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:5])
    return f"unknown claim {name!r}; near it: {', '.join(near)}; all are in CLAIMS.md"
