"""Run a notebook: its files are written atomically, and nothing is run twice.

papermill executes. This module adds what it lacks: a failing cell leaves no finished notebook,
and a notebook whose inputs did not change is not run again.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sparsevlm.evaluation.paths import ARTIFACTS, DATA, ROOT, relative
from sparsevlm.evaluation.plan import package_digest
from sparsevlm.evaluation.results.run import canonical_json, digest
from sparsevlm.evaluation.results.shipped import SHIPPED
from sparsevlm.models.atomic import write_text
from sparsevlm.paper.notebooks import PARAMETERS_TAG, SOURCES, generate, source_cells
from sparsevlm.paper.page import Page


@cache
def _data_digest(folder: Path) -> str:
    """Of the lock and of all data but the shipped answers: a notebook reads its own."""
    parts: list[str | bytes] = [(ROOT / "requirements.lock").read_bytes()]
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != SHIPPED):
        parts += [relative(path), path.read_bytes()]
    return digest(*parts)


class NotebookError(RuntimeError):
    """A notebook failed while it ran; the message names the cell and the partial notebook."""


@dataclass(frozen=True)
class NotebookRun:
    """One notebook with its parameters, and where its result goes.

    `records` are the ids of the evaluation runs that it reads, `verdicts` the files with the
    verdicts of judges on them.
    """

    page: Page
    records: Sequence[str] = ()
    sources: Path = field(default=SOURCES, repr=False)
    artifacts: Path = field(default=ARTIFACTS, repr=False)
    verdicts: Sequence[Path] = ()

    @property
    def name(self) -> str:
        """Of the notebook."""
        return self.page.name

    @property
    def source(self) -> Path:
        """The py:percent file."""
        return self.sources / f"{self.name}.py"

    def output(self, suffix: str) -> Path:
        """Return the path of this run's result with `suffix`, such as ".ipynb"."""
        return self.artifacts / self.page.profile.slug / f"{self.page.stem()}{suffix}"

    def inputs_id(self) -> str:
        """Return the hash of all that the result depends on."""
        choices = {"parameters": dict(self.page.parameters), "records": sorted(self.records)}
        parts: list[str | bytes] = [self.source.read_bytes(), canonical_json(choices)]
        parts += [part for path in self.verdicts for part in (path.name, path.read_bytes())]
        return digest(package_digest(), _data_digest(DATA), *parts)

    def is_done(self) -> bool:
        """Whether it was run from just these inputs, and all that it wrote is still there."""
        try:
            stamp = json.loads(self.output(".stamp.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        written = [ROOT / path for path in stamp["outputs"]]
        return stamp["inputs"] == self.inputs_id() and all(path.exists() for path in written)


def execute(run: NotebookRun) -> float:
    """Execute a notebook and write the result, its HTML and its stamp; return the seconds it took.

    Raises
    ------
    NotebookError
        If a cell fails. What was done until then is beside the place of the result, as
        `NAME.partial.ipynb`; an older result is left as it was, without its stamp.
    """
    final, partial = run.output(".ipynb"), run.output(".partial.ipynb")
    final.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    run.output(".stamp.json").unlink(missing_ok=True)
    inputs = run.inputs_id()
    generated = run.output(".source.partial.ipynb")
    try:
        write_text(generated, generate(run.source))
        _papermill(run, generated, partial)
    finally:
        generated.unlink(missing_ok=True)
    html = _html(partial)
    os.replace(partial, final)
    write_text(run.output(".html"), html)
    outputs = [final, run.output(".html"), *_figures_of(run.page)]
    stamp = {
        "inputs": inputs,
        "outputs": [relative(path) for path in outputs],
    }
    write_text(run.output(".stamp.json"), json.dumps(stamp, indent=1) + "\n")
    return time.perf_counter() - started


def _papermill(run: NotebookRun, source: Path, partial: Path) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    # papermill logs every cell, and that black is not installed; a kernel, that it was ended.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("PYTHONHASHSEED", "0")  # for the kernel
    so_far = f"as far as it came: {relative(partial)}"
    try:
        papermill.execute_notebook(
            source, partial, dict(run.page.parameters), kernel_name="python3", cwd=ROOT,
            progress_bar=False, extra_arguments=["--log-level=CRITICAL"],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        reason = f"In [{error.exec_count}]: {error.ename}: {error.evalue}"
        raise NotebookError(f"notebook {run.name} failed at {reason}; {so_far}") from None
    except DeadKernelError:
        raise NotebookError(
            f"notebook {run.name}: its kernel died, most often for a lack of memory; {so_far}"
        ) from None


def _html(notebook: Path) -> str:
    from nbconvert import HTMLExporter

    with warnings.catch_warnings():
        # A figure without alternative text is no fault of the run.
        warnings.simplefilter("ignore")
        logging.getLogger("traitlets").setLevel(logging.ERROR)
        text, _ = HTMLExporter(embed_images=True).from_filename(str(notebook))
    return text


def _figures_of(page: Page) -> list[Path]:
    """Return the files that bear the name of the notebook, and its changed parameters alone."""
    own = page.stem().removeprefix(page.name)
    files = {*page.folder.glob(f"{page.name}{own}.*"), *page.folder.glob(f"{page.name}_*{own}.*")}
    others = tuple(f"_{name}-" for name in page.parameters if name not in page.changed)
    return sorted(
        path for path in files
        if ".partial" not in path.name and not any(other in path.name for other in others)
    )  # fmt: skip


def export(run: NotebookRun, folder: Path, formats: Sequence[str], svg_text: bool) -> list[Path]:
    """Execute the code of a notebook here, its files going to an author's folder; return them.

    Formats are those of `FORMATS` and `TABLE_FORMATS`, none means all; on request the text of an
    SVG stays text.

    Raises
    ------
    ValueError
        A format is not known, or nothing of the notebook has one of these.
    """
    import matplotlib

    from sparsevlm.analysis.style import FORMATS, OUTPUT, TABLE_FORMATS

    if unknown := set(formats) - {*FORMATS, *TABLE_FORMATS}:
        known = ", ".join((*FORMATS, *TABLE_FORMATS))
        raise ValueError(f"unknown format {min(unknown)!r}; known: {known}")
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    namespace: dict[str, object] = {}
    with TemporaryDirectory(dir=folder) as new:
        OUTPUT.folder, OUTPUT.svg_text = Path(new), svg_text
        OUTPUT.formats = formats or OUTPUT.formats
        with redirect_stdout(io.StringIO()):
            for cell in source_cells(run.source.read_text(encoding="utf-8")):
                if cell.is_code:
                    exec(compile(cell.text, run.source, "exec"), namespace)
                    if PARAMETERS_TAG in cell.head:
                        namespace.update(run.page.parameters)
        if not (files := sorted(Path(new).iterdir())):
            raise ValueError(f"{run.name} writes nothing as {', '.join(formats)}")
        for file in files:
            os.replace(file, folder / file.name)
    return [folder / file.name for file in files]
