"""The claims page as a file: written when formulas, records or notebooks changed.

A run writes `artifacts/CLAIMS.md`. The CLAIMS.md of the repository shows the maintainers' results
(`sparsevlm publish`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sparsevlm.evaluation.paths import ARTIFACTS, DATA, FIGURES, RESULTS, ROOT, relative
from sparsevlm.evaluation.plan import package_digest
from sparsevlm.evaluation.results.run import digest
from sparsevlm.models.atomic import write_text
from sparsevlm.paper.claims.claim import ClaimReport
from sparsevlm.paper.notebooks import known_notebooks

PUBLISHED = ROOT / "CLAIMS.md"
PAGE = ARTIFACTS / "CLAIMS.md"
STAMP = ARTIFACTS / "claims.stamp.json"


def inputs_id() -> str:
    """Return the hash of all that the page depends on; reads files only, no torch."""
    records = sorted(path.name for path in RESULTS.glob("**/*.json") if "plans" not in path.parts)
    files = [*sorted(DATA.glob("*.csv")), *sorted(FIGURES.glob("**/*.data.csv"))]
    tables = [part for path in files for part in (relative(path), path.read_bytes())]
    return digest(package_digest(), *tables, "\n".join(records), "\n".join(known_notebooks()))


def is_current(page: Path = PAGE, stamp: Path = STAMP) -> bool:
    """Whether the page was made from what is at hand now, and is still as it was made."""
    try:
        noted = json.loads(stamp.read_text(encoding="utf-8"))
        return noted == {"inputs": inputs_id(), "page": digest(page.read_bytes())}
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def write(report: ClaimReport, inputs: str, page: Path = PAGE, stamp: Path = STAMP) -> None:
    """Write the page of a report, and note what it was made from.

    `inputs` is `inputs_id` from before it was collected, so that the page is written again after a
    newer record.
    """
    from sparsevlm.paper.claims import page as claims_page

    write_text(page, claims_page.page(report, "../"))
    noted = {"inputs": inputs, "page": digest(page.read_bytes())}
    write_text(stamp, json.dumps(noted, indent=1) + "\n")


def update() -> None:
    """Collect all claims, write the page, and say what is in it."""
    from sparsevlm.paper.claims.collect import collect

    inputs = inputs_id()
    report = collect()
    write(report, inputs)
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    print(f"{relative(PAGE)}: {len(report.entries)} claims: {counts}")
    for profile, reason in report.missing.items():
        print(f"  {profile}: {reason}")


def refresh() -> None:
    """Write the page if anything that it depends on has changed."""
    if is_current():
        print(f"{relative(PAGE)}: up to date")
    else:
        update()


def check(page: Path = PUBLISHED) -> bool:
    """Whether the published page is what formulas and records at hand give; say so."""
    from sparsevlm.paper.claims import page as claims_page
    from sparsevlm.paper.claims.collect import collect

    report = collect()
    if page.exists() and page.read_text(encoding="utf-8") == claims_page.page(report):
        print("CLAIMS.md: up to date")
        return True
    lacking = f" (without records of {', '.join(report.missing)})" if report.missing else ""
    print(f"CLAIMS.md is not what is at hand{lacking}; a maintainer runs `sparsevlm publish`")
    return False


def show(ids: Sequence[str]) -> None:
    """Print single claims, with how each is obtained.

    Raises
    ------
    ValueError
        There is no such claim; the message names the nearest.
    """
    from sparsevlm.paper.claims import declared
    from sparsevlm.paper.claims import page as claims_page
    from sparsevlm.paper.claims.collect import collect

    known = {claim.id: claim for claim in declared.load()}
    for name in ids:
        if name not in known:
            raise ValueError(claims_page.unknown(name, list(known)))
    entries = collect([known[name] for name in ids]).entries
    print("\n\n".join(claims_page.one(entry) for entry in entries))
