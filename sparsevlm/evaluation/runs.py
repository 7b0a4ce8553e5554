"""The results of a profile: computed where they are missing, read where they are there.

What notebooks, tables and the command line call. Read next: plan.py (which runs a profile has),
pool.py (many of them at a time), workers.py (one of them).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence

from sparsevlm.core.schedule import plain
from sparsevlm.evaluation.backends import EvalBackend, backend_of
from sparsevlm.evaluation.loaded import forget_models
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.evaluation.results.failures import RunError, summarise
from sparsevlm.evaluation.results.run import EvaluationRun, Record
from sparsevlm.evaluation.results.shipped import take_shipped
from sparsevlm.evaluation.results.store import Store
from sparsevlm.miniature.registry import is_slow

WAIT_SECONDS = 2.0  # between two looks at what another process does


def default_jobs(profile: Profile) -> int:
    """Return how many worker processes a profile gets: one per core, at most 8; one on a GPU.

    Several models do not fit on one GPU; several GPUs take shards of the runs.
    """
    return 1 if profile.device == "cuda" else min(os.cpu_count() or 1, 8)


def missing_runs(runs: Iterable[EvaluationRun], store: Store | None = None) -> list[EvaluationRun]:
    """Return the runs that are not finished, each once, in order."""
    store = store or Store()
    return [run for run in dict.fromkeys(runs) if not store.has(run)]


def load_records(
    profile: Profile | str, *, backend: EvalBackend | None = None, store: Store | None = None
) -> list[Record]:
    """Return the record of every run of a profile; reads files only, no torch.

    Predictions are read when they are used.

    Raises
    ------
    FileNotFoundError
        Some runs are not finished; the message says how many and how to run them.
    """
    profile, store = as_profile(profile), store or Store()
    runs = plan_runs(profile, backend=backend, store=store)
    if missing := missing_runs(runs, store):
        raise FileNotFoundError(
            f"{len(missing)} of {len(runs)} results of profile {profile.slug!r} are missing "
            f"(the first: {missing[0].title}); run `sparsevlm reproduce {profile.options}`"
        )
    return [store.load(run) for run in runs]


def ensure_records(
    profile: Profile | str,
    *,
    jobs: int | None = None,
    progress: bool = True,
    backend: EvalBackend | None = None,
    store: Store | None = None,
) -> list[Record]:
    """Return the record of every run of a profile, after running what is missing.

    Results are shared: what another notebook or an earlier, stopped run has answered is not
    answered again, and what another process is at work on is waited for. There are `default_jobs`
    worker processes unless told; the progress is one line: samples done, all samples, time left.

    Raises
    ------
    RunError
        Some runs could not be finished; all others were. The message says why.
    """
    profile, store = as_profile(profile), store or Store()
    backend = backend or backend_of(profile.model)
    runs = plan_runs(profile, backend=backend, store=store)
    jobs = jobs or default_jobs(profile)
    if failed := execute_runs(runs, store, jobs, progress, backend=backend):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise RunError(
            f"{len(missing_runs(runs, store))} of {len(runs)} results could not be made, all "
            f"others are kept, and the same command goes on from there. {reasons}"
        )
    return [store.load(run) for run in runs]


def execute_runs(
    runs: Sequence[EvaluationRun],
    store: Store | None = None,
    jobs: int = 1,
    progress: bool = True,
    *,
    backend: EvalBackend,
) -> dict[str, str]:
    """Run what is not finished, in worker processes of one thread each.

    Of a slow miniature, what the same code has answered is taken from the repository first.
    The backend is that of the profile that the runs were planned for (`backends.backend_of`).

    Returns
    -------
    dict of str
        What failed, a run or a sample, with the reason; everything else is finished.

    Raises
    ------
    RunError
        The disk is full, a worker died, or the code at hand is not what the runs were planned
        with. What was answered is kept.
    ValueError
        `jobs` is not a positive integer.
    """
    from tqdm import tqdm

    from sparsevlm.evaluation.pool import run_all

    jobs = plain(jobs)
    if type(jobs) is not int or jobs < 1:
        raise ValueError(f"jobs must be a positive integer, got {jobs!r}")
    store = store or Store()
    store.tidy()
    take_shipped([run for run in runs if is_slow(run.model)], store)
    todo = missing_runs(runs, store)
    if not todo:  # no bar either: most notebooks find everything at hand
        return {}
    forget_models()
    failed: dict[str, str] = {}
    unfinished = []
    samples = sum(run.num_samples for run in todo)
    # In a file, of a run of days, every update is a line.
    often = 1 if sys.stderr.isatty() else 10
    with tqdm(total=samples, unit="samples", disable=not progress, mininterval=often) as bar:
        while todo:
            outcome = run_all(todo, store, min(jobs, len(todo)), backend, bar)
            failed |= outcome.failed
            unfinished += outcome.unfinished
            for run in outcome.busy:
                bar.set_description(f"waiting for another process: {run.title}")
                _wait_for_other(run, store)
            todo = missing_runs(outcome.busy, store)  # what it left unfinished is ours
    return failed | summarise(unfinished)


def _wait_for_other(run: EvaluationRun, store: Store) -> None:
    """Return when a run is finished, or the process that works on it is gone."""
    from filelock import FileLock, Timeout

    while not store.has(run):
        try:
            with FileLock(store.path(run.id, "lock"), timeout=0):
                return
        except Timeout:
            time.sleep(WAIT_SECONDS)
