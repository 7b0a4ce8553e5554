"""The whole reproduction: the cells that are missing, then the notebooks that changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sparsevlm.reproduce import parameters as checked
from sparsevlm.reproduce import runner
from sparsevlm.reproduce.cells import Cell, plan_cells, run_cells
from sparsevlm.reproduce.notebooks import declared_parameters, known_notebooks, source_path
from sparsevlm.reproduce.paths import relative
from sparsevlm.reproduce.profiles import Profile
from sparsevlm.reproduce.store import Store

# The notebooks that are made of benchmark cells; every other one computes what it shows.
USES_CELLS = frozenset({"table_1"})


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
        Notebooks; none means all of them.
    overrides : mapping of str to str
        Parameters as typed on the command line. Every notebook asked for has to declare each.
    store : Store, optional
        By default `results/`.

    Raises
    ------
    ValueError
        If a notebook or a parameter is not known, or a value has the wrong type.
    NotImplementedError
        If the profile cannot run yet.
    """
    overrides = dict(overrides or {})
    if "profile" in overrides:
        raise ValueError("the profile is chosen with --profile, not with -p")
    names = list(dict.fromkeys(names)) or known_notebooks()
    given = {name: _read_parameters(name, overrides, profile) for name in names}
    profile.require_runnable()
    store = store or Store()
    needs_cells = USES_CELLS.intersection(names)
    cells = tuple(plan_cells(profile, store=store)) if needs_cells else ()
    ids = tuple(cell.id for cell in cells)
    notebooks = tuple(
        runner.prepare(name, given[name], ids if name in needs_cells else ()) for name in names
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


def run_plan(
    plan: Plan, *, jobs: int, force: bool = False, cells: bool = True,
    say: Callable[[str], None] = print, progress: bool = True,
) -> int:  # fmt: skip
    """Run what a plan lacks.

    Parameters
    ----------
    plan : Plan
        From `make_plan`.
    jobs : int
        Worker processes for the cells.
    force : bool
        Execute the notebooks also where nothing changed.
    cells : bool
        Run missing cells first.
    say : callable
        Gets a line for every step.
    progress : bool
        Show bars on standard error.

    Returns
    -------
    int
        How many notebooks were executed.
    """
    if cells:
        run_cells(plan.cells, plan.store, jobs, progress)
    executed = 0
    for notebook in plan.notebooks:
        if not force and notebook.is_done():
            say(f"{notebook.name}: up to date, {relative(notebook.output('.html'))}")
            continue
        runner.execute(notebook, progress=progress)
        executed += 1
        say(f"{notebook.name}: {relative(notebook.output('.html'))}")
    return executed
