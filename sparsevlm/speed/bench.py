"""Time and memory of pruning: dense model, oracle and methods, on random weights.

The oracle is the lower bound: the same stages and counts at fixed indices, in a plain loop over the
layers, without hooks, scoring or clustering. What pruning adds to it is counted directly, by the
clock readings of every phase of `prune`; the difference of two totals is given too, but carries the
noise of both. All runs of a round are interleaved in random order.

On a CPU the clock is the CPU time of one thread, and only ratios are reported: no wall time and no
speed-up. On a GPU it is events on the stream, and seconds are reported as well.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from jinja2 import Template

from sparsevlm.evaluation.results import provenance
from sparsevlm.models.atomic import write_text
from sparsevlm.speed import answering, calculated, prefill
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import CLOCKS
from sparsevlm.speed.options import CALCULATED, FORMAT, PARTS, Options
from sparsevlm.speed.shapes import Shape, get_shape

SUMMARY = Path(__file__).with_name("templates") / "summary.txt.j2"


def run_bench(options: Options) -> dict[str, object]:
    """Measure what the options ask for.

    Returns
    -------
    dict
        The protocol, provenance, and one entry for each part; `docs/speed.md` explains them.

    Raises
    ------
    ValueError
        For options that do not fit each other or the machine.
    """
    shape = _checked(options)
    threads = torch.get_num_threads()
    if options.device == "cpu":
        torch.set_num_threads(1)
    try:
        found = _protocol(options, shape)
        if "operators" in options.parts:
            found["operators"] = calculated.operators(shape, options)
        if "footprint" in options.parts:
            found["footprint"] = calculated.footprint(shape, options)
        return found | _timed(options, shape) if _is_timed(options) else found
    finally:
        torch.set_num_threads(threads)


def _checked(options: Options) -> Shape:
    if options.device not in CLOCKS:
        raise ValueError(f"device must be one of {', '.join(CLOCKS)}, got {options.device!r}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, and torch sees no GPU; use --device cpu")
    if options.device == "cpu" and "throughput" in options.parts:
        raise ValueError(
            "throughput is answers per second of wall time, which on a CPU says nothing about a "
            "GPU; measure it with --device cuda"
        )
    shape = get_shape(options.shape).scaled(options.layers, options.hidden)
    if _is_timed(options) and options.device == "cpu" and not shape.is_scaled:
        if shape.name != "reference":
            raise ValueError(
                f"{options.shape} at full size is for a GPU; on a CPU scale it down with --layers "
                "and --hidden"
            )
    if not hasattr(torch, options.dtype):
        raise ValueError(f"unknown dtype {options.dtype!r}; use float16, bfloat16 or float32")
    return shape


def _is_timed(options: Options) -> bool:
    return bool(set(options.parts) - set(CALCULATED))


def _timed(options: Options, shape: Shape) -> dict[str, object]:
    dtype = getattr(torch, options.dtype)
    case = Case.of(
        shape, options.device, dtype, options.attention, options.batch, options.seed
    ).with_visual(options.visual or shape.num_visual)
    found: dict[str, object] = {"shape": asdict(case.shape)}
    if "prefill" in options.parts:
        found |= prefill.measure_prefill(case, options)
    jobs = {"dense": None} | {
        f"{method} {budget}": case.pruner(method, budget)
        for budget in options.budgets or shape.budgets for method in options.methods
    }  # fmt: skip
    if "answers" in options.parts:
        answers = answering.measure_answers(case, jobs, options)
        seconds = {"seconds": answers} if options.device == "cuda" else {}
        found["answers"] = {
            "to_dense": answering.to_dense(answers), "parts": answering.shares(answers), **seconds
        }  # fmt: skip
    if "memory" in options.parts:
        found["memory"] = prefill.measure_memory(case, jobs)
    if "scale" in options.parts:
        found["scale"] = prefill.measure_scale(case, options)
    if "throughput" in options.parts:
        found["throughput"] = answering.measure_throughput(case, jobs, options)
    return found


def _protocol(options: Options, shape: Shape) -> dict[str, object]:
    clock = CLOCKS[options.device][1] if _is_timed(options) else "calculated, nothing timed"
    return {
        "format": FORMAT, "clock": clock, "rounds": options.rounds,
        "shape": asdict(shape), "weights": "random", "batch": options.batch,
        "dtype": options.dtype, "attention": options.attention, "threads": torch.get_num_threads(),
        "options": {
            name: value for name, value in asdict(options).items() if name != "record"
        },
        "provenance": provenance.collect(),
    }  # fmt: skip


def run_command(options: Options) -> None:
    """Measure, print tables and one line of JSON at the end, and write the record if asked to."""
    result = run_bench(options)
    print(summary(result))
    if options.record is not None:
        write_text(options.record, json.dumps(result, indent=1, sort_keys=True) + "\n")
        print(f"wrote {options.record}")
    print(json.dumps(result))


def summary(result: dict) -> str:
    """The result, formatted line by line."""
    page = Template(SUMMARY.read_text(encoding="utf-8"), trim_blocks=True)
    return page.render(result=result, parts=PARTS[1:], dumps=json.dumps).rstrip()
