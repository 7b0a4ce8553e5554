"""A study of the user's own: an entry in `data/studies.yaml`, measured, compared and drawn."""

from __future__ import annotations

from matplotlib.figure import Figure

from sparsevlm.analysis import drawing, study
from sparsevlm.analysis.report import Section, comparison, measured
from sparsevlm.analysis.study import Results
from sparsevlm.analysis.words import label
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.studies import get_study


def measure(profile: Profile | str, name: str, judge: str = "") -> Results:
    """Return a study by name, with its first method as the one that the others are compared with.

    Raises
    ------
    JudgeError
        As of `study.measure`, which takes `judge`.
    ValueError
        There is no study of this name (the message lists the known ones), or it belongs to another
        profile.
    """
    return study.measure(profile, name, get_study(name).methods[0], judge=judge)


def page(results: Results) -> list[Section]:
    """Return the measured table, and every difference to the study's first method."""
    found = {
        (label(results.ours), label(other), b): results.difference((results.ours, b), (other, b))
        for other in results.profile.methods if other != results.ours
        for b in results.profile.budgets
    }  # fmt: skip
    return [measured(results), comparison(f"{label(results.ours)} against the others", found)]


def figure(results: Results) -> Figure:
    """Return relative accuracy against the tokens left by a layer."""
    fig, ((axes,),) = drawing.panels(1, 1, 3.0)
    drawn = drawing.draw_relative(axes, results, results.profile.methods, kind="tokens out")
    drawing.level_line(axes, 100, "Dense")
    drawing.tokens_axis(axes, drawn, "visual tokens left by a layer (the paper's budget)")
    axes.set_ylabel(drawing.RELATIVE)
    drawing.legend_above(fig, [axes], len(results.profile.methods) + 1)
    return fig
