"""What the sub-commands share: the command that they belong to, exit codes, options.

Exit codes: 0 done; 1 something failed, everything else was done and the same command goes on from
there; 2 wrong usage, nothing was done; 130 stopped by Ctrl-C. Imports are inside the commands, so
that `--help` and "nothing to do" answer at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.core import TyperGroup

DONE, FAILED, USAGE = 0, 1, 2


class UsageError(Exception):
    """The command line asks for something that does not exist."""


@contextmanager
def refusing() -> Iterator[None]:
    """Say of a value that the package refuses that the command was used wrongly."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from None


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
    """The value of an option that takes several, separated by commas."""


NONE = Words()


def words(text: str | Words) -> Words:
    """Split the value of an option at its commas."""
    return text if isinstance(text, Words) else Words(part for part in text.split(",") if part)


def numbers(text: str | Words) -> Words:
    """Read whole numbers from 1 on, separated by commas."""
    found = words(text)
    if not all(str(one).isdecimal() and int(one) > 0 for one in found):
        raise typer.BadParameter(f"must be whole numbers from 1 on, separated by commas: {text!r}")
    return Words(int(one) for one in found)


def option(text: str, metavar: str = "NAME", *names: str, **how: object):
    """Declare an option that takes a value."""
    return typer.Option(*names, metavar=metavar, help=text, **how)


def flag(name: str, text: str):
    """Declare an option that is given or not."""
    return typer.Option(name, help=text)


def several(text: str, parser: Callable = words):
    """Declare an option that takes words, or numbers, separated by commas."""
    return option(text, "A,B" if parser is words else "N,N", parser=parser)


def count(text: str, **how: object):
    """Declare an option that takes a whole number from 1 on."""
    return option(text, "N", **{"min": 1, **how})


def _shard(text: str) -> str:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise typer.BadParameter(f"must be A/B with A from 1 to B, got {text!r}")
    return text


def _parameter(text: str) -> str:
    if "=" not in text:
        raise typer.BadParameter(f"a parameter is -p NAME VALUE, got only {text!r}")
    return text


ProfileName = Annotated[str, option("see `list`")]
ModelName = Annotated[str, option("in place of the profile's own; see `list`")]
Limit = Annotated[int, count("samples of each benchmark; 0 for all", min=0)]
Only = Annotated[Words, several("only these notebooks")]
Shard = Annotated[
    str | None,
    option("part A of B of the evaluation runs, for several GPUs", "A/B", parser=_shard),
]
Parameters = Annotated[
    list[str] | None,
    option("a notebook's parameter; may be repeated", "NAME VALUE", "-p", parser=_parameter),
]


def chosen_profile(name: str, model: str = "", limit: int = 0):
    """Return a profile with model and limit; UsageError if one of them cannot be."""
    from sparsevlm.paper.page import profile_of

    with refusing():
        return profile_of(name, model, limit)


def plan_of(profile, names: Sequence[str], parameters: Sequence[str] | None = None):
    """Return what is to be run; UsageError if it is not clear."""
    from sparsevlm.cli.suite import make_plan

    pairs = [text.partition("=")[::2] for text in parameters or ()]
    given = dict(pairs)
    if len(given) < len(pairs):
        raise UsageError(f"a parameter is set twice: {', '.join(name for name, _ in pairs)}")
    with refusing():
        return make_plan(profile, names, given)
