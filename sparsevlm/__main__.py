"""Command line: `python -m sparsevlm COMMAND`; `--help` lists the commands.

Exit codes: 0 done; 1 something failed or was stopped, everything else was done and the same command
goes on from there; 2 wrong usage, nothing was done. An error is one sentence on standard error.
Imports are inside the commands, so that "nothing to do" answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

DONE, FAILED, USAGE = 0, 1, 2


class UsageError(Exception):
    """The command line asks for something that does not exist."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from sparsevlm.cli.arguments import build_parser

    options = build_parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except UsageError as error:
        code, message = USAGE, str(error)
    except KeyboardInterrupt:
        code, message = FAILED, "stopped; what is finished is kept, the same command goes on"
    except Exception as error:
        if not _is_expected(error):
            raise
        code, message = FAILED, str(error)
    print(f"sparsevlm: {message}", file=sys.stderr)
    return code


def _is_expected(error: Exception) -> bool:
    """Whether an error speaks to the user; any other is a bug and keeps its traceback.

    Errors of the system do, and what this package raises itself does. A ValueError out of the
    depths of a library does not.
    """
    if isinstance(error, OSError):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith(
        ("sparsevlm.", "__main__")
    )


def _plan(options: argparse.Namespace, profile: str | None = None):
    from sparsevlm.cli.suite import make_plan
    from sparsevlm.evaluation.profiles import get_profile

    names = [name for name, _ in options.parameters]
    try:
        if len(set(names)) < len(names):
            raise ValueError(f"a parameter is set twice: {', '.join(names)}")
        chosen = get_profile(profile or options.profile)
        return make_plan(chosen, options.only, dict(options.parameters))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _reproduce(options: argparse.Namespace) -> int:
    from sparsevlm.cli.suite import run_plan, shard
    from sparsevlm.paper.claims.file import refresh

    limited = f"{options.profile}-{options.limit}" if options.limit else None
    plan = _plan(options, limited)
    whole = not (options.only or options.limit or options.runs or options.parameters)
    if options.runs:
        plan = shard(plan, *options.runs)
    if options.dry_run:
        print("\n".join(plan.due()))
        return DONE
    # Several models do not fit on one GPU; several GPUs take parts of the runs (--runs).
    jobs = 1 if plan.profile.device == "cuda" else min(os.cpu_count() or 1, 8)
    outcome = run_plan(plan, jobs=options.jobs or jobs)
    if whole and not outcome.failed:
        refresh()
    return _report(plan, outcome)


def _report(plan, outcome) -> int:
    """Say what was done and what failed, and return the exit code."""
    for line in outcome.lines():
        print(f"sparsevlm: {line}", file=sys.stderr)
    if outcome.failed:
        done = f"{len(outcome.executed) + len(outcome.current)} of {len(plan.notebooks)} notebooks"
        print(f"{plan.profile.name}: {done} done, {len(outcome.failed)} failed (reasons above)")
        return FAILED
    print(f"{plan.profile.name}: {len(plan.cells)} cells, {len(plan.notebooks)} notebooks done")
    return DONE


def _run(options: argparse.Namespace) -> int:
    from sparsevlm.cli.suite import run_plan

    plan = _plan(options)
    return _report(plan, run_plan(plan, jobs=1, force=True, runs=False))


def _claims(options: argparse.Namespace) -> int:
    from sparsevlm.paper.claims import file as claims_file

    if options.check and options.ids:
        raise UsageError("--check is for the whole page; give it without ids")
    if options.check:
        return DONE if claims_file.check() else FAILED
    if not options.ids:
        claims_file.update()
        return DONE
    try:
        claims_file.show(options.ids)
    except KeyError as error:
        raise UsageError(error.args[0]) from None
    return DONE


def _site(options: argparse.Namespace) -> int:
    from sparsevlm.cli.site import build
    from sparsevlm.evaluation.paths import relative
    from sparsevlm.evaluation.profiles import get_profile

    try:
        profile = get_profile(options.profile)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"open {relative(build(profile))}")
    return DONE


def _provenance(options: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from sparsevlm.evaluation.results.provenance import read

    print(json.dumps(read(Path(options.file)), indent=2))
    return DONE


def _list(options: argparse.Namespace) -> int:
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.evaluation.profiles import profiles
    from sparsevlm.methods import METHODS
    from sparsevlm.paper.notebooks import known_notebooks

    sections = {
        "methods": {name: method.label for name, method in METHODS.items()},
        "benchmarks": {name: benchmark.label for name, benchmark in BENCHMARKS.items()},
        "profiles": {
            name: f"{profile.model} on {profile.device}"
            + (f" (cannot run: {profile.missing})" if profile.missing else "")
            for name, profile in profiles().items()
        },
        "notebooks": {name: f"notebooks/{name}.ipynb" for name in known_notebooks()},
    }
    for title, entries in sections.items():
        print(title)
        for name, what in entries.items():
            print(f"  {name:<22} {what}")
    return DONE


def _check(options: argparse.Namespace) -> int:
    from sparsevlm.evaluation.profiles import get_profile

    try:
        profile = get_profile(options.profile)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if profile.device == "cuda" and not profile.missing:
        from sparsevlm.cli import preflight

        return preflight.main(profile)
    return _check_files(options)


def _check_files(options: argparse.Namespace) -> int:
    from sparsevlm.cli.check import missing_assets
    from sparsevlm.evaluation.paths import relative
    from sparsevlm.paper.notebooks import problems, write_notebooks

    if options.fix:
        for path in write_notebooks():
            print(f"wrote {relative(path)}")
    found = problems() + missing_assets()
    for problem in found:
        print(problem)
    print("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return FAILED if found else DONE


def _judge(options: argparse.Namespace) -> int:
    from sparsevlm.evaluation.judges import command

    plan = _plan(options)
    try:
        lines = command.run(options, plan.runs, plan.store)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print("\n".join(lines) or "no finished run of this profile needs a judge")
    return DONE


def _fetch(options: argparse.Namespace) -> int:
    from sparsevlm.models.checkpoints import CHECKPOINTS, find
    from sparsevlm.models.checkpoints.fetch import check, fetch
    from sparsevlm.models.checkpoints.places import default_folder

    chosen = [find(name) for name in options.names] or list(CHECKPOINTS)
    folder = options.folder or default_folder()
    if options.check:
        return FAILED if check(chosen, folder) else DONE
    fetch(chosen, folder, source=options.source, dry_run=options.dry_run)
    return DONE


def _bench(options: argparse.Namespace) -> int:
    from sparsevlm.speed import bench
    from sparsevlm.speed import options as bench_options

    bench.run_command(bench_options.from_namespace(options))
    return DONE


COMMANDS = {
    "reproduce": _reproduce, "run": _run, "claims": _claims, "site": _site,
    "provenance": _provenance, "list": _list, "check": _check, "fetch": _fetch, "judge": _judge,
    "bench": _bench,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
