"""One style for every figure: sizes of a paper's columns, a color per method, provenance."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sparsevlm.analysis.survivors import make_drawable
from sparsevlm.evaluation.paths import ROOT
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.results import provenance
from sparsevlm.methods import METHODS, Method
from sparsevlm.models.atomic import replacing, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class MethodStyle(NamedTuple):
    """How a method looks in every figure."""

    color: str
    marker: str | tuple[int, int, int]
    label: str


# The palette of Okabe and Ito (2008), safe for the common color-vision deficiencies; markers tell
# the methods apart without color. Gray for the controls, black for the dense model.
# fmt: off
_LOOKS: dict[str, tuple[str, Any]] = {
    "dense": ("#000000", "*"),
    "sparsevlm": ("#D55E00", "o"),
    "sparsevlm-all-text": ("#56B4E9", "P"),
    "sparsevlm-all-tokens": ("#117733", "d"),
    "sparsevlm-no-recycling": ("#AA4499", "h"),
    "sparsevlm-not-refilled": ("#DDAADD", "H"),
    "sparsevlm-kept-positions": ("#EE8866", (4, 0, 0)),
    "sparsevlm-paper": ("#CC79A7", "D"),
    "sparsevlm-v1.0": ("#882255", "<"),
    "sparsevlm-video": ("#332288", ">"),
    "sparsevlm-plus": ("#44AA99", "p"),
    "fastv": ("#0072B2", "s"), "pdrop": ("#009E73", "^"), "tome": ("#E69F00", "v"),
    "divprune": ("#6A3D9A", "8"), "visionzip": ("#A6761D", (4, 1, 0)),
    "dart": ("#1B7837", (3, 1, 0)),
    "cdpruner": ("#E7298A", (5, 0, 180)), "cdpruner-words": ("#F781BF", (5, 2, 0)),
    "holov": ("#A50026", (6, 1, 0)), "vispruner": ("#08519C", (8, 1, 0)),
    "random": ("#999999", "x"), "uniform": ("#666666", "+"), "pooled": ("#BBBBBB", "X"),
    # Darker than those whose budget is shared.
    "sparsevlm-per-tile": ("#8C2D04", (7, 0, 0)), "fastv-per-tile": ("#023858", (7, 1, 0)),
    "pdrop-per-tile": ("#004D33", (3, 0, 60)), "tome-per-tile": ("#8C510A", (5, 1, 180)),
    "random-per-tile": ("#4D4D4D", (6, 2, 0)),
}
# fmt: on
# For methods that have no look of their own, in the order of `METHODS`.
_SPARE_LOOKS = (("#8C6D31", "1"), ("#7B4173", "2"), ("#3182BD", "3"), ("#B5CF6B", "4"))


def method_styles(methods: Mapping[str, Method]) -> dict[str, MethodStyle]:
    """The look of every method; those without one of their own get a spare one."""
    spare = cycle(_SPARE_LOOKS)
    return {
        name: MethodStyle(*(_LOOKS.get(name) or next(spare)), method.label)
        for name, method in methods.items()
    }


METHOD_STYLE = method_styles(METHODS)

COLUMN_INCHES = {1: 3.25, 2: 6.75}
FORMATS = ("pdf", "png", "svg")
TABLE_FORMATS = ("md", "csv", "html", "tex")
SMALLEST = 6  # points; no text of a figure is smaller
_MARKER_ID = "profile-marker"
STYLE = Path(__file__).parent / "templates" / "style.mplstyle"


@dataclass
class Output:
    """How figures and tables are drawn and written: set in `OUTPUT`.

    Attributes
    ----------
    width : float
        In inches, one of `COLUMN_INCHES`.
    formats : sequence of str
        Of `FORMATS` and `TABLE_FORMATS`; "csv" is also the data of a figure.
    svg_text : bool
        Whether the text of an SVG stays text, for readers that have the font.
    folder : Path, optional
        Where all goes; by default where a profile's figures are.
    """

    width: float = COLUMN_INCHES[2]
    formats: Sequence[str] = (*FORMATS, *TABLE_FORMATS)
    svg_text: bool = False
    folder: Path | None = None

    @property
    def columns(self) -> int:
        """How many columns of a paper a figure may take: 1 or 2."""
        return 2 if self.width >= COLUMN_INCHES[2] else 1


OUTPUT = Output()


def use_style() -> None:
    """Set matplotlib's defaults to those of this suite; call it before a figure is made."""
    from matplotlib import style

    style.use(STYLE)


def folder_of(profile: Profile, folder: str | Path = "figures") -> Path:
    """Return where the figures of a profile go, which git ignores."""
    return OUTPUT.folder or ROOT / folder / profile.slug


