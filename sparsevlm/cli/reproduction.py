"""Sub-commands of a reproduction: run it, show it, check it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparsevlm.cli import base

Names = Annotated[list[str] | None, typer.Argument(metavar="NOTEBOOK", help="default: all")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="show only these")]
Jobs = Annotated[int | None, base.count("processes (default: by the number of cores; 1 on a GPU)")]


@base.app.command()
def reproduce(
    profile: base.ProfileName = "mini",
    only: base.Only = base.NONE,
    model: base.ModelName = "",
    limit: base.Limit = 0,
    parameters: base.Parameters = None,
    jobs: Jobs = None,
    shard: base.Shard = None,
    shipped: Annotated[
        bool, base.flag("--shipped", "take the answers in data/ that this very code has given")
    ] = False,
    dry_run: Annotated[bool, base.flag("--dry-run", "say what would run")] = False,
) -> int:
    """Run what is missing: evaluation runs, then the notebooks that changed."""
    from sparsevlm.cli import suite
    from sparsevlm.evaluation.runs import default_jobs
    from sparsevlm.paper.claims.file import refresh

    plan = base.plan_of(base.chosen_profile(profile, model, limit), only, parameters)
    whole = not (only or model or limit or shard or parameters)
    if shard:
        plan = suite.shard(plan, *map(int, shard.split("/")))
    if shipped:
        from sparsevlm.evaluation.results.shipped import take_shipped

        print(f"taken from data/: {take_shipped(plan.runs, plan.store)} of {len(plan.runs)} runs")
    if dry_run:
        print("\n".join(plan.due()))
        return base.DONE
    outcome = suite.run_plan(plan, jobs=jobs or default_jobs(plan.profile))
    if whole and not outcome.failed:
        refresh()
    return _report(plan, outcome)


def _report(plan, outcome) -> int:
    """Say what was done and what failed, and return the exit code."""
    for name, reason in outcome.failed.items():
        print(f"sparsevlm: failed: {name}: {reason}", file=sys.stderr)
    where = plan.profile.slug
    if outcome.failed:
        done = f"{len(outcome.executed) + len(outcome.current)} of {len(plan.notebooks)} notebooks"
        print(f"{where}: {done} done, {len(outcome.failed)} failed (reasons above)")
        return base.FAILED
    there = f"; tables and figures are in figures/{where}" if plan.notebooks else ""
    print(f"{where}: {len(plan.runs)} evaluation runs, {len(plan.notebooks)} notebooks done{there}")
    return base.DONE


@base.app.command()
def run(
    names: Names = None,
    profile: base.ProfileName = "mini",
    model: base.ModelName = "",
    limit: base.Limit = 0,
    parameters: base.Parameters = None,
) -> int:
    """Run notebooks again, from the results at hand."""
    from sparsevlm.cli.suite import run_plan

    plan = base.plan_of(base.chosen_profile(profile, model, limit), names or (), parameters)
    return _report(plan, run_plan(plan, jobs=1, force=True, runs=False))


@base.app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="such as figure_6 or table_1")],
    profile: base.ProfileName = "mini",
    model: base.ModelName = "",
    limit: base.Limit = 0,
    parameters: base.Parameters = None,
    width: Annotated[str, base.option("inches: 6.75 or 3.25", "INCHES")] = "",
    formats: Annotated[
        base.Words, base.option("of pdf,png,svg,tex,csv,md,html; default: all", "A,B", "--format",
                      parser=base.words)] = base.NONE,
    svg_text: Annotated[bool, base.flag("--svg-text", "keep the text of an SVG as text")] = False,
    to: Annotated[str, base.option("where to write (default: artifacts/export)", "FOLDER")] = "",
) -> int:  # fmt: skip
    """Draw a notebook's figures and tables for a paper, from the results at hand."""
    from sparsevlm.cli import runner, suite
    from sparsevlm.evaluation.paths import ARTIFACTS

    given = [*(parameters or ()), *([f"width={width}"] if width else ())]
    plan = base.plan_of(base.chosen_profile(profile, model, limit), [name], given)
    (notebook,) = plan.notebooks
    if missing := suite.missing_reason(notebook, plan):
        raise FileNotFoundError(f"{name}: {missing}")
    folder = Path(to) if to else ARTIFACTS / "export"
    with base.refusing():
        written = runner.export(notebook, folder, formats, svg_text)
    print("\n".join(f"wrote {path}" for path in written))
    return base.DONE


@base.app.command()
def publish() -> int:
    """For maintainers: let the repository show what `reproduce` has made of profile mini."""
    from sparsevlm.cli.shipping import publish as replace

    replace(base.plan_of(base.chosen_profile("mini"), ()))
    return base.DONE


