"""Is what is shipped what this code computes? Scores of all answers, and some answers again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sparsevlm.benchmarks import get_benchmark
from sparsevlm.evaluation.backends import backend_of, versioned_samples
from sparsevlm.evaluation.results.record_files import result_row
from sparsevlm.evaluation.results.run import Record, canonical_json
from sparsevlm.evaluation.results.shipped import SHIPPED, read_answers


def verify(
    batches: int, seed: int, path: Path = SHIPPED, say: Callable[[str], object] = print
) -> bool:
    """Score all shipped answers again, and compute some batches again; return whether all agree.

    Parameters
    ----------
    batches : int
        Drawn from all batches of all runs.
    seed : int
        Of the draw.
    path : Path
        A file of `shipped.write_answers`.
    say : callable
        Gets a line for what differs, and for each of the two parts.
    """
    records = list(read_answers(path))
    answers = sum(len(record.predictions) for record in records)
    wrong = [record.run.title for record in records if not _scores_agree(record)]
    for title in wrong:
        say(f"{title}: its answers give other scores now")
    say(f"scored again: {answers} answers of {len(records)} runs, {len(wrong)} runs differ")

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
                say(f"{record.run.title}: {row['id']} was {_told(before)}, is {_told(row)}")
        again += len(rows)
    say(
        f"computed again: {again} answers in {batches} batches, seed {seed}: prompt, answer and "
        f"tokens per layer of {differ} differ in some byte"
    )
    return not wrong and not differ


def _scores_agree(record: Record) -> bool:
    found = get_benchmark(record.run.benchmark).score(record.predictions)
    return canonical_json(found) == canonical_json(record.scores)


def _computed_again(record: Record, draw: random.Random) -> Sequence[dict]:
    """One batch of a run, asked anew: its rows without what a clock said."""
    from sparsevlm.evaluation.asking import answer_rows, batches_of

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
