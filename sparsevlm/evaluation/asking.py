"""Asking the samples of one run, batch by batch, in smaller batches where memory is short."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

import torch

from sparsevlm.benchmarks import Sample
from sparsevlm.evaluation.answer import InputError, answer, inputs_on
from sparsevlm.evaluation.backends import EvalBackend
from sparsevlm.evaluation.results.failures import Failure, RunError
from sparsevlm.evaluation.results.run import EvaluationRun, canonical_json
from sparsevlm.evaluation.results.store import Writer
from sparsevlm.evaluation.shared_prefix import SharedPrefix
from sparsevlm.models.placement import no_progress_bar

Report = Callable[[int], None]  # called with the number of samples just done


class Asking:
    """Answers the open samples of a run, in smaller batches where memory is short.

    Parameters
    ----------
    run, backend, writer, report
        See `execute_together`.
    shared
        Remembers for all runs of the same questions.
    """

    def __init__(
        self,
        run: EvaluationRun,
        backend: EvalBackend,
        writer: Writer,
        report: Report,
        shared: SharedPrefix,
    ) -> None:
        self._run, self._backend, self._shared = run, backend, shared
        self._writer, self._report = writer, report
        self._size = run.batch
        self._failures: dict[str, Failure] = {}

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What could not be answered so far."""
        return tuple(self._failures.values())

    def ask(self, samples: Sequence[Sample]) -> Iterator[None]:
        """Answer all that is open; pauses after every batch."""
        self._shared.install(*_ready(self._backend, self._run)[:2])
        for batch in batches_of(samples, self._run.batch):
            # A batch that was half kept is answered whole again, so that its padding, and with it
            # the last digits of every number, are those of a run that was never stopped. Rows of
            # a smaller batch, as a broken image leaves them, are replaced then.
            start = 0
            while start < len(batch):
                part = [s for s in batch[start : start + self._size] if s.id not in self._failures]
                if not self._open_ids(part) or self._is_settled(part):
                    start += self._size
            yield

    def _open_ids(self, part: Sequence[Sample]) -> set[str]:
        return {sample.id for sample in part} - self._writer.rows.keys()

    def _is_settled(self, part: Sequence[Sample]) -> bool:
        """Answer and keep a part of a batch; False asks for another try, smaller or without some.

        After every False the size or the number of samples left is smaller.
        """
        try:
            rows = answer_rows(self._run, part, self._backend)
        except InputError as error:
            self._leave_out_unreadable(part, error)
            return False
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error).strip().partition("\n")[0]
        else:
            kept, open_ids = self._writer.rows, self._open_ids(part)
            self._writer.append(
                [r for r in rows if r["id"] in open_ids or kept[r["id"]]["batch"] != r["batch"]]
            )
            self._report(len(open_ids))
            return True
        self._shrink(part, reason)  # here, because the error holds the tensors of its frames
        return False

    def _leave_out_unreadable(self, part: Sequence[Sample], error: InputError) -> None:
        model, builder, _ = _ready(self._backend, self._run)
        before = len(self._failures)
        for sample in part:
            try:
                inputs_on(
                    model, builder, [sample.question], _media(self._backend, self._run, [sample])
                )
            except InputError as reason:
                self._fail(sample, str(reason))
            except MemoryError:  # it is asked again without those
                continue
        if len(self._failures) == before:
            raise error  # each can be read alone, so it is not the images

    def _shrink(self, part: Sequence[Sample], reason: str) -> None:
        self._shared.forget()
        free_memory()
        if len(part) == 1:
            self._fail(
                part[0],
                f"memory runs out even when it is asked alone ({reason}); end other programs, "
                "take fewer --jobs, or a larger machine",
            )
            return
        self._size = len(part) // 2
        self._writer.note(
            {"kind": "out of memory", "samples": [s.id for s in part], "reason": reason,
             "batch": len(part), "smaller_batch": self._size}
        )  # fmt: skip

    def _fail(self, sample: Sample, reason: str) -> None:
        failure = Failure(sample.id, sample.media, reason)
        self._failures[sample.id] = failure
        self._writer.note({"kind": "no answer", **asdict(failure)})


def batches_of(samples: Sequence[Sample], size: int) -> Iterator[list[Sample]]:
    """Yield at most `size` samples at a time, questions of equal length side by side.

    A batch at least half full ends where the length changes, so most need no padding and no mask.
    """

    def length(sample: Sample) -> int:
        return len(sample.question.split())

    batch: list[Sample] = []
    for _, alike in groupby(sorted(samples, key=length), length):
        for sample in alike:
            batch.append(sample)
            if len(batch) == size:
                yield batch
                batch = []
        if len(batch) >= max(1, size / 2):
            yield batch
            batch = []
    if batch:
        yield batch


def answer_rows(run: EvaluationRun, batch: Sequence[Sample], backend: EvalBackend) -> list[dict]:
    """Return one row per sample: what the pruned model says, and what it cost.

    Raises
    ------
    InputError
        A question or an image cannot be made into inputs.
    RunError
        The weights or the pruner are not those that the run names.
    """
    start = time.perf_counter()
    model, builder, pruner = _ready(backend, run)
    answers = answer(
        model,
        builder,
        [sample.question for sample in batch],
        _media(backend, run, batch),
        pruner,
        max_new_tokens=run.max_new_tokens,
    )
    seconds = (time.perf_counter() - start) / len(batch)
    return [
        {
            **sample.to_json(),
            "prompt": said.prompt,
            "prediction": said.text,
            "tokens_in": list(said.trace.tokens_in),
            "tokens_out": list(said.trace.tokens_out),
            "text_tokens": said.num_text,
            "seconds": round(seconds, 6),
            "batch": len(batch),
        }
        for sample, said in zip(batch, answers, strict=True)
    ]


def _media(backend: EvalBackend, run: EvaluationRun, batch: Sequence[Sample]) -> list:
    try:
        return list(backend.media(run.model, batch))
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from error


def _ready(backend: EvalBackend, run: EvaluationRun):
    model, builder = _loaded(backend, run.model, run.revision, run)
    pruner = backend.sizes(run.model).pruner(run.method, run.tokens)
    if canonical_json(pruner.to_json()) != run.pruner:
        raise RunError(
            f"{run.method!r} has other settings than {run.title} names; plan the runs again"
        )
    return model, builder, pruner


_models: dict = {}


def _loaded(backend: EvalBackend, model: str, revision: str, run: EvaluationRun):
    """Return model and builder, loaded once per process and kept until others are asked for."""
    key = (repr(backend), model, revision, run.dtype, run.attention, run.device)
    if key not in _models:
        if backend.revision(model) != revision:
            raise RunError(
                f"the weights of {model!r} have changed since {run.title} was named; "
                "plan the runs again"
            )
        _models.clear()
        _models[key] = _load(backend, run)
    return _models[key]


def _load(backend: EvalBackend, run: EvaluationRun):
    try:
        with no_progress_bar():
            return backend.load(
                run.model, dtype=run.dtype, attention=run.attention, device=run.device
            )
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise RunError(
            f"not enough memory to load {run.model!r} on {run.device} ({error}); end other "
            "programs, take fewer --jobs, or load it in 4 bits (docs/a100.md)"
        ) from None


# In the words of torch's allocators for CUDA and the CPU (Linux, Windows) and of cuBLAS. Only the
# first has an exception of its own, and not on every way.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the GPU's or the machine's, ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def free_memory() -> None:
    """Return unused memory to the device.

    Call it outside of the ``except`` block: while an error is handled, its traceback holds the
    tensors of every frame.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
