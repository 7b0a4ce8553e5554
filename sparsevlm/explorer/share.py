"""A folder to send: the trace, the session, its figure, and the code to get it back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Template

from sparsevlm.analysis.style import folder_of, save_figure
from sparsevlm.evaluation.paths import ARTIFACTS
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.run import digest
from sparsevlm.explorer.exploration import SavedSession
from sparsevlm.models.atomic import write_text
from sparsevlm.runtime.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARED = ARTIFACTS / "explorer"

CODE = Path(__file__).with_name("templates") / "again.py.j2"


def save_share(
    session: SavedSession, figure: Figure, profile: Profile, folder: Path = SHARED
) -> Path:
    """Write a shared session into a folder of its own, and return that.

    Its first exploration is the one that is looked at, and `figure` its static twin. The folder is
    named after method, budget, changes by hand and content. It holds ``trace.json.gz``
    (`sparsevlm.Trace.load`), ``session.json.gz``, ``again.py`` and ``figure.png``, ``.pdf`` and
    ``.svg``.

    Raises
    ------
    ValueError
        If the trace, or the session without its picture, would be larger than 1 MB.
    """
    found = session.explorations[0]
    query = found.query
    shown = (session.image.title, *(frame.tobytes() for frame in session.image.frames))
    changed = "" if query.is_plain else "-by-hand"
    name = f"{query.method}-{query.tokens or 'all'}{changed}-{digest(repr(query), *shown)[:8]}"
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    session.save(target / "session.json.gz")
    Trace(found.pruner, [found.trace]).save(target / "trace.json.gz")
    for path in save_figure(figure, "figure", profile, folder=target):
        path.replace(target / path.name)  # out of the profile's folder: there is only one here
    folder_of(profile, target).rmdir()
    # The checkpoint may be a folder of this machine; its name is all that is written down.
    model = session.model.name if profile.chosen_model else ""
    names = {"profile": repr(profile.name), "model": repr(model), "name": session.model.name}
    about = found.about.replace("\\", "\\\\").replace('"', "'")  # inside a docstring
    code = Template(CODE.read_text(encoding="utf-8"), keep_trailing_newline=True)
    write_text(target / "again.py", code.render(**names, query=repr(query), about=about))
    return target


def zipped(folder: Path) -> bytes:
    """Everything in a shared folder as one file, to be downloaded."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"{folder.name}/{path.name}")
    return buffer.getvalue()
