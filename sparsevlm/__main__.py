"""Command line: `python -m sparsevlm reproduce | run | claims | site | provenance | list | check`.

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
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sparsevlm", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    reproduce = commands.add_parser(
        "reproduce", help="run the cells that are missing, then the notebooks that changed"
    )
    reproduce.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="only these notebooks"
    )
    reproduce.add_argument(
        "--jobs", type=_positive, default=None, metavar="N",
        help="worker processes (default: one per core, at most 8)",
    )  # fmt: skip
    reproduce.add_argument(
        "--limit", type=_positive, default=None, metavar="N",
        help="at most N samples of each benchmark; kept apart, as profile NAME-N",
    )  # fmt: skip
    reproduce.add_argument(
        "--cells", type=_part, default=None, metavar="A/B",
        help="only part A of B of the cells, and no notebook (for several GPUs or machines)",
    )  # fmt: skip
    reproduce.add_argument(
        "--dry-run", action="store_true", help="say what would run, and run nothing"
    )
    reproduce.set_defaults(command=_reproduce)

    run = commands.add_parser("run", help="run notebooks again, from the cells at hand")
    run.add_argument("only", nargs="*", metavar="NAME", help="notebooks (default: all)")
    run.set_defaults(command=_run)

    for command in (reproduce, run):
        command.add_argument("--profile", default="mini", help="see `list` (default: mini)")
        command.add_argument(
            "-p", dest="parameters", nargs=2, action="append", default=[],
            metavar=("NAME", "VALUE"), help="set a notebook's parameter; may be repeated",
        )  # fmt: skip

    ledger = commands.add_parser("claims", help="write CLAIMS.md, or show single claims")
    ledger.add_argument("ids", nargs="*", metavar="ID", help="show these instead of writing")
    ledger.add_argument("--check", action="store_true", help="fail if CLAIMS.md is out of date")
    ledger.set_defaults(command=_claims)

    site = commands.add_parser("site", help="static pages of executed notebooks and claims")
    site.add_argument("--profile", default="mini", help="see `list` (default: mini)")
    site.set_defaults(command=_site)

    figure = commands.add_parser("provenance", help="what a PDF, PNG or SVG was made from")
    figure.add_argument("file", help="a figure of this suite")
    figure.set_defaults(command=_provenance)

    listing = commands.add_parser("list", help="methods, benchmarks, profiles, notebooks")
    listing.set_defaults(command=_list)

    check = commands.add_parser("check", help="notebooks in step with sources, assets present")
    check.add_argument("--fix", action="store_true", help="generate the notebooks again")
    check.set_defaults(command=_check)

    bench = commands.add_parser("bench", help="what pruning costs over the oracle of the same cuts")
    bench.add_argument(
        "--rounds", type=_positive, default=15, metavar="N", help="interleaved rounds (default: 15)"
    )
    bench.add_argument(
        "--visual", type=_positive, default=576, metavar="N", help="visual tokens (default: 576)"
    )
    bench.set_defaults(command=_bench)
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return number


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not slash or not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"must be A/B with A from 1 to B, got {text!r}")
    return int(part), int(parts)


def _plan(options: argparse.Namespace, profile: str | None = None):
    from sparsevlm.reproduce.profiles import get_profile
    from sparsevlm.reproduce.suite import make_plan

    names = [name for name, _ in options.parameters]
    try:
        if len(set(names)) < len(names):
            raise ValueError(f"a parameter is set twice: {', '.join(names)}")
        chosen = get_profile(profile or options.profile)
        return make_plan(chosen, options.only, dict(options.parameters))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _reproduce(options: argparse.Namespace) -> int:
    from sparsevlm.reproduce.claims_file import refresh
    from sparsevlm.reproduce.suite import run_plan, shard

    limited = f"{options.profile}-{options.limit}" if options.limit else None
    plan = _plan(options, limited)
    whole = not (options.only or options.limit or options.cells or options.parameters)
    if options.cells:
        plan = shard(plan, *options.cells)
    if options.dry_run:
        print("\n".join(plan.due()))
        return DONE
    outcome = run_plan(plan, jobs=options.jobs or min(os.cpu_count() or 1, 8))
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
    from sparsevlm.reproduce.suite import run_plan

    plan = _plan(options)
    return _report(plan, run_plan(plan, jobs=1, force=True, cells=False))


def _claims(options: argparse.Namespace) -> int:
    from sparsevlm.reproduce import claims_file

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
    from sparsevlm.reproduce.paths import relative
    from sparsevlm.reproduce.profiles import get_profile
    from sparsevlm.reproduce.site import build

    try:
        profile = get_profile(options.profile)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"open {relative(build(profile))}")
    return DONE


def _provenance(options: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from sparsevlm.reproduce.provenance import read

    print(json.dumps(read(Path(options.file)), indent=2))
    return DONE


def _list(options: argparse.Namespace) -> int:
    from sparsevlm.baselines import METHODS
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.reproduce.notebooks import known_notebooks
    from sparsevlm.reproduce.profiles import PROFILES

    sections = {
        "methods": {name: method.label for name, method in METHODS.items()},
        "benchmarks": {name: benchmark.label for name, benchmark in BENCHMARKS.items()},
        "profiles": {
            name: f"{profile.model} on {profile.device}"
            + (f" (cannot run yet: {profile.missing})" if profile.missing else "")
            for name, profile in PROFILES.items()
        },
        "notebooks": {name: f"notebooks/{name}.ipynb" for name in known_notebooks()},
    }
    for title, entries in sections.items():
        print(title)
        for name, what in entries.items():
            print(f"  {name:<19} {what}")
    return DONE


def _check(options: argparse.Namespace) -> int:
    from sparsevlm.reproduce.check import missing_assets
    from sparsevlm.reproduce.notebooks import problems, write_notebooks
    from sparsevlm.reproduce.paths import relative

    if options.fix:
        for path in write_notebooks():
            print(f"wrote {relative(path)}")
    found = problems() + missing_assets()
    for problem in found:
        print(problem)
    print("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return FAILED if found else DONE


def _bench(options: argparse.Namespace) -> int:
    from sparsevlm.reproduce import bench

    bench.main(options.rounds, options.visual)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
