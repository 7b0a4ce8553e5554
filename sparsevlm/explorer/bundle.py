"""Record the traces that come with the repository: `sparsevlm bundle`.

To be run again when the miniature is trained anew; `Desk.put` ignores traces of other weights.
"""

from __future__ import annotations

from pathlib import Path

from sparsevlm.explorer.run import Ask, Session
from sparsevlm.explorer.samples import sample_pictures
from sparsevlm.explorer.session import COMPARED, TRACES, Desk

BUDGETS = (64, 128, 192)
COMPARED_AT = 64


def asks(questions: tuple[str, ...]) -> list[Ask]:
    """What is recorded of a picture: the first two questions, every method at one budget."""
    wanted = []
    for question in questions[:2]:
        wanted += [Ask(question, "sparsevlm", tokens) for tokens in BUDGETS]
        wanted += [Ask(question, name, COMPARED_AT) for name in COMPARED if name != "sparsevlm"]
    return wanted


def record(name: str, desk: Desk) -> Session:
    """Ask the model all of it, whatever is recorded already.

    Parameters
    ----------
    name
        A sample picture of kind "miniature".
    desk
        With the miniature.
    """
    sample = sample_pictures()[name]
    picture = desk.put(name)
    found = [desk.engine().ask(picture, ask) for ask in asks(sample.questions)]
    return Session(desk.engine().model, picture, found[0][1], tuple(run for run, _ in found))


def main(folder: Path = TRACES) -> None:
    """Write one file per miniature scene."""
    desk = Desk("mini")
    for sample in sample_pictures().values():
        if sample.kind == "miniature":
            path = record(sample.name, desk).save(folder / f"{sample.name}.json.gz")
            print(f"{path.name}: {path.stat().st_size} bytes")
