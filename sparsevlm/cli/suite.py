"""The whole reproduction: the cells that are missing, then the notebooks that changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsevlm.cli import parameters as checked
from sparsevlm.cli import runner
from sparsevlm.cli.executing import Outcome, execute_all
from sparsevlm.evaluation.backends import backend_of
from sparsevlm.evaluation.paths import relative
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.run import EvaluationRun
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import execute_runs, missing_runs
from sparsevlm.evaluation.studies import belongs, studies_of
from sparsevlm.paper.notebooks import declared_parameters, known_notebooks, source_path


@dataclass(frozen=True)
class Plan:
    """What a run of the suite consists of.

    Attributes
    ----------
    profile : Profile
        What is run, and on what.
    runs : tuple of Cell
        Needed by the notebooks; which of them are missing is the store's to say.
    notebooks : tuple of NotebookRun
        In the order in which they run.
    store : Store
        Where the results of the runs are.
    """

    profile: Profile
    runs: tuple[EvaluationRun, ...]
    notebooks: tuple[runner.NotebookRun, ...]
    store: Store

    def due(self) -> list[str]:
        """Return what would run, one line each for cells and notebooks."""
        missing = missing_runs(self.runs, self.store)
        samples = sum(run.num_samples for run in missing)
        names = [notebook.name for notebook in self.notebooks if not notebook.is_done()]
        return [
            f"runs: {len(missing)} of {len(self.runs)}, {samples} samples",
            f"notebooks: {len(names)} of {len(self.notebooks)}: {', '.join(names) or 'none'}",
        ]


def make_plan(
    profile: Profile,
    names: Sequence[str] = (),
    overrides: Mapping[str, str] | None = None,
    store: Store | None = None,
) -> Plan:
    """Check what is asked for and lay it out; nothing runs.

    Parameters
    ----------
    profile : Profile
        From `get_profile`.
    names : sequence of str
        Notebooks; none means all that can be run with the profile.
    overrides : mapping of str to str
        Parameters as typed on the command line. Every notebook asked for has to declare each.
    store : Store, optional
        By default `results/`.

    Raises
    ------
    ValueError
        If a notebook or a parameter is not known, a value has the wrong type, or a notebook is
        about another profile.
    NotImplementedError
        If the profile cannot run yet.
    """
    overrides = dict(overrides or {})
    if "profile" in overrides:
        raise ValueError("the profile is chosen with --profile, not with -p")
    names = list(dict.fromkeys(names)) or [
        name for name in known_notebooks() if belongs(name, profile.name)
    ]
    given = {name: _read_parameters(name, overrides, profile) for name in names}
    profile.require_runnable()
    store = store or Store()
    wanted = dict.fromkeys(study for name in names for study in studies_of(name))
    planned = {study: plan_runs(profile.for_study(study), store=store) for study in wanted}
    runs = tuple(dict.fromkeys(run for study in wanted for run in planned[study]))
    notebooks = tuple(
        runner.prepare(
            name,
            given[name],
            tuple(run.id for study in studies_of(name) for run in planned[study]),
        )
        for name in names
    )
    return Plan(profile, runs, notebooks, store)


def _read_parameters(
    name: str, overrides: Mapping[str, str], profile: Profile
) -> dict[str, object]:
    source = source_path(name)
    declared = declared_parameters(source)
    given: dict[str, object] = {"profile": profile.name}
    for key, text in overrides.items():
        given[key] = checked.from_text(text, declared[key]) if key in declared else text
    checked.check(source, given)
    return given


def shard(plan: Plan, part: int, parts: int) -> Plan:
    """Return one of several equal parts of the cells, and no notebook.

    Parameters
    ----------
    plan : Plan
        Whole.
    part, parts : int
        Part 1 of 4 has runs 1, 5, 9, ...: methods and benchmarks of every kind, so that the parts
        take about the same time. What is finished does not change the parts.

    Raises
    ------
    ValueError
        There is no such part.
    """
    if not 1 <= part <= parts:
        raise ValueError(f"a part of the runs is A/B with A from 1 to B, got {part}/{parts}")
    return replace(plan, runs=plan.runs[part - 1 :: parts], notebooks=())


def run_plan(
    plan: Plan, *, jobs: int, force: bool = False, runs: bool = True,
    say: Callable[[str], None] = print, progress: bool = True,
) -> Outcome:  # fmt: skip
    """Run what a plan lacks; a cell or notebook that fails stops no other.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    jobs : int
        Worker processes for the cells, and notebooks executed at a time.
    force : bool
        Execute the notebooks also where nothing changed.
    runs : bool
        Run missing runs first.
    say : callable
        Gets a line for every step.
    progress : bool
        Show bars on standard error.
    """
    outcome = Outcome()
    if runs:
        backend = backend_of(plan.profile.model)
        outcome.failed |= execute_runs(plan.runs, plan.store, jobs, progress, backend=backend)
    todo = []
    for notebook in plan.notebooks:
        if not force and notebook.is_done():
            outcome.current.append(notebook.name)
            say(f"{notebook.name}: up to date, {relative(notebook.output('.html'))}")
        elif reason := _missing_reason(notebook, plan):
            outcome.failed[notebook.name] = reason
        else:
            todo.append(notebook)
    execute_all(todo, outcome, jobs, say, progress)
    return outcome


def _missing_reason(notebook: runner.NotebookRun, plan: Plan) -> str:
    """Why a notebook that is made of cells cannot run; "" where it can."""
    own = [run for run in plan.runs if run.id in notebook.records]
    missing = missing_runs(own, plan.store)
    if not missing:
        return ""
    return (
        f"not run, {len(missing)} of its {len(own)} results are missing (the first: "
        f"{missing[0].title}); run `python -m sparsevlm reproduce --profile {plan.profile.name}`"
    )
