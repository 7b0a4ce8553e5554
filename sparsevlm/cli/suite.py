"""The whole reproduction: the evaluation runs that are missing, then the notebooks that changed."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import active_children, get_context

from sparsevlm.cli import runner
from sparsevlm.cli.runner import NotebookError, NotebookRun
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.judges.records import verdict_paths
from sparsevlm.evaluation.paths import relative
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.pool import ignore_ctrl_c, starting_deaf
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.failures import RunError
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import execute_runs, missing_runs
from sparsevlm.evaluation.studies import studies_of
from sparsevlm.paper.notebooks import declared_parameters, notebooks_of, source_path
from sparsevlm.paper.page import Page, open_page
from sparsevlm.paper.parameters import from_text

SHOWN_FIRST = "figure_6"  # the figure with which README opens
SLOWEST = ("figure_7", "attention_maps", "tour", "your_method")  # ask a model longest, so not last


@dataclass(frozen=True)
class Plan:
    """What a run of the suite consists of: runs that the notebooks need, notebooks in their order.

    The store knows which of the runs are missing.
    """

    profile: Profile
    runs: tuple[EvaluationRun, ...]
    notebooks: tuple[NotebookRun, ...]
    store: Store

    def due(self) -> list[str]:
        """Return what would run, one line each for evaluation runs and notebooks."""
        missing = missing_runs(self.runs, self.store)
        samples = sum(run.num_samples for run in missing)
        names = [notebook.name for notebook in self.notebooks if not notebook.is_done()]
        return [
            f"runs: {len(missing)} of {len(self.runs)}, {samples} samples",
            f"notebooks: {len(names)} of {len(self.notebooks)}: {', '.join(names) or 'none'}",
        ]


@dataclass
class Outcome:
    """What a run of the suite did: notebooks that were run, and that had nothing to do.

    `failed` says why, by run or notebook; all others were run all the same.
    """

    executed: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def make_plan(
    profile: Profile,
    names: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
    store: Store | None = None,
) -> Plan:
    """Check what is asked for and lay it out; nothing runs.

    Parameters
    ----------
    names : sequence of str
        Notebooks; none means all that can be run with the profile.
    overrides : mapping of str to str
        Parameters as typed on the command line. Every notebook asked for has to declare each.

    Raises
    ------
    ValueError
        If a notebook or a parameter is not known, a value has the wrong type, or a notebook is
        about another profile.
    NotImplementedError
        If the profile cannot run yet.
    """
    overrides, store = overrides or {}, store or Store()
    for name in ("profile", "limit", "model"):
        if name in overrides:
            raise ValueError(f"the {name} is chosen with --{name}, not with -p")
    names = list(dict.fromkeys(names)) or notebooks_of(profile.name)
    pages = [_page(name, profile, overrides) for name in names]
    wanted = dict.fromkeys(study for name in names for study in studies_of(name))
    planned = {study: plan_runs(profile.for_study(study), store=store) for study in wanted}
    notebooks = []
    for page in pages:
        ids = [run.id for study in studies_of(page.name) for run in planned[study]]
        verdicts = [path for run_id in ids for path in verdict_paths(run_id, store)]
        notebooks.append(NotebookRun(page, tuple(ids), verdicts=tuple(verdicts)))
    runs = dict.fromkeys(run for study in wanted for run in planned[study])
    return Plan(profile, tuple(runs), tuple(notebooks), store)


def _page(name: str, profile: Profile, overrides: Mapping[str, str]) -> Page:
    declared = declared_parameters(source_path(name))
    given: dict[str, object] = {"profile": profile.name}
    if profile.limit:
        given["limit"] = profile.limit
    if profile.chosen_model:
        given["model"] = profile.model
    for key, text in overrides.items():
        given[key] = from_text(text, declared[key]) if key in declared else text
    return open_page(name, given)


def shard(plan: Plan, part: int, parts: int) -> Plan:
    """Return one of several equal parts of the evaluation runs, and no notebook.

    Part 1 of 4 has runs 1, 5, 9, ...: methods and benchmarks of every kind, so that the parts take
    about the same time. What is finished does not change the parts.
    """
    return replace(plan, runs=plan.runs[part - 1 :: parts], notebooks=())


def run_plan(plan: Plan, *, jobs: int, force: bool = False, runs: bool = True) -> Outcome:
    """Run what a plan lacks; a run or notebook that fails stops no other.

    Parameters
    ----------
    jobs : int
        Worker processes for the runs, and notebooks executed at a time.
    force : bool
        Execute the notebooks also where nothing changed.
    runs : bool
        Run missing runs first.
    """
    outcome = Outcome()
    # Those that read no answers come first, so that there is something to look at.
    free = [notebook for notebook in plan.notebooks if not notebook.records]
    free.sort(key=lambda notebook: (notebook.name != SHOWN_FIRST, notebook.name not in SLOWEST))
    _execute_due(free, plan, outcome, jobs, force)
    if runs and plan.runs:
        try:
            backend = backend_of(plan.profile.model)
            outcome.failed |= execute_runs(plan.runs, plan.store, jobs, backend=backend)
        except RunError as error:
            left = len(missing_runs(plan.runs, plan.store))
            outcome.failed[f"{left} of {len(plan.runs)} runs"] = str(error)
    reading = [notebook for notebook in plan.notebooks if notebook.records]
    reading.sort(key=lambda notebook: (notebook.name not in SLOWEST, -len(notebook.records)))
    _execute_due(reading, plan, outcome, jobs, force)
    return outcome


def _execute_due(
    notebooks: Sequence[NotebookRun], plan: Plan, outcome: Outcome, jobs: int, force: bool
) -> None:
    """Execute those of the notebooks whose inputs changed and are there; note the others."""
    todo = []
    for notebook in notebooks:
        if not force and notebook.is_done():
            outcome.current.append(notebook.name)
            print(f"{notebook.name}: up to date, {relative(notebook.output('.html'))}")
        elif reason := missing_reason(notebook, plan):
            outcome.failed[notebook.name] = reason
        else:
            todo.append(notebook)
    _execute_all(todo, outcome, min(jobs, len(todo)))


def missing_reason(notebook: NotebookRun, plan: Plan) -> str:
    """Why a notebook that is made of evaluation runs cannot run; "" where it can."""
    own = [run for run in plan.runs if run.id in notebook.records]
    missing = missing_runs(own, plan.store)
    if not missing:
        return ""
    return (
        f"not run, {len(missing)} of its {len(own)} results are missing (the first: "
        f"{missing[0].title}); run `sparsevlm reproduce {plan.profile.options}`"
    )


def _execute_all(todo: Sequence[NotebookRun], outcome: Outcome, jobs: int) -> None:
    """Execute notebooks, `jobs` at a time with a share of the cores each; note what came of them.

    One that fails costs no other.
    """
    if not todo:
        return
    from tqdm import tqdm

    # Processes, as papermill keeps global state; spawned, as a forked torch can hang.
    with (
        ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (jobs,)) as pool,
        tqdm(total=len(todo), unit="notebooks") as bar,
        _interrupting_workers(),
    ):
        waiting, running = iter(todo), {}
        while True:
            # Not all at once: after Ctrl-C a worker would go on with what is in its queue.
            with starting_deaf():
                for notebook in islice(waiting, jobs - len(running)):
                    running[pool.submit(_execute, notebook)] = notebook
            if not running:
                break
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                print(_noted(running.pop(ended), ended, outcome))
                bar.update()


@contextmanager
def _interrupting_workers() -> Iterator[None]:
    """Pass an interrupt on to the workers, which a terminal reaches too, but not a single kill."""
    try:
        yield
    except KeyboardInterrupt:
        for worker in active_children():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGINT)
        raise


def _noted(notebook: NotebookRun, ended: Future, outcome: Outcome) -> str:
    """Take what came of a notebook, and say it."""
    try:
        seconds = ended.result()
    except Exception as error:  # a bug in one notebook must not cost the others
        known = isinstance(error, (NotebookError, OSError))
        outcome.failed[notebook.name] = str(error) if known else f"{type(error).__name__}: {error}"
        return f"{notebook.name}: failed"
    outcome.executed.append(notebook.name)
    return f"{notebook.name}: {relative(notebook.output('.html'))}, {seconds:.0f} s"


# --- In a worker process -----------------------------------------------------------------------


def _start_worker(jobs: int) -> None:
    """Give the kernels that this process will start their share of the processor."""
    ignore_ctrl_c()
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))


def _execute(notebook: NotebookRun) -> float:
    """Execute a notebook, which Ctrl-C ends: once, for the second would end its ending."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable()  # what nbclient and asyncio say of a kernel that is ended
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        return runner.execute(notebook)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
