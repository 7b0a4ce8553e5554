"""The way back: predictions in the files that the official scorers and servers take."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from jinja2 import Template

from sparsevlm.benchmarks.counting import Row
from sparsevlm.benchmarks.datasets.declared import FILE
from sparsevlm.benchmarks.loaders import mmbench
from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.models.atomic import replacing

# What LLaVA's `convert_mmbench_for_submission.py` leaves out, and where the answers go.
LEFT_OUT = ("hint", "category", "source", "image", "comment", "l2-category")
PREDICTION_COLUMN = 6
WORKBOOK = FILE.with_name("workbook.yaml")
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same bytes


def gqa(rows: Sequence[Row], folder: Path) -> bytes:
    """Return `testdev_balanced_predictions.json` for GQA's eval.py.

    Source
    ------
    LLaVA `scripts/convert_gqa_for_eval.py`. Difference: none.
    """
    answers = [
        {"questionId": row["id"], "prediction": row["prediction"].rstrip(".").lower()}
        for row in rows
    ]
    return json.dumps(answers).encode()


def seed(rows: Sequence[Row], folder: Path) -> bytes:
    """Return the JSON lines of SEED-Bench's leaderboard, ids as its own file writes them.

    Source
    ------
    LLaVA `scripts/convert_seed_for_submission.py`. Difference: the order is that of the rows.
    """
    lines = [
        json.dumps({"question_id": row["id"], "prediction": row["prediction"]}) for row in rows
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def mmvet(rows: Sequence[Row], folder: Path) -> bytes:
    """Return the JSON that MM-Vet's evaluator takes: "v1_0" to the answer.

    Source
    ------
    LLaVA `scripts/convert_mmvet_for_eval.py`. Difference: none.
    """
    return json.dumps({row["id"]: row["prediction"] for row in rows}, indent=2).encode()


def mmbench_sheet(rows: Sequence[Row], folder: Path) -> bytes:
    """Return the .xlsx that the MMBench server takes: the table with a column "prediction".

    Raises
    ------
    DataError
        The table has rows that were not asked; the server wants them all.

    Source
    ------
    LLaVA `scripts/convert_mmbench_for_submission.py`, which lets pandas write it. Difference: the
    header is not bold; characters that a sheet cannot hold are left out.
    """
    answers = {row["id"]: row["prediction"] for row in rows}
    table = mmbench.read_table(folder / mmbench.TABLE)
    if lacking := [row["index"] for row in table if row["index"] not in answers]:
        raise DataError(
            f"{len(lacking)} of {len(table)} rows of {mmbench.TABLE} have no answer (such as "
            f"{lacking[0]}); the server takes complete files only, so ask all samples"
        )
    columns = [name for name in table[0] if name not in LEFT_OUT]
    columns.insert(PREDICTION_COLUMN, "prediction")
    cells = [
        [answers[row["index"]] if name == "prediction" else _cell(row, name) for name in columns]
        for row in table
    ]
    return _xlsx([columns, *cells])


def _cell(row: dict, name: str) -> str | int | None:
    value = row[name]
    if value is None or value in mmbench.EMPTY:
        return None
    return int(value) if name == "index" else value


def _xlsx(rows: Sequence[Sequence[str | int | None]]) -> bytes:
    """Return a workbook of one sheet with texts and whole numbers."""
    rows = [[NOT_IN_XML.sub("", v) if isinstance(v, str) else v for v in row] for row in rows]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in yaml.safe_load(WORKBOOK.read_text(encoding="utf-8")).items():
            page = Template(text, autoescape=True).render(rows=rows)
            archive.writestr(zipfile.ZipInfo(name, WRITTEN), HEAD + page)
    return stream.getvalue()


# Benchmark to (ending of the file, content of rows and the folder of the data).
UPLOADS: dict[str, tuple[str, Callable[[Sequence[Row], Path], bytes]]] = {
    "gqa": (".json", gqa),
    "mmbench": (".xlsx", mmbench_sheet),
    "mmvet": (".json", mmvet),
    "seed": (".jsonl", seed),
}


def write_upload(name: str, rows: Sequence[Row], folder: str | Path, stem: str | Path) -> Path:
    """Write the official file of one of `UPLOADS` for a complete record, and return its path.

    The folder is that of the benchmark's data, as for `load`; the stem is the file without its
    ending.

    Raises
    ------
    DataError
        See `mmbench_sheet`.
    """
    ending, make = UPLOADS[name]
    path = Path(stem).with_name(Path(stem).name + ending)
    with replacing(path) as partial:
        partial.write_bytes(make(rows, Path(folder)))
    return path
