"""Formatting of claims: CLAIMS.md, one claim in the terminal, and the texts that both share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from sparsevlm.analysis.report import templates
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.paper.claims import claim as claims
from sparsevlm.paper.claims.claim import ClaimReport, ClaimResult, Entry
from sparsevlm.paper.extras import methods as independent
from sparsevlm.paper.notebooks import known_notebooks

TEMPLATES = Path(__file__).with_name("templates")
NONE = "–"
_TEXTS = yaml.safe_load((TEMPLATES / "texts.yaml").read_text(encoding="utf-8"))
TITLES, MEANING = _TEXTS["titles"], _TEXTS["meanings"]
HEAD = ["claim", "the paper says", "expected", "own numbers, formula, others", "miniature",
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
    """Return what the paper's own numbers, our formulas and papers that ran all methods give."""
    parts = []
    if entry.paper.verdict:
        slip = f", {claims.SLIP}" if entry.paper.verdict == claims.SLIP else ""
        parts.append(f"own numbers {number(entry.paper.value, entry.claim.expected)}{slip}")
    if entry.analytic.verdict:
        parts.append(f"formula {number(entry.analytic.value, entry.claim.expected)}")
    table, *setting, measure = entry.claim.id.split(".")
    if (table, measure) == ("table-1", "relative-accuracy-percent"):
        method, tokens = setting
        found = independent.values(method, int(tokens))
        alike = found[found.origin == independent.ONE_ENVIRONMENT]
        parts += [f"{one.relative:.1f} in {one.source}" for one in alike.itertuples()]
    return "; ".join(parts) or NONE


def finding(one: ClaimResult, entry: Entry) -> str:
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


@dataclass(frozen=True)
class ClaimSection:
    """The claims of one notebook: its name, heading and command, sentences, cells of a table."""

    name: str
    title: str
    command: str
    sentences: list[Entry]
    cells: list[Entry]


def sections_of(report: ClaimReport) -> list[ClaimSection]:
    """Return the notebooks that have claims: in the order of the titles, then the others."""
    named = list(dict.fromkeys(entry.claim.notebook for entry in report.entries))
    ordered = [name for name in TITLES if name in named] + [n for n in named if n not in TITLES]
    return [
        ClaimSection(
            name, TITLES.get(name, name), command(name),
            [entry for entry in report.of(name) if not entry.claim.is_cell],
            [entry for entry in report.of(name) if entry.claim.is_cell],
        )
        for name in ordered
    ]  # fmt: skip


def page(report: ClaimReport, root: str = "") -> str:
    """Return CLAIMS.md, which lies where `root` leads to the repository; the same findings give
    the same text."""
    names = [name for name in claims.VERDICTS if name in report.counts]
    sections, overview = sections_of(report), []
    for section in sections:
        entries = report.of(section.name)
        counts = [sum(e.verdict == name for e in entries) for name in names]
        counts += [sum(e.mini.verdict == name for e in entries) for name in report.on_miniature]
        overview.append([_link(section.title), len(entries), *(n or "" for n in counts)])
    text = templates(TEMPLATES).get_template("CLAIMS.md.j2").render(
        report=report, root=root, sections=sections, overview=overview, head=HEAD, line=_line,
        row=_row,
        columns=["", "claims", *names, *report.on_miniature],
        verdicts=[(f"**{name}**", n, MEANING[name]) for name, n in report.counts.items()],
    )  # fmt: skip
    return text.strip() + "\n"


def _row(entry: Entry) -> list[str]:
    claim = entry.claim
    return [
        f"`{claim.id}`", f"{claim.statement} ({claim.place})", expected(entry), obtained(entry),
        finding(entry.mini, entry), finding(entry.a100, entry), f"**{verdict(entry)}**",
        claim.falsified_by,
    ]  # fmt: skip


def _link(title: str) -> str:
    kept = [c for c in title.lower() if c.isalnum() or c in " -_"]
    return f"[{title}](#{''.join(kept).replace(' ', '-')})"


def _line(row: Sequence[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


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
