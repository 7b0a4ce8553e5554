"""What a notebook starts with: its parameters checked, its profile, and a place for its files.

    page = begin("figure_6", globals())        # in the first code cell after the parameters
    ...
    files = page.save(figure)

It works the same from Jupyter, plain papermill and `sparsevlm reproduce`, and from any folder.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.analysis.style import OUTPUT, Output, save_figure
from sparsevlm.evaluation.paths import FIGURES
from sparsevlm.evaluation.profiles import Profile, get_profile
from sparsevlm.evaluation.results.run import digest
from sparsevlm.paper.notebooks import SOURCES, declared_parameters, source_path
from sparsevlm.paper.parameters import check, full_model_name, require_model

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sparsevlm.analysis.report import Report
    from sparsevlm.analysis.study import Results

# In the name of the folder; all others are in the names of the files.
_OF_THE_PROFILE = ("profile", "limit", "model")
_INJECTED = "# Parameters\n"  # papermill's cell starts with it
_LONGEST = 24  # characters of a value in a file name


@dataclass(frozen=True)
class Page:
    """A notebook with its parameters, those that were given and the defaults of the others.

    `changed` are those that differ from the notebook's defaults; without profile, limit and model,
    which are in `profile`.
    """

    name: str
    profile: Profile
    parameters: Mapping[str, object]
    changed: Mapping[str, object]

    @property
    def folder(self) -> Path:
        """Where its files go: a folder of the profile in `figures/`, which git ignores.

        What lies in `figures/` itself is what the repository shows (`sparsevlm publish`).
        """
        return FIGURES / self.profile.slug

    def stem(self, part: str = "") -> str:
        """Return the name of a file without its ending, such as "tour_scores_tokens-128"."""
        values = [f"{name}-{_in_file_name(value)}" for name, value in self.changed.items()]
        return "_".join([self.name, *([part] if part else []), *values])

    def save(
        self,
        figure: Figure,
        part: str = "",
        data: pd.DataFrame | None = None,
        sources: Sequence[str] = (),
        study: str = "",
    ) -> list[Path]:
        """Write a figure as PDF, PNG and SVG, and what it shows as CSV; return the files.

        Parameters
        ----------
        part : str
            Tells several figures of a notebook apart.
        sources : sequence of str
            Ids of the runs it was drawn from, for its metadata.
        study : str
            The study whose runs these are: its model decides the marker.
        """
        return save_figure(figure, self.stem(part), self.profile, sources, FIGURES, data, study)

    def save_report(self, report: Report, results: Results) -> list[Path]:
        """Write the figure, the page and the numbers of a study; see `Report.save`."""
        return report.save(results, FIGURES, self.stem())


def _in_file_name(value: object) -> str:
    """A value as a part of a file's name; of a path its last part, told apart by a digest."""
    if isinstance(value, str) and "/" in value:
        return f"{_in_file_name(Path(value).stem)}-{digest(value)[:8]}"
    text = re.sub(r"[^A-Za-z0-9]+", "-", str(value)).strip("-") or "none"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}-{digest(str(value))[:8]}"


def profile_of(name: str, model: str = "", limit: int = 0) -> Profile:
    """Return a profile with another model and a limit; ValueError if one of them cannot be."""
    require_model(model)
    return get_profile(name).with_model(full_model_name(model)).limited(limit)


def begin(name: str, namespace: Mapping[str, object]) -> Page:
    """Check a notebook's parameters, before it does anything; `namespace` is its ``globals()``.

    Raises
    ------
    ValueError
        papermill set a name that the notebook does not declare, or a value cannot be used; the
        message lists what can.
    NotImplementedError
        The profile cannot run.
    """
    declared = declared_parameters(source_path(name))
    names = [*declared, *_injected(namespace.get("In", ()))]
    page = open_page(name, {key: namespace[key] for key in names if key in namespace})
    OUTPUT.width = page.parameters.get("width", Output.width)
    return page


def _injected(cells: Iterable[str]) -> list[str]:
    """Return the names that papermill set, among the cells that IPython has executed.

    To papermill an unknown parameter is a variable like any other, so it has to be looked for.
    """
    nodes = [node for text in cells if text.startswith(_INJECTED) for node in ast.parse(text).body]
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    return [target.id for node in assigned for target in node.targets]


def open_page(name: str, given: Mapping[str, object], sources: Path = SOURCES) -> Page:
    """Return a notebook with some parameters given and defaults for the others.

    Errors as of `begin`.
    """
    source = source_path(name, sources)
    values = check(source, given)
    profile = profile_of(values["profile"], values.get("model", ""), values.get("limit", 0))
    profile.require_runnable()
    defaults = check(source, {})
    changed = {
        key: value
        for key, value in values.items()
        if key not in _OF_THE_PROFILE and value != defaults[key]
    }
    return Page(name, profile, values, changed)
