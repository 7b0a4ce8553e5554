"""Reading the official folder of a benchmark, with errors that help.

Every loader reads the layout that LLaVA's evaluation scripts use, `playground/data/eval/FOLDER`, so
that a folder prepared for those scripts works here unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sparsevlm.benchmarks.datasets.declared import PART, Part
from sparsevlm.models.atomic import replacing
from sparsevlm.models.checkpoints.places import room_for

SHORT_ANSWER = "Answer the question using a single word or phrase."
LETTER_ANSWER = "Answer with the option's letter from the given choices directly."
PICTURE_KINDS = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"RI": ".webp"}
ASKED = ("question_id", "image", "text")  # keys of a line of LLaVA's own files of questions


class DataError(ValueError):
    """The data on disk are not what the official layout has; the message says what to do."""


def part_of(folder: str | Path) -> Part | None:
    """Return which part of its benchmark a folder says to hold; None for the whole.

    Raises
    ------
    DataError
        The file that says it is damaged.
    """
    path = Path(folder) / PART
    try:
        return TypeAdapter(Part).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f'{path} must be like {{"rows": 14233, "note": "questions about images only"}}; '
            f"{where}: {first['msg']}"
        ) from error


def read_json(path: Path):
    """Return the JSON of a file.

    Raises
    ------
    DataError
        It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); download it again") from error


def read_jsonl(path: Path, keys: Sequence[str] = ASKED) -> list[dict]:
    """Return the objects of a file with one JSON object per line; blank lines are ignored.

    Raises
    ------
    DataError
        A line is no object, or lacks one of `keys`.
    """
    # Not splitlines: a line may hold other marks that Unicode counts as ends of lines.
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        where = f"line {number} of {path}"
        try:
            if line.strip():
                rows.append(require_keys(json.loads(line), keys, where))
        except json.JSONDecodeError as error:
            raise DataError(f"{where} is not JSON ({error}); download the file again") from error
    return rows


def require_keys(row: object, keys: Sequence[str], where: str) -> dict:
    """Return `row`, which must be an object with these keys.

    Raises
    ------
    DataError
        It is not; the message names what is lacking.
    """
    if not isinstance(row, dict) or not set(keys) <= row.keys():
        lacking = [key for key in keys if not isinstance(row, dict) or key not in row]
        raise DataError(f"{where} must be an object with {', '.join(keys)}; {lacking} missing")
    return row


def require_one_of(value: object, known: Sequence, where: str) -> object:
    """Return `value`, a reference, which must be one of `known`; nothing else could be met.

    Raises
    ------
    DataError
        It is not.
    """
    if isinstance(value, bool) or value not in known:
        raise DataError(
            f"{where} has the answer {value!r}, not one of {', '.join(map(repr, known))}"
        )
    return value


def require_same_ids(asked: Iterable[str], answered: Iterable[str], files: tuple[str, str]) -> None:
    """Raise `DataError` unless the questions asked are those that have an answer.

    Source
    ------
    LLaVA's scorers count an annotated question that was not asked as wrong. Difference: such data
    are refused here, for their score would say something about the files only.
    """
    asked, answered = set(asked), set(answered)
    for these, others, (first, second) in (
        (asked, answered, files),
        (answered, asked, files[::-1]),
    ):
        if lacking := sorted(these - others):
            raise DataError(
                f"{len(lacking)} of {len(these)} questions in {first} are not in {second} "
                f"(such as {lacking[0]!r}); the two must be of one version of the data"
            )


def numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield each name with how many equal ones came before it."""
    seen: Counter[str] = Counter()
    for name in names:
        yield name, seen[name]
        seen[name] += 1


def write_picture(content: bytes, folder: Path, images: str) -> str:
    """Write an image from a table into the folder of a benchmark, once, and return its place.

    It is named by its content, so that equal images share one file.
    """
    kind = next((kind for start, kind in PICTURE_KINDS.items() if content.startswith(start)), "")
    place = f"{images}/{hashlib.sha256(content).hexdigest()[:20]}{kind}"
    write_file(folder / place, content)
    return place


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, unless one of the same size is there.

    Raises
    ------
    CheckpointError
        The disk is full, or the folder cannot be written.
    """
    if path.exists() and path.stat().st_size == len(content):
        return
    with room_for(path), replacing(path, many=True) as partial:
        partial.write_bytes(content)
