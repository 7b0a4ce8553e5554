"""Sub-commands beside a reproduction: checkpoints, judges, measurements, and recorded files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import typer

from sparsevlm.cli.base import (
    DONE,
    FAILED,
    Only,
    ProfileName,
    UsageError,
    Words,
    app,
    chosen_profile,
    plan_of,
    words,
)
from sparsevlm.speed.options import PARTS, SCALE, Options


def _numbers(text: str | Words) -> Words:
    found = words(text)
    if not all(str(one).isdecimal() and int(one) > 0 for one in found):
        raise typer.BadParameter(f"must be whole numbers from 1 on, separated by commas: {text!r}")
    return Words(int(one) for one in found)


def _list(text: str, parser=words):
    metavar = "A,B" if parser is words else "N,N"
    return typer.Option(parser=parser, metavar=metavar, help=text)


def _count(text: str):
    return typer.Option(min=1, metavar="N", help=text)


def _name(text: str):
    return typer.Option(metavar="NAME", help=text)


@app.command()
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME]...", help="checkpoints by name or short name (default: all five)"
        ),
    ] = [],  # noqa: B006
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="where to keep them (default: $SPARSEVLM_CHECKPOINTS or ~/.cache/sparsevlm)",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="PATH", help="a folder with files that you have; right ones are used"
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="read all files again, compare digests; no network")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be fetched")] = False,
) -> int:
    """Get the paper's checkpoints, whole and verified."""
    from sparsevlm.models.checkpoints.fetch import main

    return main(
        SimpleNamespace(names=names, folder=folder, source=source, check=check, dry_run=dry_run)
    )


@app.command()
def judge(
    judge: Annotated[
        Literal["match", "open", "endpoint"],
        typer.Argument(metavar="match|open|endpoint", help="who judges"),
    ],
    profile: ProfileName = "mini",
    only: Only = Words(),  # noqa: B008
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="of an endpoint, or of the hub, or a folder")
    ] = None,
    revision: Annotated[
        str, typer.Option(metavar="COMMIT", help="of a model of the hub")
    ] = "",
    address: Annotated[
        str, typer.Option(metavar="URL", help="of an endpoint")
    ] = "https://api.openai.com/v1",
    key_variable: Annotated[
        str, typer.Option(metavar="NAME", help='environment variable with the key ("": none)')
    ] = "OPENAI_API_KEY",
    price: Annotated[
        tuple[float, float] | None, typer.Option(metavar="IN OUT", help="of a million tokens")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="FILE", help="another wording, as JSON")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="of an open judge")] = "cpu",
    parallel: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="requests at a time")
    ] = 4,
    yes: Annotated[
        bool, typer.Option("--yes", help="do not ask whether the price is right")
    ] = False,
) -> int:  # fmt: skip
    """Have the open answers of finished runs judged."""
    options = SimpleNamespace(**locals())
    from sparsevlm.evaluation.judges import command

    plan = plan_of(chosen_profile(profile), only)
    try:
        lines = command.run(options, plan.runs, plan.store)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print("\n".join(lines) or "no finished run of this profile needs a judge")
    return DONE


@app.command()
def bench(
    shape: Annotated[str, _name("reference, or a model at full size")] = "reference",
    layers: Annotated[int | None, _count("scale the shape down to so many layers")] = None,
    hidden: Annotated[int | None, _count("scale the shape down to this width")] = None,
    visual: Annotated[int | None, _count("visual tokens, with the reference only")] = None,
    budgets: Annotated[Words, _list("budgets (default: of the shape)", _numbers)] = Words(),  # noqa: B008
    methods: Annotated[Words, _list("methods with fixed counts")] = Words(("sparsevlm",)),  # noqa: B008
    parts: Annotated[Words, _list("of " + ", ".join(PARTS))] = Words(("prefill",)),  # noqa: B008
    rounds: Annotated[int, _count("interleaved rounds")] = 15,
    new_tokens: Annotated[int, _count("tokens of an answer")] = 8,
    batch: Annotated[int, _count("prompts in one batch")] = 1,
    batches: Annotated[
        Words, _list("batches of throughput, operators and footprint", _numbers)
    ] = Words((1, 2, 4, 8, 16, 32)),  # noqa: B008
    scale: Annotated[Words, _list("visual tokens of scale and footprint", _numbers)] = Words(SCALE),  # noqa: B008
    capture: Annotated[
        bool, typer.Option("--capture", help="run dense model and methods from graphs as well")
    ] = False,
    device: Annotated[str, _name("cpu or cuda")] = "cpu",
    dtype: Annotated[str, _name("of weights and activations")] = "float32",
    attention: Annotated[str, _name("kernel, as transformers names it")] = "sdpa",
    seed: Annotated[int, typer.Option(metavar="N", help="of weights, prompts and order")] = 0,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="also write the result to this file")
    ] = None,
) -> int:  # fmt: skip
    """Measure time and memory of pruning, on random weights."""
    chosen = {name: tuple(v) if isinstance(v, Words) else v for name, v in locals().items()}
    if unknown := [part for part in parts if part not in PARTS]:
        raise UsageError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    from sparsevlm.speed.bench import run_command

    run_command(Options(**chosen))
    return DONE


@app.command()
def bundle() -> int:
    """Record the explorer's bundled traces again, after a miniature was trained."""
    from sparsevlm.explorer.bundle import main

    main()
    return DONE


@app.command()
def significance(
    only: Annotated[
        Words, typer.Option(parser=words, metavar="A,B", help="only these studies (apart_...)")
    ] = Words(),  # noqa: B008
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="worker processes")] = 2,
) -> int:
    """Ask the miniatures 2,000 questions each: which methods differ for sure."""
    from sparsevlm.paper.extras.significance import NAMES, update

    if unknown := [name for name in only if name not in NAMES]:
        raise UsageError(f"unknown study {unknown[0]!r}; known: {', '.join(NAMES)}")
    failed = update(only or NAMES, jobs)
    print("\n".join(f"failed: {what}: {why}" for what, why in failed.items()))
    return FAILED if failed else DONE


@app.command("lmms-task")
def lmms_task(
    task: Annotated[str, typer.Argument(help="name of a task in lmms-eval")],
    folder: Annotated[Path, typer.Argument(help="its data set, as it is on the hub")],
    out: Annotated[Path, typer.Option(metavar="PATH", help="where to write")] = Path("lmms_tasks"),
    instruction: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="in place of the words that follow every question"),
    ] = None,
) -> int:
    """Let lmms-eval read a task's data from a folder."""
    from sparsevlm.benchmarks.loaders import DataError
    from sparsevlm.integrations.local_task import write_task

    try:
        path = write_task(task, folder, out, instruction=instruction)
    except DataError as error:
        raise UsageError(str(error)) from None
    print(f"lmms-eval --tasks {path.stem} --include_path {path.parent}")
    return DONE
