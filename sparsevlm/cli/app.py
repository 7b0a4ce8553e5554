"""The command `sparsevlm`, and the sub-commands of a reproduction; tools.py has the others.

Exit codes: 0 done; 1 something failed, everything else was done and the same command goes on from
there; 2 wrong usage, nothing was done; 130 stopped by Ctrl-C. An error is one sentence on standard
error. Imports are inside the commands, so that `--help` and "nothing to do" answer at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130


class UsageError(Exception):
    """The command line asks for something that does not exist."""


class Commands(TyperGroup):
    """The sub-commands; an unknown one is answered with those that there are."""

    def resolve_command(self, ctx, args):
        if args[0] not in self.commands:
            ctx.fail(f"unknown command {args[0]!r}; known: {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
    help="SparseVLM: every table and figure of the paper, on the bundled miniature or on a GPU.",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from sparsevlm.cli import tools  # noqa: F401  its commands register themselves

    arguments = _joined(sys.argv[1:] if arguments is None else list(arguments))
    try:
        code = app(arguments, prog_name="sparsevlm", standalone_mode=False)
        if code != STOPPED:
            return code or DONE
        message = "stopped; what is finished is kept, the same command goes on"
    except (UsageError, TyperException) as error:
        code = USAGE
        message = error.format_message() if isinstance(error, TyperException) else str(error)
    except Exception as error:
        if not _is_expected(error):
            raise
        code, message = FAILED, str(error)
    print(f"sparsevlm: {message}", file=sys.stderr)
    return code


def _joined(arguments: list[str]) -> list[str]:
    """Write papermill's `-p NAME VALUE` as the one word NAME=VALUE, as the parser wants it."""
    joined, rest = [], iter(arguments)
    for word in rest:
        joined.append(word)
        if word == "-p" and (name := next(rest, None)) is not None:
            value = None if "=" in name else next(rest, None)
            joined.append(name if value is None else f"{name}={value}")
    return joined


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


class Words(tuple):
    """Words of an option, which separates them by commas."""


def words(text: str | Words) -> Words:
    """Split the value of an option at its commas."""
    return text if isinstance(text, Words) else Words(part for part in text.split(",") if part)


def _shard(text: str) -> str:
    part, parts = (re.fullmatch(r"(\d+)/(\d+)", text) or [None, "0", "0"])[1:]
    if not 1 <= int(part) <= int(parts):
        raise typer.BadParameter(f"must be A/B with A from 1 to B, got {text!r}")
    return text


def _parameter(text: str) -> str:
    if "=" not in text:
        raise typer.BadParameter(f"a parameter is -p NAME VALUE, got only {text!r}")
    return text


ProfileName = Annotated[str, typer.Option("--profile", metavar="NAME", help="see `list`")]
ModelName = Annotated[
    str, typer.Option("--model", metavar="NAME", help="in place of the profile's own; see `list`")
]
Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, help="samples of each benchmark; 0: all")
]
Parameters = Annotated[
    list[str],
    typer.Option(
        "-p", parser=_parameter, metavar="NAME VALUE",
        help="set a notebook's parameter; may be repeated",
    ),
]  # fmt: skip
Only = Annotated[
    Words, typer.Option("--only", parser=words, metavar="A,B", help="only these notebooks")
]


def chosen_profile(name: str, model: str = "", limit: int = 0):
    """Return a profile with model and limit; UsageError if one of them cannot be."""
    from sparsevlm.paper.page import profile_of

    try:
        return profile_of(name, model, limit)
    except ValueError as error:
        raise UsageError(str(error)) from None


def plan_of(profile, names: Sequence[str], parameters: Sequence[str] = ()):
    """Return what is to be run; UsageError if it is not clear."""
    from sparsevlm.cli.suite import make_plan

    pairs = [text.partition("=")[::2] for text in parameters]
    given = dict(pairs)
    if len(given) < len(pairs):
        raise UsageError(f"a parameter is set twice: {', '.join(name for name, _ in pairs)}")
    try:
        return make_plan(profile, names, given)
    except ValueError as error:
        raise UsageError(str(error)) from None


