"""What the sub-commands share: the command that they belong to, exit codes, options.

Exit codes: 0 done; 1 something failed, everything else was done and the same command goes on from
there; 2 wrong usage, nothing was done; 130 stopped by Ctrl-C. Imports are inside the commands, so
that `--help` and "nothing to do" answer at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

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


class Words(tuple):
    """Words of an option, which separates them by commas."""


def words(text: str | Words) -> Words:
    """Split the value of an option at its commas."""
    return text if isinstance(text, Words) else Words(part for part in text.split(",") if part)


def shard_of(text: str) -> str:
    """Check A/B, part A of B."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
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
