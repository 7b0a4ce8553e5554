"""A folder to send: the trace, the session, a picture of it, and the code to get it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sparsevlm.evaluation.paths import ARTIFACTS
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.evaluation.results.run import digest
from sparsevlm.explorer.run import Ask, Run, Session
from sparsevlm.runtime.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = ARTIFACTS / "explorer"

_CODE = '''"""Get this session of the explorer back; run it from the repository."""

from pathlib import Path

from sparsevlm.explorer import explore
from sparsevlm.explorer.session import Desk
from sparsevlm.explorer.run import Ask

HERE = Path(__file__).parent if "__file__" in globals() else Path(".")

# In a notebook: the explorer as it was, from the recorded answers.
explorer = explore({profile!r}, model={model!r}, session=str(HERE / "session.json.gz"))

# Without the recording: the same picture and question, answered again by {name}.
desk = Desk({profile!r}, {model!r})
desk.load(HERE / "session.json.gz")
run, _ = desk.engine().ask(desk.picture, {ask})
print("dense: ", *(token.text for token in run.dense))
print("pruned:", *(token.text for token in run.pruned))
'''


def save_share(
    session: Session,
    run: Run,
    figure: Figure,
    *,
    profile: str = "mini",
    checkpoint: str = "",
    folder: Path = FOLDER,
) -> Path:
    """Write a shared session.

    Parameters
    ----------
    session, run
        What is on the desk, and the run that is looked at.
    figure
        Its static twin.
    profile, checkpoint
        With which the explorer was opened.
    folder
        In which a folder of its own is made, named after method, budget and content.

    Returns
    -------
    Path
        The folder: ``trace.json.gz`` (`sparsevlm.Trace.load`), ``session.json.gz``, ``again.py``
        and ``picture.png``, ``.pdf`` and ``.svg`` (in a folder of the profile, but for "mini").

    Raises
    ------
    ValueError
        If trace or session would be larger than 1 MB.
    """
    from sparsevlm.analysis.style import save_figure

    ask = run.ask
    name = f"{ask.method}-{ask.tokens or 'all'}-{digest(repr(ask), session.picture.title)[:8]}"
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    session.save(target / "session.json.gz")
    Trace(run.pruner, [run.sample]).save(target / "trace.json.gz")
    save_figure(figure, "picture", profile, folder=target)
    write_text(target / "again.py", code(session, ask, profile, checkpoint))
    return target


def code(session: Session, ask: Ask, profile: str, checkpoint: str) -> str:
    """The lines that bring a session back."""
    # The checkpoint may be a folder of this machine; its name is all that is written down.
    model = session.model.name if checkpoint else ""
    return _CODE.format(profile=profile, model=model, name=session.model.name, ask=repr(ask))
