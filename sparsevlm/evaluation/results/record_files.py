"""The two files of a finished run: what came out, and how it was made.

    ID.json       run, scores and predictions: the same bytes however often the run was stopped
    ID.run.json   sessions with what happened in them, seconds, and the batch of every answer

Both begin with a line that holds all but the rows, so a table reads a record by its first lines,
and the rows on demand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sparsevlm.evaluation.results.failures import RunError
from sparsevlm.evaluation.results.run import EvaluationRun, Record, canonical_json

FORMAT = 2
OF_THE_RUN = ("seconds", "batch")  # fields of a row that are no result
RECORDS_IN_MEMORY = 8  # rows of the last records stay; a table looks at a handful at a time
_END = b"\n]}\n"


def result_row(row: Mapping) -> dict:
    """Return the fields of a row that are a result: all but what a clock or the batch says."""
    return {key: row[key] for key in row if key not in OF_THE_RUN}


def result_text(run: EvaluationRun, scores: Mapping, rows: Iterable[Mapping]) -> str:
    """Return the text of ID.json, one row per line."""
    kept = list(map(result_row, rows))
    head = {"format": FORMAT, "id": run.id, "run": run.to_json(), "scores": dict(scores)}
    return _text({**head, "rows": len(kept)}, "predictions", kept)


def run_text(run: EvaluationRun, sessions: Sequence[Mapping], rows: Sequence[Mapping]) -> str:
    """Return the text of ID.run.json, one row per line."""
    seconds = float(sum(row.get("seconds", 0.0) for row in rows))
    head = {"format": FORMAT, "id": run.id, "sessions": list(sessions), "seconds": seconds}
    named = ("id", *OF_THE_RUN)
    return _text(head, "answers", [{key: row[key] for key in named if key in row} for row in rows])


def _text(head: Mapping, name: str, rows: Sequence[Mapping]) -> str:
    lines = ",\n".join(map(canonical_json, rows))
    return f'{canonical_json(head)[:-1]},\n"{name}":[\n{lines}\n]}}\n'


def read_record(result: Path, run: Path) -> Record:
    """Return a record without reading its rows; `Rows` does when they are used.

    Raises
    ------
    FileNotFoundError
        There is no result.
    RunError
        A file is damaged, of another version, or not there.
    """
    head = _head(result)
    try:
        made = _head(run)
        if head["format"] != FORMAT:
            raise ValueError(f"written by another version, format {head['format']}")
        return Record(
            run=EvaluationRun.from_json(head["run"]),
            predictions=Rows(result, head["rows"]),
            scores=head["scores"],
            sessions=tuple(made["sessions"]),
            seconds=made["seconds"],
        )
    except FileNotFoundError:
        raise _damaged(result, f"{run.name}, which belongs to it, is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(result, error) from error


def _damaged(path: Path, why: object) -> RunError:
    return RunError(f"{path} is damaged ({why}); delete it and run `sparsevlm reproduce`")


def _head(path: Path) -> dict:
    with path.open("rb") as file:
        line = file.readline()
        file.seek(max(0, path.stat().st_size - len(_END)))
        end = file.read()
    try:
        if not line.endswith(b",\n") or end != _END:
            raise ValueError("a part of it is missing")
        return json.loads(line[:-2] + b"}")
    except ValueError as error:
        raise _damaged(path, error) from error


class Rows(Sequence):
    """The predictions in a finished file, as a sequence of dicts; read when they are first used."""

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        return self._rows()[index]

    def __iter__(self):
        return iter(self._rows())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def _rows(self) -> tuple[dict, ...]:
        rows = _read_rows(self._path, self._path.stat().st_mtime_ns)
        if len(rows) != self._count:
            raise _damaged(self._path, f"{len(rows)} rows of {self._count}")
        return rows


@lru_cache(maxsize=RECORDS_IN_MEMORY)
def _read_rows(path: Path, changed: int) -> tuple[dict, ...]:
    """Read the rows; `changed`, the time of the last change, keeps a newer file apart."""
    try:
        return tuple(json.loads(path.read_text(encoding="utf-8"))["predictions"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
