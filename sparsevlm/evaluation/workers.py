"""Executing runs that ask the same questions, side by side; pool.py does it in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from sparsevlm.benchmarks import Sample, get_benchmark
from sparsevlm.evaluation.asking import Asking, Report
from sparsevlm.evaluation.backends import EvalBackend, versioned_samples
from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.failures import OpenSamplesError, RunBusyError, RunError
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store, Writer
from sparsevlm.evaluation.shared_prefix import SharedPrefix


def execute_together(
    runs: Sequence[EvaluationRun], store: Store, backend: EvalBackend, report: Report
) -> dict[EvaluationRun, Exception]:
    """Execute runs that ask the same questions: every batch for all of them, then the next.

    What they compute alike is computed once a batch (`SharedPrefix`).

    Returns
    -------
    dict of Exception
        Of the runs that are not finished, why: `OpenSamplesError` where some samples cannot be
        answered (all others are, and are kept), `RunBusyError`, or an error of the code that
        answers. None of these stops another run.

    Raises
    ------
    RunError, OSError
        What concerns all of them: the weights, samples or pruner at hand are not those that the
        runs name; the model does not fit into memory; or the store refuses (see `Store.writing`).
    """
    unfinished: dict[EvaluationRun, Exception] = {}
    depths = {run: _unpruned_layers(run, backend) for run in runs}
    # The deeper first: what a run drops early would push out what the others have in common.
    # Then those that look into the vision tower: for them it puts out more than for the others.
    order = sorted(runs, key=lambda run: (-depths[run], _looks_into_tower(run, backend)))
    shared_layers = depths[order[1]] if len(runs) > 1 else 0
    with SharedPrefix(shared_layers) as shared, ExitStack() as opened:
        steps = {
            run: opened.enter_context(closing(_execute(run, store, backend, report, shared)))
            for run in order
        }
        while steps:
            for run in list(steps):
                try:
                    next(steps[run])
                except StopIteration:
                    del steps[run]
                except Exception as error:
                    own = isinstance(error, OpenSamplesError | RunBusyError)
                    if isinstance(error, RunError | OSError) and not own:
                        raise
                    unfinished[run] = error
                    del steps[run]
    return unfinished


def _unpruned_layers(run: EvaluationRun, backend: EvalBackend) -> int:
    """Number of decoder layers that see all visual tokens."""
    sizes = backend.sizes(run.model)
    pruner = sizes.pruner(run.method, run.tokens)
    stages = (layer for layer in range(-1, sizes.layers) if pruner.prunes_after(layer))
    return next(stages, sizes.layers - 1) + 1


def _looks_into_tower(run: EvaluationRun, backend: EvalBackend) -> bool:
    pruner = backend.sizes(run.model).pruner(run.method, run.tokens)
    return getattr(pruner, "needs_tower", False)


def _execute(
    run: EvaluationRun, store: Store, backend: EvalBackend, report: Report, shared: SharedPrefix
) -> Iterator[None]:
    """Answer what is open of a run and finish it; pauses after every batch."""
    samples = _samples(backend, run, store)
    with store.writing(run, [sample.id for sample in samples]) as writer:
        _take_over(run, samples, writer, store, backend)
        report(len(writer.rows))
        if len(writer.rows) < len(samples):
            writer.start_session(provenance.collect())
            asking = Asking(run, backend, writer, report, shared)
            yield from asking.ask(samples)
            if asking.failures:
                writer.leave_open(asking.failures, _versions(backend, run, samples))
                raise OpenSamplesError([(run, asking.failures)])
        rows = [writer.rows[sample.id] for sample in samples]
        writer.finish(get_benchmark(run.benchmark).score(rows))


def _take_over(
    run: EvaluationRun,
    samples: Sequence[Sample],
    writer: Writer,
    store: Store,
    backend: EvalBackend,
) -> None:
    """Keep what a run has that is this one, but for the images that were repaired since."""
    for other, versions in store.left_open(run):
        own = _versions(backend, run, samples)
        same = {name for name in own.keys() - writer.rows.keys() if own[name] == versions.get(name)}
        writer.take_over(other, same)
        store.remove_open(other)


def _versions(
    backend: EvalBackend, run: EvaluationRun, samples: Sequence[Sample]
) -> dict[str, str]:
    return {sample.id: backend.version(run.model, [sample]) for sample in samples}


def _samples(backend: EvalBackend, run: EvaluationRun, store: Store) -> list[Sample]:
    asked = run.model, run.benchmark, run.num_samples, run.seed
    samples, version = versioned_samples(backend, *asked)
    if version != run.samples:
        store.forget_plans()
        raise RunError(
            f"the samples of {run.title} have changed since the run was named "
            f"({run.samples}, now {version}); its plan is thrown away, so run the same command "
            "again. What was answered about unchanged samples is kept"
        )
    return samples
