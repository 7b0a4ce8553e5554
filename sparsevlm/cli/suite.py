"""The whole reproduction: the cells that are missing, then the notebooks that changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsevlm.cli import parameters as checked
from sparsevlm.cli import runner
from sparsevlm.cli.executing import Outcome, execute_all
from sparsevlm.evaluation.paths import relative
from sparsevlm.evaluation.plan import source_of
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.results.failures import OpenSamplesError, Unfinished, summarise
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.runs import Cell, CellError, missing_cells, plan_cells, run_cells
from sparsevlm.evaluation.studies import belongs, studies_of
from sparsevlm.paper.notebooks import declared_parameters, known_notebooks, source_path


@dataclass(frozen=True)
class Plan:
    """What a run of the suite consists of.

    Attributes
    ----------
    profile : Profile
        What is run, and on what.
    cells : tuple of Cell
        Needed by the notebooks; which of them are missing is the store's to say.
    notebooks : tuple of NotebookRun
        In the order in which they run.
    store : Store
        Where the results of the cells are.
    """

    profile: Profile
    cells: tuple[Cell, ...]
    notebooks: tuple[runner.NotebookRun, ...]
    store: Store

    def due(self) -> list[str]:
        """Return what would run, one line each for cells and notebooks."""
        missing = missing_cells(self.cells, self.store)
        samples = sum(cell.num_samples for cell in missing)
        names = [notebook.name for notebook in self.notebooks if not notebook.is_done()]
        return [
            f"cells: {len(missing)} of {len(self.cells)}, {samples} samples",
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
        name for name in known_notebooks() if belongs(name, profile.base)
    ]
    given = {name: _read_parameters(name, overrides, profile) for name in names}
    profile.require_runnable()
    store = store or Store()
    wanted = dict.fromkeys(study for name in names for study in studies_of(name))
    planned = {study: plan_cells(profile.for_study(study), store=store) for study in wanted}
    cells = tuple(dict.fromkeys(cell for study in wanted for cell in planned[study]))
    notebooks = tuple(
        runner.prepare(
            name,
            given[name],
            tuple(cell.id for study in studies_of(name) for cell in planned[study]),
        )
        for name in names
    )
    return Plan(profile, cells, notebooks, store)


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
        Part 1 of 4 has cells 1, 5, 9, ...: methods and benchmarks of every kind, so that the parts
        take about the same time. What is finished does not change the parts.

    Raises
    ------
    ValueError
        There is no such part.
    """
    if not 1 <= part <= parts:
        raise ValueError(f"a part of the cells is A/B with A from 1 to B, got {part}/{parts}")
    return replace(plan, cells=plan.cells[part - 1 :: parts], notebooks=())


def run_plan(
    plan: Plan, *, jobs: int, force: bool = False, cells: bool = True,
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
    cells : bool
        Run missing cells first.
    say : callable
        Gets a line for every step.
    progress : bool
        Show bars on standard error.
    """
    outcome = Outcome()
    if cells:
        source = source_of(plan.profile)
        outcome.failed |= run_cells_apart(plan.cells, plan.store, jobs, progress, source=source)
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
    own = [cell for cell in plan.cells if cell.id in notebook.records]
    missing = missing_cells(own, plan.store)
    if not missing:
        return ""
    return (
        f"not run, {len(missing)} of its {len(own)} results are missing (the first: "
        f"{missing[0].title}); run `python -m sparsevlm reproduce --profile {plan.profile.name}`"
    )


def run_cells_apart(
    cells: Sequence[Cell], store: Store, jobs: int, progress: bool = True, **options: object
) -> dict[str, str]:
    """Run the missing cells; return what failed, a cell or a sample, with the reason.

    A failure ends the pool of workers. Workers take cells in order, so the one that failed is among
    the first `jobs` that are missing then: these are run again one by one, and the pool goes on
    with the others. What concerns all cells alike (a full disk, a killed worker) ends the run;
    samples without an answer stop nothing.

    Parameters
    ----------
    cells, store, jobs, progress
        See `cells.run_cells`.
    **options
        Passed on to it.
    """
    failed: dict[str, str] = {}
    unfinished: list[Unfinished] = []
    todo = missing_cells(cells, store)
    while todo:
        try:
            run_cells(todo, store, jobs, progress, **options)
            break
        except OpenSamplesError as error:
            unfinished += error.cells
            break
        except CellError as error:
            left = len(missing_cells(todo, store))
            failed[f"{left} of {len(cells)} cells"] = str(error)
            break
        except RuntimeError:
            suspects, todo = _split(missing_cells(todo, store), jobs)
        for cell in suspects:
            try:
                run_cells([cell], store, 1, False, **options)
            except OpenSamplesError as error:
                unfinished += error.cells
            except RuntimeError as error:
                failed[f"cell {cell.title}"] = str(error).strip().splitlines()[-1]
    return failed | summarise(unfinished)


def _split(cells: list[Cell], count: int) -> tuple[list[Cell], list[Cell]]:
    return cells[:count], cells[count:]
