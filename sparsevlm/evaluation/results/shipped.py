"""The answers that come with the repository: every record of the profile "mini", in one file.

A line of data/answers.jsonl.xz is one record: run, sessions, scores, predictions. With it anyone
can score answers again or compare methods without a model, take them for the results of a run
(`sparsevlm reproduce --shipped`), and let some be computed again (`sparsevlm verify`).
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sparsevlm.evaluation.paths import DATA
from sparsevlm.evaluation.results.run import EvaluationRun, Record, canonical_json, id_of
from sparsevlm.evaluation.results.store import Store
from sparsevlm.models.atomic import replacing

SHIPPED = DATA / "answers.jsonl.xz"


def write_answers(records: Iterable[Record], path: Path = SHIPPED) -> None:
    """Write records to one compressed file; equal records give the same bytes."""
    lines = []
    for record in records:
        run = record.run
        fields = {
            "run": run.to_json(),
            "sessions": record.sessions,
            "scores": record.scores,
            "predictions": list(record.predictions),
        }
        place = run.model, run.benchmark, run.samples, run.method, run.tokens or 0, run.id
        lines.append((place, canonical_json(fields)))
    # Runs of the same questions lie side by side, which is what compresses them.
    text = "".join(f"{line}\n" for _, line in sorted(lines))
    with replacing(path) as new, lzma.open(new, "wb", preset=9) as file:
        file.write(text.encode())


def read_answers(path: Path = SHIPPED) -> Iterator[Record]:
    """Yield the records of a file of `write_answers`; what they took is not kept.

    Raises
    ------
    FileNotFoundError
        The file is missing.
    """
    for fields in _lines(path):
        yield _record(fields)


def _lines(path: Path) -> Iterator[dict]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _record(fields: dict) -> Record:
    return Record(
        run=EvaluationRun.from_json(fields["run"]),
        predictions=tuple(fields["predictions"]),
        scores=fields["scores"],
        sessions=tuple(fields["sessions"]),
        seconds=0.0,
    )


def take_shipped(runs: Sequence[EvaluationRun], store: Store, path: Path = SHIPPED) -> int:
    """Put the shipped records of these runs into a store that lacks them; return how many.

    A run's id holds the code, the weights and the questions, so what other code has answered is
    not taken, of an older version either.
    """
    wanted = {run.id for run in runs if not store.has(run)}
    taken = 0
    for fields in _lines(path) if wanted else ():
        if id_of(fields["run"]) in wanted:
            record = _record(fields)
            with store.writing(record.run, [row["id"] for row in record.predictions]) as writer:
                for session in record.sessions:
                    writer.start_session(session)
                writer.append(record.predictions)
                writer.finish(record.scores)
            taken += 1
    return taken
