"""Which methods separate on the miniatures, with about 2,000 questions each.

The tables ask a miniature a few hundred questions, so that all of them can be made in minutes.
What a difference between two methods is takes more. `sparsevlm significance`
asks those questions once, resumes where it was stopped, and writes the differences, study by study,
to a file that is kept in git; the notebook `miniature` draws it and states how each was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis.kinds import accuracy_by_kind
from sparsevlm.analysis.statistics import Estimate
from sparsevlm.analysis.study import Results, measure
from sparsevlm.analysis.style import METHOD_STYLE, figure_size, use_style
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.paths import DATA, relative
from sparsevlm.evaluation.plan import DENSE, plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.evaluation.results.run import EvaluationRun, digest
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import execute_runs
from sparsevlm.evaluation.studies import studies

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = DATA / "miniature" / "separation.json"
NAMES = tuple(name for name in studies() if name.startswith("apart_"))
FORMAT = 1


def _code_of(runs: Iterable[EvaluationRun]) -> str:
    """Digest of the code that some runs depend on."""
    return digest(*sorted({run.algorithm for run in runs}))


def entry(results: Results) -> dict:
    """Return what the file holds of a study: per method, the lead of SparseVLM, paired.

    Parameters
    ----------
    results : Results
        Of the study.
    """
    profile = results.profile
    dense = {
        benchmark: accuracy_by_kind(benchmark, record.predictions)
        for (method, _, benchmark), record in results.records.items()
        if method == DENSE
    }
    return {
        "miniature": profile.model,
        "cuts": "moved" if profile.attention_aligned else "by depth",
        "questions": sum(found["questions"] for found in dense.values()),
        "dense": dense,
        "algorithm": _code_of(record.run for record in results.records.values()),
        "provenance": provenance.collect(),
        "runs": sorted(results.ids),
        "rows": [
            {
                "method": row.method,
                "tokens": row.tokens,
                "relative": _numbers(row.relative),
                "behind_sparsevlm": row.ahead and _numbers(row.ahead),
            }
            for row in results.rows
            if row.method != DENSE
        ],
    }


def _numbers(estimate: Estimate) -> dict[str, float]:
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
        raise FileNotFoundError(f"{relative(path)} is not there; make it: sparsevlm significance")
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise ValueError(
            f"{relative(path)} has format {found.get('format')}, this code reads {FORMAT}; make it "
            "again: sparsevlm significance"
        )
    return found


def frame(found: dict) -> pd.DataFrame:
    """Return a row per study and other method: SparseVLM minus it, in points."""
    import pandas as pd

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
    import pandas as pd

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


def weak_kinds(table: pd.DataFrame, percent: float = 95) -> str:
    """Say in words which kinds of questions a dense miniature answers below `percent`."""
    said = []
    for name, rows in table.groupby("miniature", sort=False):
        weak = [
            f"{row.benchmark} {row.kind} {row.accuracy:.1f} % of {row.questions}"
            for row in rows[rows.accuracy < percent].itertuples()
        ]
        said.append(f"{name}: {'; '.join(weak) or 'none'} below {percent} % ({len(rows)} kinds).")
    return "\n".join(said)


def source_lines(found: dict) -> str:
    """When and by which code each study was made, and whether the code has changed since."""
    lines = []
    for name, study in found["studies"].items():
        made = study["provenance"]
        same = study["algorithm"] == _code_of(plan_runs(get_profile("mini").for_study(name)))
        lines.append(
            f"{name}: {made['time'][:10]}, commit {made['commit'][:8]}"
            f"{' (changed)' if made['dirty'] else ''}, {made['device']}; the code that prunes, "
            f"answers and scores {'is the same today' if same else 'has changed since'}."
        )
    return "\n".join(lines)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the lead of SparseVLM over every other method, one panel per miniature and rule."""
    import matplotlib.pyplot as plt

    use_style()
    groups = list(table.groupby(["miniature", "cuts"], sort=False))
    size = figure_size(1 if len(groups) == 1 else 2, 1.9)
    fig, panels = plt.subplots(1, len(groups), figsize=size, sharex=True, squeeze=False)
    for axes, ((miniature, cuts), rows) in zip(panels[0], groups, strict=True):
        _draw_panel(axes, rows)
        first = rows.iloc[0]
        moved = ", moved cuts" if cuts == "moved" else ""
        axes.set_title(
            f"{miniature}{moved}\n{first.tokens} tokens\n{first.questions} questions", fontsize=6.5
        )
    # At the top: the marker of the profile stands below.
    measured = "SparseVLM minus the other method"
    fig.suptitle(f"{measured}\n(points of relative accuracy, 95 % interval)", fontsize=7.5)
    return fig


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    for place, row in enumerate(rows.itertuples()):
        style = METHOD_STYLE[row.against]
        ends = [[row.points - row.low], [row.high - row.points]]
        axes.errorbar(
            [row.points], [place], xerr=ends, color=style.colour, marker=style.marker,
            markersize=4, elinewidth=0.8, capsize=2,
        )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [METHOD_STYLE[name].label for name in rows.against])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x")


def put(results: Results, path: Path = FILE) -> None:
    """Write a study into the file; the others stay as they are."""
    studies = read(path)["studies"] if path.exists() else {}
    studies[results.profile.study] = entry(results)
    whole = {name: studies[name] for name in NAMES if name in studies}
    write_text(path, json.dumps({"format": FORMAT, "studies": whole}, indent=1) + "\n")


def update(names: Sequence[str] = NAMES, jobs: int = 2) -> dict[str, str]:
    """Ask what was not asked yet, and write study by study.

    Returns
    -------
    dict of str
        What failed in the first study that failed, with the reason; those after it are not run.
    """
    profile, store = get_profile("mini"), Store()
    for name in names:
        runs = plan_runs(profile.for_study(name), store=store)
        if failed := execute_runs(runs, store, jobs, backend=backend_of(profile.model)):
            return failed
        put(measure(profile, name))
        print(f"{name}: written to {relative(FILE)}", flush=True)
    return {}
