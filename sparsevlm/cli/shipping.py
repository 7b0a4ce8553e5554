"""What the repository shows and ships: taken from a finished run, and checked against this code.

A run writes to `figures/mini/`, `artifacts/` and `results/`, which git ignores. `sparsevlm publish`
(for maintainers) copies figures and tables of the profile "mini" to `figures/` and writes CLAIMS.md
and data/answers.jsonl.xz. `sparsevlm verify` scores all those answers again and makes some anew.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.cli.suite import Plan
from sparsevlm.evaluation.asking import answer_rows, batches_of
from sparsevlm.evaluation.backends import backend_of, versioned_samples
from sparsevlm.evaluation.paths import FIGURES, ROOT, relative
from sparsevlm.evaluation.results.record_files import result_row
from sparsevlm.evaluation.results.run import Record, canonical_json
from sparsevlm.evaluation.results.shipped import SHIPPED, read_answers, write_answers
from sparsevlm.models.atomic import write_text
from sparsevlm.paper.claims import page as claims_page
from sparsevlm.paper.claims.collect import collect
from sparsevlm.paper.claims.file import PUBLISHED

PROVENANCE = re.compile(rb"<metadata>.*?</metadata>|\b[0-9a-f]{7,40}\b", re.DOTALL)


def publish(plan: Plan) -> None:
    """Replace the figures, claims and answers that the repository shows by those of profile "mini".

    Raises
    ------
    RuntimeError
        Something of the profile is not done, so that nothing was changed.
    """
    if due := [one.name for one in plan.notebooks if not one.is_done()]:
        raise RuntimeError(
            f"{len(due)} of {len(plan.notebooks)} notebooks of profile 'mini' are not done (the "
            f"first: {due[0]}); run `sparsevlm reproduce` before they are published"
        )
    stamps = [one.output(".stamp.json").read_text(encoding="utf-8") for one in plan.notebooks]
    written = [ROOT / path for stamp in stamps for path in json.loads(stamp)["outputs"]]
    own = FIGURES / plan.profile.slug
    shown = {FIGURES / path.name: path for path in written if path.parent == own}
    for old in FIGURES.iterdir():
        if old.is_file() and old not in shown:
            old.unlink()
    # A figure is replaced whole, and only where something in it is new: not for other run ids.
    changed = {_figure(target) for target, source in shown.items() if _differs(target, source)}
    for target, source in shown.items():
        if _figure(target) in changed:
            shutil.copyfile(source, target)
    write_text(PUBLISHED, claims_page.page(collect()))
    write_answers(map(plan.store.load, plan.runs), SHIPPED)
    print(
        f"figures/: {len(changed)} of {len(set(map(_figure, shown)))} figures and tables are new; "
        f"CLAIMS.md; {relative(SHIPPED)}: {len(plan.runs)} runs"
    )


def _figure(path: Path) -> str:
    return path.name.partition(".")[0]


def _differs(target: Path, source: Path) -> bool:
    """Whether what is drawn, a number or a text is another one; PNG and PDF are as the SVG."""
    if not target.exists():
        return True
    if target.suffix not in (".svg", ".csv", ".md"):
        return False
    old, new = (PROVENANCE.sub(b"", path.read_bytes()) for path in (target, source))
    return old != new


def verify(batches: int, seed: int, path: Path = SHIPPED) -> bool:
    """Score all shipped answers again, and compute some batches again; return whether all agree.

    The batches are drawn from all of all runs, by `seed`.
    """
    records = list(read_answers(path))
    answers = sum(len(record.predictions) for record in records)
    wrong = [record.run.title for record in records if not _scores_agree(record)]
    for title in wrong:
        print(f"{title}: its answers give other scores now")
    print(f"scored again: {answers} answers of {len(records)} runs, {len(wrong)} runs differ")

    weights = [len(record.predictions) for record in records]
    draw = random.Random(seed)
    chosen = draw.choices(records, weights, k=batches)
    chosen.sort(key=lambda record: record.run.model)  # each model is loaded once
    again, differ = 0, 0
    for record in chosen:
        rows = _computed_again(record, draw)
        kept = {row["id"]: row for row in record.predictions}
        for row in rows:
            before = kept[row["id"]]
            if canonical_json(row) != canonical_json(before):
                differ += 1
                print(f"{record.run.title}: {row['id']} was {_told(before)}, is {_told(row)}")
        again += len(rows)
    print(
        f"computed again: {again} answers in {batches} batches, seed {seed}: prompt, answer and "
        f"tokens per layer of {differ} differ in some byte"
    )
    return not wrong and not differ


def _scores_agree(record: Record) -> bool:
    found = get_benchmark(record.run.benchmark).score(record.predictions)
    return canonical_json(found) == canonical_json(record.scores)


def _computed_again(record: Record, draw: random.Random) -> Sequence[dict]:
    """One batch of a run, asked anew: its rows without what a clock said."""
    run = record.run
    backend = backend_of(run.model)
    run = replace(run, revision=backend.revision(run.model))
    asked = run.model, run.benchmark, run.num_samples, run.seed
    samples, _ = versioned_samples(backend, *asked)
    batch = draw.choice(list(batches_of(samples, run.batch)))
    return list(map(result_row, answer_rows(run, batch, backend)))


def _told(row: dict) -> str:
    left = sum(row["tokens_out"]) / len(row["tokens_out"])
    return f"{row['prediction']!r} ({left:.1f} visual tokens left)"
