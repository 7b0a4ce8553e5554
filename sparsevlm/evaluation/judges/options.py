"""The options of the command `judge`; nothing else is imported, so that the parser is quick."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command line (`command.run` reads them)."""

    def add(name: str, text: str, **how: object) -> None:
        parser.add_argument(f"--{name}", help=text, **how)

    parser.add_argument("judge", choices=("match", "open", "endpoint"), help="who judges")
    add("profile", "see `list` (default: mini)", default="mini")
    add("only", "cells of these notebooks", nargs="+", default=[], metavar="NAME")
    add("model", "of an endpoint, or of the hub, or a folder")
    add("revision", "of a model of the hub", default="", metavar="COMMIT")
    add("address", "of an endpoint", default="https://api.openai.com/v1")
    add("key-variable", 'environment variable with the key ("": none)', default="OPENAI_API_KEY",
        metavar="NAME")  # fmt: skip
    add("price", "of a million tokens", type=float, nargs=2, metavar=("IN", "OUT"))
    add("prompt", "another wording, as JSON", metavar="FILE")
    add("device", "of an open judge", default="cpu")
    add("parallel", "requests at a time (default: 4)", type=int, choices=range(1, 65), default=4,
        metavar="N")  # fmt: skip
    add("yes", "do not ask whether the price is right", action="store_true")
