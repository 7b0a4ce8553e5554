"""Sub-commands beside a reproduction: judges, measurements, and recorded files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import typer

from sparsevlm.cli import base
from sparsevlm.speed.options import PARTS, Options

MaybePath = Path | None
BENCH = Options()


@base.app.command()
def upload(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where to write the files")],
    profile: base.ProfileName = "a100",
    only: base.Only = base.NONE,
) -> int:
    """Write finished answers as the files that official scorers and servers take."""
    from sparsevlm.evaluation.backends import default_data
    from sparsevlm.evaluation.results.uploads import write_uploads

    plan = base.plan_of(base.chosen_profile(profile), only)
    written = write_uploads(plan.runs, plan.store, folder, Path(default_data()))
    print("\n".join(map(str, written)) or "no finished run without --limit has such a file")
    return base.DONE


@base.app.command()
def score(
    reading: Annotated[str, typer.Argument(metavar="READING", help="a version of MMBench's rules")],
    profile: base.ProfileName = "a100",
    only: base.Only = base.NONE,
) -> int:
    """Score finished answers to MMBench again, read by another version of its rules."""
    from sparsevlm.benchmarks import get_benchmark
    from sparsevlm.evaluation.results.uploads import scored_again

    with base.refusing():
        get_benchmark("mmbench", reading)
    plan = base.plan_of(base.chosen_profile(profile), only)
    lines = scored_again(plan.runs, plan.store, reading)
    print("\n".join(lines) or "no finished run of this profile is of MMBench")
    return base.DONE


@base.app.command()
def judge(
    judge: Annotated[
        Literal["match", "open", "endpoint"],
        typer.Argument(metavar="match|open|endpoint", help="who judges"),
    ],
    profile: base.ProfileName = "mini",
    limit: base.Limit = 0,
    answered_by: base.ModelName = "",
    only: base.Only = base.NONE,
    model: Annotated[str, base.option("of an endpoint, or of the hub, or a folder")] = "",
    revision: Annotated[str, base.option("of a model of the hub", "COMMIT")] = "",
    address: Annotated[
        str, base.option("of an endpoint (default: $OPENAI_BASE_URL or OpenAI's)", "URL")
    ] = "",
    key_variable: Annotated[
        str | None,
        base.option(
            'variable with the key, "" for none (default: OPENAI_API_KEY; none on localhost)'
        ),
    ] = None,
    max_tokens: Annotated[int | None, base.count("longest reply, thoughts included")] = None,
    limit_field: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None,
        base.option("what an endpoint calls that (default: by the model's name)"),
    ] = None,
    fields: Annotated[
        str, base.option("further fields of a request; null leaves one out", "JSON")
    ] = "{}",
    price: Annotated[
        tuple[float, float] | None, base.option("of a million tokens", "IN OUT")
    ] = None,
    prompt: Annotated[str | None, base.option("another wording, as YAML or JSON", "FILE")] = None,
    reading: Annotated[
        Literal["official", "strict"], base.option("of replies about videos", "official|strict")
    ] = "official",
    device: Annotated[str, base.option("of an open judge (default: the profile's)")] = "",
    parallel: Annotated[int, base.count("requests at a time", max=64)] = 4,
    yes: Annotated[bool, base.flag("--yes", "do not ask whether the price is right")] = False,
) -> int:
    """Have the open answers of finished runs judged."""
    options = SimpleNamespace(**locals())
    from sparsevlm.evaluation.judges import command
    from sparsevlm.evaluation.results.store import Store

    with base.refusing():
        asked = base.chosen_profile(profile, answered_by, limit)
        options.device = device or asked.device
        line = ""
        for line in command.run(options, command.runs_of(asked, only), Store()):
            print(line, flush=True)
    if not line:
        print(
            f"no finished run of {asked.options} needs a judge; those of `reproduce --limit N` "
            "are found by --limit N"
        )
    return base.DONE


@base.app.command()
def bench(
    shape: Annotated[str, base.option("reference, or a model at full size")] = BENCH.shape,
    layers: Annotated[int | None, base.count("scale the shape down to so many layers")] = None,
    hidden: Annotated[int | None, base.count("scale the shape down to this width")] = None,
    visual: Annotated[int | None, base.count("visual tokens, with the reference only")] = None,
    budgets: Annotated[
        base.Words, base.several("default: those of the shape", base.numbers)
    ] = base.NONE,
    methods: Annotated[base.Words, base.several("with fixed counts")] = base.Words(BENCH.methods),
    parts: Annotated[base.Words, base.several(f"of {', '.join(PARTS)}")] = base.Words(BENCH.parts),
    rounds: Annotated[int, base.count("interleaved rounds")] = BENCH.rounds,
    new_tokens: Annotated[int, base.count("tokens of an answer")] = BENCH.new_tokens,
    batch: Annotated[int, base.count("prompts in one batch")] = BENCH.batch,
    batches: Annotated[
        base.Words, base.several("batches of throughput, operators and footprint", base.numbers)
    ] = base.Words(BENCH.batches),
    scale: Annotated[
        base.Words, base.several("visual tokens of scale and footprint", base.numbers)
    ] = base.Words(BENCH.scale),
    capture: Annotated[
        bool, base.flag("--capture", "run dense model and methods from graphs")
    ] = False,
    device: Annotated[str, base.option("cpu or cuda")] = BENCH.device,
    dtype: Annotated[str, base.option("of weights and activations")] = BENCH.dtype,
    attention: Annotated[str, base.option("kernel, as transformers names it")] = BENCH.attention,
    seed: Annotated[int, base.option("of weights, prompts and order", "N")] = BENCH.seed,
    record: Annotated[MaybePath, base.option("also write the result to this file", "FILE")] = None,
) -> int:
    """Measure time and memory of pruning, on random weights."""
    chosen = {name: tuple(v) if isinstance(v, base.Words) else v for name, v in locals().items()}
    if unknown := [part for part in parts if part not in PARTS]:
        raise base.UsageError(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    from sparsevlm.speed.bench import run_command

    run_command(Options(**chosen))
    return base.DONE


@base.app.command()
def bundle() -> int:
    """Record the explorer's bundled traces again, after a miniature was trained."""
    from sparsevlm.explorer.session import record_bundled

    for path in record_bundled():
        print(f"{path.name}: {path.stat().st_size} bytes")
    return base.DONE


@base.app.command()
def significance(
    only: Annotated[base.Words, base.several("only these studies (apart_...)")] = base.NONE,
    jobs: Annotated[int, base.count("worker processes")] = 2,
) -> int:
    """Ask the miniatures 2,000 questions each: which methods differ for sure."""
    from sparsevlm.paper.extras.significance import NAMES, update

    if unknown := [name for name in only if name not in NAMES]:
        raise base.UsageError(f"unknown study {unknown[0]!r}; known: {', '.join(NAMES)}")
    failed = update(only or NAMES, jobs)
    for what, why in failed.items():
        print(f"failed: {what}: {why}")
    return base.FAILED if failed else base.DONE
