"""What the command line understands; what the commands do is in `sparsevlm/__main__.py`.

Every option becomes an attribute of the parsed namespace, and ``command`` names the command.
Nothing heavy is imported, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sparsevlm.evaluation.judges import options as judging
from sparsevlm.speed import options as bench_options
from sparsevlm.speed.options import positive

DESCRIPTION = "SparseVLM: every table and figure of the paper, on the miniature or on a GPU."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m sparsevlm`."""
    parser = argparse.ArgumentParser(prog="python -m sparsevlm", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    reproduce = commands.add_parser(
        "reproduce", help="run the cells that are missing, then the notebooks that changed"
    )
    reproduce.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="only these notebooks"
    )
    reproduce.add_argument(
        "--jobs", type=positive, default=None, metavar="N",
        help="worker processes (default: one per core, at most 8; one on a GPU)",
    )  # fmt: skip
    reproduce.add_argument(
        "--limit", type=positive, default=None, metavar="N",
        help="at most N samples of each benchmark; kept apart, as profile NAME-N",
    )  # fmt: skip
    reproduce.add_argument(
        "--runs", type=_part, default=None, metavar="A/B",
        help="only part A of B of the cells, and no notebook (for several GPUs or machines)",
    )  # fmt: skip
    reproduce.add_argument(
        "--dry-run", action="store_true", help="say what would run, and run nothing"
    )
    reproduce.set_defaults(command="reproduce")

    run = commands.add_parser("run", help="run notebooks again, from the cells at hand")
    run.add_argument("only", nargs="*", metavar="NAME", help="notebooks (default: all)")
    run.set_defaults(command="run")

    for command in (reproduce, run):
        command.add_argument("--profile", default="mini", help="see `list` (default: mini)")
        command.add_argument(
            "-p", dest="parameters", nargs=2, action="append", default=[],
            metavar=("NAME", "VALUE"), help="set a notebook's parameter; may be repeated",
        )  # fmt: skip

    ledger = commands.add_parser("claims", help="write CLAIMS.md, or show single claims")
    ledger.add_argument("ids", nargs="*", metavar="ID", help="show these instead of writing")
    ledger.add_argument("--check", action="store_true", help="fail if CLAIMS.md is out of date")
    ledger.set_defaults(command="claims")

    site = commands.add_parser("site", help="static pages of executed notebooks and claims")
    site.add_argument("--profile", default="mini", help="see `list` (default: mini)")
    site.set_defaults(command="site")

    figure = commands.add_parser("provenance", help="what a PDF, PNG or SVG was made from")
    figure.add_argument("file", help="a figure of this suite")
    figure.set_defaults(command="provenance")

    listing = commands.add_parser("list", help="methods, benchmarks, profiles, notebooks")
    listing.set_defaults(command="list")

    check = commands.add_parser("check", help="notebooks in step with sources, assets present")
    check.add_argument("--fix", action="store_true", help="generate the notebooks again")
    check.add_argument(
        "--profile", default="mini",
        help="a100: is this machine ready for it, and how long would it take (default: mini)",
    )  # fmt: skip
    check.set_defaults(command="check")

    fetch = commands.add_parser("fetch", help="get the paper's checkpoints, whole and verified")
    fetch.add_argument(
        "names", nargs="*", metavar="NAME",
        help="checkpoints by name or short name (default: all five of the paper)",
    )  # fmt: skip
    fetch.add_argument(
        "--folder", type=Path, default=None, metavar="PATH",
        help="where to keep them (default: $SPARSEVLM_CHECKPOINTS or ~/.cache/sparsevlm)",
    )  # fmt: skip
    fetch.add_argument(
        "--from", dest="source", type=Path, default=None, metavar="PATH",
        help="a folder with files of the checkpoint that you have; those that are right are used",
    )  # fmt: skip
    fetch.add_argument(
        "--check", action="store_true",
        help="read all files again and compare them with their digests; needs no network",
    )  # fmt: skip
    fetch.add_argument(
        "--dry-run", action="store_true", help="say what would be fetched, and fetch nothing"
    )
    fetch.set_defaults(command="fetch")

    judge = commands.add_parser("judge", help="have the open answers of finished runs judged")
    judging.add_arguments(judge)
    judge.set_defaults(command="judge", parameters=[])

    bench = commands.add_parser("bench", help="time and memory of pruning, on random weights")
    bench_options.add_arguments(bench)
    bench.set_defaults(command="bench")
    return parser


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not slash or not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"must be A/B with A from 1 to B, got {text!r}")
    return int(part), int(parts)