def save_figure(
    fig: Figure,
    name: str,
    profile: Profile | str,
    sources: Sequence[str] = (),
    folder: str | Path = "figures",
    data: pd.DataFrame | None = None,
    study: str = "",
) -> list[Path]:
    """Write `fig` as PDF, PNG (300 dpi) and SVG, or those of them in `OUTPUT`, each atomically.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        Saved at its own size: make it as wide as `OUTPUT`. Its label, where it has one, goes into
        the metadata as "about".
    name : str
        The file name without an extension.
    profile : Profile or str
        The profile whose results it shows. Its marker is drawn on the figure, and its files go to
        a folder of its own inside `folder`, which is relative to the repository.
    sources : sequence of str
        Ids of the runs it was drawn from, written into the files' metadata.
    data : DataFrame, optional
        What is plotted; written beside the figure as `NAME.data.csv`, so that it can be read off
        and drawn again. A sidecar of an earlier figure of this name is removed where none is given.
    study : str
        The study (`studies.studies`) whose runs it was drawn from: its model decides the marker.

    Raises
    ------
    ValueError
        If the name carries an extension or a folder, or the profile is unknown.
    """
    import matplotlib

    if not name or Path(name).name != name or Path(name).suffix:
        raise ValueError(f"name must be a file name without folder and extension, got {name!r}")
    chosen = as_profile(profile)
    marker = (chosen.for_study(study) if study else chosen).marker
    if marker:
        _draw_marker(fig, marker)
    make_drawable(fig)
    target = folder_of(chosen, folder)
    note = _note(name, chosen.slug, marker, sources, str(fig.get_label()))
    creator = "sparsevlm-repro"
    metadata = {  # the note under the keys that each format allows
        "png": {"Software": creator, "Description": note},
        "svg": {"Creator": creator, "Description": note, "Date": None},
        "pdf": {"Creator": creator, "Subject": note, "CreationDate": None},
    }
    files = []
    for kind in (kind for kind in FORMATS if kind in OUTPUT.formats):
        path = target / f"{name}.{kind}"
        text = {"svg.fonttype": "none" if OUTPUT.svg_text else "path"}
        with replacing(path) as partial, matplotlib.rc_context(text):
            fig.savefig(partial, dpi=300, metadata={"Title": name, **metadata[kind]})
            if kind == "svg":
                text = Path(partial).read_text(encoding="utf-8")
                Path(partial).write_text(with_stable_ids(text), encoding="utf-8")
        files.append(path)
    sidecar = target / f"{name}.data.csv"
    if data is None or "csv" not in OUTPUT.formats:
        sidecar.unlink(missing_ok=True)
        return files
    # Its bytes depend on its content only: numbers have six significant digits, which is more than
    # a figure shows and less than what differs between processors.
    named = any(name is not None for name in data.index.names)
    text = data.to_csv(index=named, lineterminator="\n", float_format="%.6g")
    write_text(sidecar, text)
    return [*files, sidecar]


def with_stable_ids(svg: str) -> str:
    """Return an SVG whose clip paths are numbered as they come.

    matplotlib names them after unrounded coordinates, whose last bit the layout's solver leaves to
    chance: the same figure would have other bytes from one process to the next.
    """
    names = dict.fromkeys(re.findall(r'<clipPath id="(p[0-9a-f]{10})"', svg))
    number = {name: f"clip{place}" for place, name in enumerate(names, start=1)}
    return re.sub(
        r'(id="|url\(#)(p[0-9a-f]{10})', lambda m: m[1] + number.get(m[2], m[2]), svg
    )  # fmt: skip


def _note(name: str, profile: str, marker: str, sources: Sequence[str], about: str) -> str:
    """Provenance as one line of JSON. No time: the same results give the same file."""
    commit, dirty = provenance.git_state()
    return json.dumps(
        {
            "figure": name,
            "profile": profile,
            "marker": marker,
            "cells": sorted(sources),
            "commit": commit,
            "dirty": dirty,
            "versions": provenance.versions(),
            **({"about": about} if about else {}),
        },
        sort_keys=True,
    )


def _draw_marker(fig: Figure, text: str) -> None:
    """Write `text` small in the lower right corner, below everything else; once."""
    if any(artist.get_gid() == _MARKER_ID for artist in fig.texts):
        return
    # The constrained layout of the axes does not know of the line, so it gets a strip of its own.
    strip = 1.6 * SMALLEST / 72 / fig.get_figheight()
    engine = fig.get_layout_engine()
    if engine is not None and hasattr(engine, "get") and "rect" in engine.get():
        left, bottom, width, height = engine.get()["rect"]
        engine.set(rect=(left, bottom + strip, width, height - strip))
    fig.text(
        0.995, 0.3 * strip, text, ha="right", va="bottom", size=SMALLEST, color="#777777",
        style="italic", gid=_MARKER_ID,
    )  # fmt: skip
