"""Answering the questions of a cell, batch by batch; runs in the worker processes."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from multiprocessing import parent_process

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.reproduce import provenance
from sparsevlm.reproduce.cell import Cell, Record, canonical_json
from sparsevlm.reproduce.sources import Source
from sparsevlm.reproduce.store import CellBusyError, CellError, Store, Writer
from sparsevlm.reproduce.vision_memo import remember_vision

Report = Callable[[int], None]  # called with the number of samples just done


def serve(source: Source, store: Store, tasks, messages) -> None:
    """Run cells from `tasks` until it gives None; the body of a worker process.

    Parameters
    ----------
    source : Source
        Supplies models and questions.
    store : Store
        Takes the results.
    tasks : queue of Cell or None
        What to run.
    messages : queue of (str, object)
        Gets ("samples", number just done), ("done", cell), ("busy", cell), and, before an early
        end, ("stopped", sentence for the user) or ("failed", traceback).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _one_thread()
        while (cell := tasks.get()) is not None:
            try:
                run_cell(cell, store, source, lambda n: messages.put(("samples", n)))
                messages.put(("done", cell))
            except CellBusyError:
                messages.put(("busy", cell))
    except (CellError, OSError) as error:
        messages.put(("stopped", str(error)))
    except Exception:
        messages.put(("failed", traceback.format_exc()))


def _end_with_parent() -> None:
    """Leave when the parent is gone: one that was killed cannot stop us, and we hold locks."""
    parent_process().join()
    os._exit(1)


def _one_thread() -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()  # the parent shows one


def run_cell(cell: Cell, store: Store, source: Source, report: Report) -> Record:
    """Answer what is still open of a cell, and finish it.

    Raises
    ------
    CellError
        The weights, samples or pruner at hand are not those that the cell names; or the store
        refuses (see `Store.writing`).
    """
    samples = _samples(source, cell)
    with store.writing(cell, [sample.id for sample in samples]) as writer:
        report(len(writer.rows))
        if len(writer.rows) < len(samples):
            writer.start_session(provenance.collect())
            _answer_open(cell, samples, writer, source, report)
        rows = [writer.rows[sample.id] for sample in samples]
        return writer.finish(get_benchmark(cell.benchmark).score(rows))


def _answer_open(
    cell: Cell, samples: Sequence[Sample], writer: Writer, source: Source, report: Report
) -> None:
    for batch in _batches(samples, cell.batch):
        open_ids = {sample.id for sample in batch} - writer.rows.keys()
        if not open_ids:
            continue
        # A batch that was half kept is answered whole again, so that its padding, and with it the
        # last digits of every number, are those of a run that was never stopped.
        rows = answer(cell, batch, source)
        writer.append([row for row in rows if row["id"] in open_ids])
        report(len(open_ids))


def _batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _samples(source: Source, cell: Cell) -> list[Sample]:
    samples, version = _versioned_samples(
        source, cell.model, cell.benchmark, cell.num_samples, cell.seed
    )
    if version != cell.samples:
        raise CellError(
            f"the samples of {cell.title} have changed since the cell was named "
            f"({cell.samples}, now {version}); plan the cells again"
        )
    return samples


@lru_cache(maxsize=8)
def _versioned_samples(source: Source, model: str, benchmark: str, n: int, seed: int):
    samples = source.samples(model, benchmark, n, seed)
    return samples, source.version(model, samples)


def answer(cell: Cell, batch: Sequence[Sample], source: Source) -> list[dict]:
    """Return one row per sample: what the pruned model says, and what it cost.

    The texts are padded on the left to one length; decoding is greedy.
    """
    import torch

    from sparsevlm import prune

    start = time.perf_counter()
    model, processor, pruner = _ready(source, cell)
    inputs = {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
        for name, tensor in source.inputs(cell.model, processor, batch).items()
    }
    with torch.inference_mode(), prune(model, pruner) as trace:
        output = model.generate(**inputs, max_new_tokens=cell.max_new_tokens, do_sample=False)
    new_tokens = output[:, inputs["input_ids"].shape[1] :]
    texts = processor.batch_decode(new_tokens, skip_special_tokens=True)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    seconds = (time.perf_counter() - start) / len(batch)
    return [
        {
            **sample.to_json(),
            "prompt": source.prompt(cell.model, sample),
            "prediction": text.strip(),
            "tokens_in": list(seen.tokens_in),
            "tokens_out": list(seen.tokens_out),
            "text_tokens": length - seen.num_visual,
            "seconds": round(seconds, 6),
        }
        for sample, text, seen, length in zip(batch, texts, trace.samples, lengths, strict=True)
    ]


def _ready(source: Source, cell: Cell):
    model, processor = _loaded(source, cell.model, cell.revision, cell)
    from sparsevlm.baselines import make_pruner, options_for

    shape = source.shape(cell.model)
    pruner = make_pruner(
        cell.method,
        tokens=cell.tokens,
        num_layers=shape.num_layers,
        num_visual=shape.num_visual,
        **options_for(cell.method, shape.num_heads, shape.has_mrope),
    )
    if canonical_json(pruner.to_json()) != cell.pruner:
        raise CellError(
            f"{cell.method!r} has other settings than {cell.title} names; plan the cells again"
        )
    return model, processor, pruner


_models: dict = {}


def _loaded(source: Source, model: str, revision: str, cell: Cell):
    """Return model and processor, loaded once per process and kept until another is asked for."""
    key = (repr(source), model, revision, cell.dtype, cell.attention, cell.device)
    if key not in _models:
        if source.revision(model) != revision:
            raise CellError(
                f"the weights of {model!r} have changed since {cell.title} was named; "
                "plan the cells again"
            )
        _models.clear()
        loaded = source.load(cell)
        remember_vision(loaded[0])
        _models[key] = loaded
    return _models[key]
