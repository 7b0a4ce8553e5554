"""Options of the bench from a command line."""

from __future__ import annotations

from sparsevlm.cli.arguments import build_parser
from sparsevlm.speed.options import Options, from_namespace


def parse_bench(arguments: list[str]) -> Options:
    return from_namespace(build_parser().parse_args(["bench", *arguments]))
