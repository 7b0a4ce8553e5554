"""Which methods differ significantly on the miniatures, with about 2,000 questions each.

The tables ask a miniature a few hundred questions, so that all of them can be made in minutes.
What a difference between two methods is takes more. `sparsevlm significance` asks those questions
once, resumes where it was stopped, and writes the differences, study by study, to a file that is
kept in git; the notebook `miniature` draws it and states how each was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsevlm.analysis.drawing import error_bars, panels
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import DENSE, Results, measure
from sparsevlm.analysis.style import METHOD_STYLE
from sparsevlm.analysis.words import label
from sparsevlm.benchmarks.registry import accuracy_by_kind
from sparsevlm.evaluation.paths import DATA, relative
from sparsevlm.evaluation.plan import algorithms
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.failures import RunError
from sparsevlm.evaluation.results.run import digest
from sparsevlm.evaluation.runs import ensure_records
from sparsevlm.evaluation.studies import studies
from sparsevlm.models.atomic import write_text

FILE = DATA / "miniature" / "separation.json"
NAMES = tuple(name for name in studies() if name.startswith("apart_"))
FORMAT = 1
COMMAND = "sparsevlm significance"


def _code(algorithms: Iterable[str]) -> str:
    return digest(*sorted(set(algorithms)))


def entry(results: Results) -> dict:
    """Return what the file holds of a study: per method, the lead of SparseVLM, paired."""
    profile = results.profile
    dense = {
        benchmark: accuracy_by_kind(benchmark, record.predictions)
        for (method, _, benchmark), record in results.records.items()
        if method == DENSE
    }
    rows = []
    for method, tokens in results.settings[1:]:
        ahead = results.find("ahead", (method, tokens))
        rows.append({
            "method": method, "tokens": tokens,
            "relative": _rounded(results.get("relative accuracy", (method, tokens))),
            "behind_sparsevlm": ahead and _rounded(ahead),
        })  # fmt: skip
    return {
        "miniature": profile.model,
        "cuts": "moved" if profile.attention_aligned else "by depth",
        "questions": sum(found["questions"] for found in dense.values()),
        "dense": dense,
        "algorithm": _code(record.run.algorithm for record in results.records.values()),
        "provenance": provenance.collect(),
        "cells": sorted(results.ids),
        "rows": rows,
    }


def _rounded(estimate: Estimate) -> dict[str, float]:
    return {name: round(getattr(estimate, name), 3) for name in ("value", "low", "high", "level")}


def read(path: Path = FILE) -> dict:
    """Return the file.

    Raises
    ------
    FileNotFoundError
        It was never made; the message says how.
    ValueError
        It is of another version of this code.
    """
    if not path.exists():
        raise FileNotFoundError(f"{relative(path)} is not there; make it: {COMMAND}")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{relative(path)} has format {found.get('format')}, this code reads {FORMAT}; make it "
            f"again: {COMMAND}"
        )
    return found


def frame(found: dict) -> pd.DataFrame:
    """Return a row per study and other method: SparseVLM minus it, in points."""
    rows = []
    for study in found["studies"].values():
        for row in study["rows"]:
            if row["behind_sparsevlm"] is None:
                continue
            lead = Estimate(**row["behind_sparsevlm"])
            rows.append({
                "miniature": study["miniature"], "cuts": study["cuts"], "tokens": row["tokens"],
                "questions": study["questions"], "against": row["method"],
                "points": lead.value, "low": lead.low, "high": lead.high,
                "separates": lead.excludes_zero,
            })  # fmt: skip
    return pd.DataFrame(rows)


def dense_frame(found: dict) -> pd.DataFrame:
    """Return a row per miniature, benchmark and kind of question: the dense model's accuracy."""
    return pd.DataFrame([
        {
            "miniature": study["miniature"], "benchmark": entry["label"], "kind": kind or "all",
            "questions": entry["split_questions"][kind], "accuracy": 100 * accuracy,
        }
        for study in found["studies"].values()
        if study["cuts"] == "by depth"
        for entry in study["dense"].values()
        for kind, accuracy in entry["splits"].items()
    ])  # fmt: skip


def sources(found: dict) -> pd.DataFrame:
    """When and by which code each study was made, and whether the code has changed since."""
    rows = []
    for name, study in found["studies"].items():
        made, today = study["provenance"], _code(algorithms(get_profile("mini").for_study(name)))
        rows.append({
            "study": name, "made": made["time"][:10],
            "commit": made["commit"][:8] + (" (changed)" if made["dirty"] else ""),
            "device": made["device"],
            "code today": "the same" if study["algorithm"] == today else "has changed",
        })  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the lead of SparseVLM over every other method, one panel per miniature and rule."""
    groups = list(table.groupby(["miniature", "cuts"], sort=False))
    fig, (row,) = panels(1, len(groups), 1.9, sharex=True)
    for axes, ((miniature, cuts), rows) in zip(row, groups, strict=True):
        _draw_panel(axes, rows)
        first = rows.iloc[0]
        moved = ", moved stages" if cuts == "moved" else ""
        axes.set_title(
            f"{miniature}{moved}\n{first.tokens} tokens\n{first.questions} questions", fontsize=6.5
        )
    # At the top: the marker of the profile stands below.
    measured = "SparseVLM minus the other method"
    fig.suptitle(f"{measured}\n(points of relative accuracy, 95 % interval)", fontsize=7.5)
    return fig


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    for place, row in enumerate(rows.itertuples()):
        style, lead = METHOD_STYLE[row.against], Estimate(row.points, row.low, row.high)
        axes.errorbar(
            [row.points], [place], xerr=error_bars([lead]), color=style.color, marker=style.marker,
            markersize=4, elinewidth=0.8, capsize=2,
        )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [label(name) for name in rows.against])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x")


def put(results: Results, path: Path = FILE) -> None:
    """Write a study into the file; the others stay as they are."""
    known = read(path)["studies"] if path.exists() else {}
    known[results.profile.study] = entry(results)
    whole = {name: known[name] for name in NAMES if name in known}
    write_text(path, json.dumps({"format": FORMAT, "studies": whole}, indent=1) + "\n")


def update(names: Sequence[str] = NAMES, jobs: int = 2) -> dict[str, str]:
    """Ask what was not asked yet, and write study by study.

    Returns what failed in the first study that failed, with the reason; those after it are not run.
    """
    profile = get_profile("mini")
    for name in names:
        try:
            ensure_records(profile.for_study(name), jobs=jobs)
        except RunError as error:
            return {name: str(error)}
        put(measure(profile, name))
        print(f"{name}: written to {relative(FILE)}", flush=True)
    return {}
