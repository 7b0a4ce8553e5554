"""Figures and tables of a notebook for an author's paper: `sparsevlm export figure_6 --width 3.25`.

The code of the notebook runs here, with its parameters, and writes to a folder of the author's.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsevlm.analysis.style import FORMATS, OUTPUT, TABLE_FORMATS
from sparsevlm.evaluation.runs import missing_runs, plan_runs
from sparsevlm.evaluation.studies import studies_of
from sparsevlm.paper.notebooks import PARAMETERS_TAG, source_cells, source_path
from sparsevlm.paper.page import Page


def export(
    page: Page, folder: Path, formats: Sequence[str] = (), svg_text: bool = False
) -> list[Path]:
    """Write what a notebook draws and tabulates, from the results at hand; nothing is evaluated.

    Parameters
    ----------
    page : Page
        The notebook with its parameters, `width` among them.
    folder : Path
        Made where it does not exist.
    formats : sequence of str
        Of `FORMATS` and `TABLE_FORMATS`; all by default.
    svg_text : bool
        Whether the text of an SVG stays text.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        A format is not known, or nothing of the notebook has one of these.
    FileNotFoundError
        Results are missing; the message says how to get them.
    """
    known = (*FORMATS, *TABLE_FORMATS)
    if unknown := [kind for kind in formats if kind not in known]:
        raise ValueError(f"unknown format {unknown[0]!r}; known: {', '.join(known)}")
    studies = {*studies_of(page.name), page.parameters.get("study") or ""} - {""}
    runs = [run for each in studies for run in plan_runs(page.profile.for_study(each))]
    if missing := missing_runs(runs):
        raise FileNotFoundError(
            f"{len(missing)} of the {len(runs)} results of {page.name} are missing (the first: "
            f"{missing[0].title}); run `sparsevlm reproduce {page.profile.options} "
            f"--only {page.name}`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as new:
        _run(page, Path(new), formats or known, svg_text)
        files = sorted(Path(new).iterdir())
        if not files:
            raise ValueError(f"{page.name} writes nothing as {', '.join(formats) or 'a file'}")
        return [Path(os.replace(file, folder / file.name) or folder / file.name) for file in files]


def _run(page: Page, folder: Path, formats: Sequence[str], svg_text: bool) -> None:
    import matplotlib

    before = dict(vars(OUTPUT))
    source = source_path(page.name)
    namespace: dict[str, object] = {}
    matplotlib.use("Agg")
    try:
        vars(OUTPUT).update(folder=folder, formats=tuple(formats), svg_text=svg_text)
        with redirect_stdout(io.StringIO()):
            for cell in source_cells(source.read_text(encoding="utf-8")):
                if cell.is_code:
                    exec(compile(cell.text, str(source), "exec"), namespace)
                    if PARAMETERS_TAG in cell.head:
                        namespace.update(page.parameters)
    finally:
        vars(OUTPUT).update(before)