@app.command()
def reproduce(
    profile: ProfileName = "mini",
    only: Only = Words(),  # noqa: B008  a tuple
    model: ModelName = "",
    limit: Limit = 0,
    parameters: Parameters = [],  # noqa: B006  typer copies it
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="processes (default: by cores or GPU)")
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="A/B", parser=_shard,
            help="only part A of B of the evaluation runs, and no notebook (for several GPUs)",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run")] = False,
) -> int:  # fmt: skip
    """Run what is missing: evaluation runs, then the notebooks that changed."""
    from sparsevlm.cli import suite
    from sparsevlm.evaluation.runs import default_jobs
    from sparsevlm.paper.claims.file import refresh

    plan = plan_of(chosen_profile(profile, model, limit), only, parameters)
    whole = not (only or model or limit or shard or parameters)
    if shard:
        plan = suite.shard(plan, *map(int, shard.split("/")))
    if dry_run:
        print("\n".join(plan.due()))
        return DONE
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
        return FAILED
    print(f"{where}: {len(plan.runs)} evaluation runs, {len(plan.notebooks)} notebooks done")
    return DONE


@app.command()
def run(
    names: Annotated[list[str], typer.Argument(metavar="[NOTEBOOK]...", help="default: all")] = [],  # noqa: B006
    profile: ProfileName = "mini",
    model: ModelName = "",
    limit: Limit = 0,
    parameters: Parameters = [],  # noqa: B006
) -> int:  # fmt: skip
    """Run notebooks again, from the results at hand."""
    from sparsevlm.cli.suite import run_plan

    plan = plan_of(chosen_profile(profile, model, limit), names, parameters)
    return _report(plan, run_plan(plan, jobs=1, force=True, runs=False))


@app.command()
def claims(
    ids: Annotated[
        list[str], typer.Argument(metavar="[ID]...", help="show these and write nothing")
    ] = [],  # noqa: B006
    check: Annotated[bool, typer.Option("--check", help="fail if CLAIMS.md is outdated")] = False,
) -> int:
    """Write CLAIMS.md, or show single claims."""
    from sparsevlm.paper.claims import file as claims_file

    if check and ids:
        raise UsageError("--check is for the whole page; give it without ids")
    if check:
        return DONE if claims_file.check() else FAILED
    if not ids:
        claims_file.update()
        return DONE
    try:
        claims_file.show(ids)
    except KeyError as error:
        raise UsageError(error.args[0]) from None
    return DONE


@app.command()
def site(profile: ProfileName = "mini") -> int:
    """Write static pages of executed notebooks and claims."""
    from sparsevlm.cli.site import build
    from sparsevlm.evaluation.paths import relative

    print(f"open {relative(build(chosen_profile(profile)))}")
    return DONE


@app.command()
def provenance(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a figure of this suite")],
) -> int:
    """Say what a PDF, PNG or SVG was made from."""
    import json
    from pathlib import Path

    from sparsevlm.evaluation.results.provenance import read

    print(json.dumps(read(Path(file)), indent=2))
    return DONE


@app.command("list")
def list_names() -> int:
    """List methods, benchmarks, profiles, models and notebooks."""
    from sparsevlm.benchmarks import BENCHMARKS
    from sparsevlm.evaluation.profiles import profiles
    from sparsevlm.methods import METHODS
    from sparsevlm.paper.notebooks import known_notebooks
    from sparsevlm.paper.parameters import full_model_name, registered

    sections = {
        "methods": {name: method.label for name, method in METHODS.items()},
        "benchmarks": {name: benchmark.label for name, benchmark in BENCHMARKS.items()},
        "profiles": {
            name: f"{profile.model} on {profile.device}"
            + (f" (cannot run: {profile.missing})" if profile.missing else "")
            for name, profile in profiles().items()
        },
        "models": {name: full_model_name(name) for name in registered("model")},
        "notebooks": {name: f"notebooks/{name}.ipynb" for name in known_notebooks()},
    }
    for title, entries in sections.items():
        print(title)
        for name, what in entries.items():
            print(f"  {name:<22} {what}")
    return DONE


@app.command()
def check(
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="a100: is this machine ready, and how long will it take")
    ] = "mini",
    fix: Annotated[bool, typer.Option("--fix", help="generate the notebooks again")] = False,
) -> int:  # fmt: skip
    """Check notebooks and bundled files, or whether a machine is ready for a profile."""
    chosen = chosen_profile(profile)
    if chosen.device == "cuda" and not chosen.missing:
        from sparsevlm.cli import preflight

        return preflight.main(chosen)
    from sparsevlm.cli import check as files
    from sparsevlm.evaluation.paths import relative
    from sparsevlm.paper.notebooks import write_notebooks

    if fix:
        for path in write_notebooks():
            print(f"wrote {relative(path)}")
    found = files.notebook_problems() + files.missing_assets()
    for problem in found:
        print(problem)
    print("check: all is well" if not found else f"check: {len(found)} problem(s)")
    return FAILED if found else DONE