@base.app.command()
def verify(
    batches: Annotated[int, base.count("how many batches are computed again")] = 20,
    seed: Annotated[int, base.option("of the draw", "N")] = 0,
) -> int:
    """Score the shipped answers again, and compute some of them again."""
    from sparsevlm.cli.shipping import verify as agree

    return base.DONE if agree(batches, seed) else base.FAILED


@base.app.command()
def claims(
    ids: Ids = None,
    check: Annotated[
        bool, base.flag("--check", "fail if the published CLAIMS.md is outdated")
    ] = False,
) -> int:
    """Write the claims page, artifacts/CLAIMS.md, or show single claims."""
    from sparsevlm.paper.claims import file as claims_file

    if check and ids:
        raise base.UsageError("--check is for the whole page; give it without ids")
    if check:
        return base.DONE if claims_file.check() else base.FAILED
    if not ids:
        claims_file.update()
        return base.DONE
    with base.refusing():
        claims_file.show(ids)
    return base.DONE


@base.app.command()
def site(profile: base.ProfileName = "mini") -> int:
    """Write static pages of executed notebooks and claims."""
    from sparsevlm.cli.site import build
    from sparsevlm.evaluation.paths import relative

    print(f"open {relative(build(base.chosen_profile(profile)))}")
    return base.DONE


@base.app.command()
def provenance(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a figure of this suite")],
) -> int:
    """Say what a PDF, PNG or SVG was made from."""
    import json

    from sparsevlm.evaluation.results.provenance import read

    print(json.dumps(read(Path(file)), indent=2))
    return base.DONE


@base.app.command("list")
def list_names(
    section: Annotated[
        str, typer.Argument(metavar="SECTION", help="only the names of this one, such as notebooks")
    ] = "",
    profile: Annotated[str, base.option("only the notebooks that belong to it")] = "",
) -> int:
    """List methods, benchmarks, profiles, models and notebooks."""
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.evaluation.profiles import profiles
    from sparsevlm.methods import METHODS
    from sparsevlm.paper.notebooks import known_notebooks, notebooks_of
    from sparsevlm.paper.parameters import full_model_name, registered

    chosen = profile and base.chosen_profile(profile).name
    notebooks = notebooks_of(chosen) if chosen else known_notebooks()
    sections = {
        "methods": {name: method.label for name, method in METHODS.items()},
        "benchmarks": {name: benchmark.label for name, benchmark in BENCHMARKS.items()},
        "profiles": {
            name: f"{profile.model} on {profile.device}"
            + (f" (cannot run: {profile.missing})" if profile.missing else "")
            for name, profile in profiles().items()
        },
        "models": {name: full_model_name(name) for name in registered("model")},
        "notebooks": {name: f"notebooks/{name}.ipynb" for name in notebooks},
    }
    if section:
        if section not in sections:
            raise base.UsageError(f"unknown section {section!r}; known: {', '.join(sections)}")
        print("\n".join(sections[section]))
        return base.DONE
    for title, entries in sections.items():
        print(title)
        for name, what in entries.items():
            print(f"  {name:<22} {what}")
    return base.DONE


@base.app.command()
def check(
    profile: Annotated[
        str, base.option("a100: is this machine ready for it, and how long")
    ] = "mini",
    only: base.Only = base.NONE,
    model: base.ModelName = "",
    limit: base.Limit = 0,
    fix: Annotated[bool, base.flag("--fix", "generate the notebooks again")] = False,
) -> int:
    """Check notebooks and bundled files, or whether a machine is ready for a profile."""
    from sparsevlm.miniature.registry import MINIATURES

    chosen = base.chosen_profile(profile, model, limit)
    if chosen.model not in MINIATURES and not chosen.missing:
        from sparsevlm.cli import preflight, preflight_estimate

        with base.refusing():
            needs = preflight_estimate.needs_of(chosen, only)
        return preflight.main(chosen, needs)
    if only or model or limit:
        raise base.UsageError(
            "--only, --model and --limit are for a profile that runs a checkpoint, such as a100; "
            f"{chosen.model} comes with the repository"
        )
    from sparsevlm.evaluation.paths import relative
    from sparsevlm.paper.notebooks import notebook_problems, write_notebooks

    if fix:
        for path in write_notebooks():
            print(f"wrote {relative(path)}")
    found = notebook_problems() + missing_assets()
    for problem in found:
        print(problem)
    print("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return base.FAILED if found else base.DONE


def missing_assets(miniatures: Path | None = None) -> list[str]:
    """Return what is missing or damaged among the bundled files; one sentence each."""
    from sparsevlm.analysis import published
    from sparsevlm.miniature.registry import MINIATURES
    from sparsevlm.miniature.weights import DATA, MissingAssetError, verify

    found = []
    try:
        published.rows("table1")
    except (FileNotFoundError, ValueError) as error:
        found.append(str(error))
    for name in MINIATURES:
        try:
            verify((miniatures or DATA) / name)
        except MissingAssetError as error:
            found.append(str(error))
    return found
