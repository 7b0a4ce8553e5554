"""Time and memory of pruning: dense model, oracle and methods, on random weights.

The oracle is the floor: the same cuts and counts at fixed indices, in a plain loop over the layers,
without hooks, scoring or clustering. What pruning adds to it is counted directly, by the clock
readings of every stage of `prune`; the difference of two totals is given too, but carries the noise
of both. All runs of a round are interleaved in random order.

On a CPU the clock is the CPU time of one thread, and only ratios are reported: no wall time and no
speed-up. On a GPU it is events on the stream, and seconds are reported as well.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import torch

from sparsevlm.evaluation.results import provenance
from sparsevlm.evaluation.results.atomic import write_text
from sparsevlm.speed import answering as bench_answer
from sparsevlm.speed import footprint as bench_footprint
from sparsevlm.speed.case import Case
from sparsevlm.speed.clock import CLOCKS
from sparsevlm.speed.options import CALCULATED, FORMAT, Options
from sparsevlm.speed.prefill import measure_prefill
from sparsevlm.speed.scale import at, measure_scale, scaled_budgets
from sparsevlm.speed.shapes import Shape, get_shape


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
    _check(options)
    threads = torch.get_num_threads()
    if options.device == "cpu":
        torch.set_num_threads(1)
    try:
        return _measure(options)
    finally:
        torch.set_num_threads(threads)


def _check(options: Options) -> None:
    if options.device not in CLOCKS:
        raise ValueError(f"device must be one of {', '.join(CLOCKS)}, got {options.device!r}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, and torch sees no GPU; use --device cpu")
    if options.device == "cpu" and "throughput" in options.parts:
        raise ValueError(
            "throughput is answers per second of wall time, which on a CPU says nothing about a "
            "GPU; measure it with --device cuda"
        )
    full = get_shape(options.shape).scaled(options.layers, options.hidden)
    timed = set(options.parts) - set(CALCULATED)
    if timed and options.device == "cpu" and not full.is_scaled and full.name != "reference":
        raise ValueError(
            f"{options.shape} at full size is for a GPU; on a CPU scale it down with --layers and "
            "--hidden"
        )
    if not hasattr(torch, options.dtype):
        raise ValueError(f"unknown dtype {options.dtype!r}; use float16, bfloat16 or float32")


def _measure(options: Options) -> dict[str, object]:
    shape = get_shape(options.shape).scaled(options.layers, options.hidden)
    found = _protocol(options, shape)
    found |= _calculated(options, shape)
    if set(options.parts) - set(CALCULATED):
        found |= _timed(options, shape)
    return found


def _calculated(options: Options, shape: Shape) -> dict[str, object]:
    """The parts that need no device, no time and no weights."""
    budgets, dtype = options.budgets or shape.budgets, getattr(torch, options.dtype)
    found: dict[str, object] = {}
    if "operators" in options.parts:
        found["operators"] = bench_footprint.fake_operators(
            shape, dtype, options.attention, options.batches, budgets, options.methods,
            options.seed,
        )  # fmt: skip
    if "footprint" in options.parts:
        found["footprint"] = bench_footprint.footprint(
            shape, dtype, options.attention, options.scale, options.batches, budgets,
            options.methods[0], options.seed,
        )  # fmt: skip
    return found


def _timed(options: Options, shape: Shape) -> dict[str, object]:
    budgets = options.budgets or shape.budgets
    case = Case.of(
        shape, options.device, getattr(torch, options.dtype), options.attention, options.batch,
        options.seed,
    )  # fmt: skip
    scaled = {budget: budget for budget in budgets}
    if options.visual not in (None, shape.num_visual):
        scaled = scaled_budgets(case, budgets, options.visual)
        case = at(case, options.visual, options.seed)
    found: dict[str, object] = {"shape": asdict(case.shape)}
    named = dict(zip(scaled.values(), map(str, scaled), strict=True))
    if "prefill" in options.parts:
        prefill = measure_prefill(
            case, list(scaled.values()), options.methods, options.rounds, options.seed,
            options.capture,
        )  # fmt: skip
        found["budgets"] = {named[int(b)]: of for b, of in prefill["budgets"].items()}
        if options.capture:
            found["captured_dense_to_dense"] = prefill["dense"]["captured_to_dense"]
        if options.device == "cuda":
            found["dense_prefill_seconds"] = prefill["dense"]["seconds"]
    jobs = {
        f"{method} {name}": case.pruner(method, tokens)
        for tokens, name in named.items() for method in options.methods
    }  # fmt: skip
    jobs = {"dense": None, **jobs}
    if "answers" in options.parts:
        found["answers"] = _answers(options, case, jobs)
    if "memory" in options.parts:
        found["memory"] = bench_answer.measure_memory(case, jobs)
    if "scale" in options.parts:
        found["scale"] = measure_scale(
            case, options.scale, budgets, options.rounds, options.methods[0]
        )
    if "throughput" in options.parts:
        found["throughput"] = bench_answer.measure_throughput(
            case, jobs, options.batches, options.rounds, options.new_tokens, options.seed
        )
    return found


def _answers(options: Options, case: Case, jobs: dict) -> dict[str, object]:
    answers = bench_answer.measure_answers(
        case, jobs, options.rounds, options.new_tokens, options.seed
    )
    found = {"to_dense": bench_answer.to_dense(answers), "parts": bench_answer.shares(answers)}
    return {**found, "seconds": answers} if options.device == "cuda" else found


def _protocol(options: Options, shape: Shape) -> dict[str, object]:
    timed = set(options.parts) - set(CALCULATED)
    clock = CLOCKS[options.device] if timed else "calculated, nothing timed"
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
    print("\n".join(summary(result)))
    if options.record is not None:
        write_text(options.record, json.dumps(result, indent=1, sort_keys=True) + "\n")
        print(f"wrote {options.record}")
    print(json.dumps(result))


def summary(result: dict) -> list[str]:
    """The result for the eye, line by line."""
    shape = result["shape"]
    lines = [
        f"{shape['name']}: {shape['layers']} layers, hidden {shape['hidden']}, "
        f"{shape['num_visual']} visual tokens, batch {result['batch']}, {result['dtype']}, "
        f"{result['attention']}; {result['clock']}; random weights"
    ]
    if "budgets" in result:
        lines.append(f"{'tokens':>7} {'method':<22} {'oracle/dense':>12} {'/dense':>7} "
                     f"{'FLOPs/dense':>11} {'over the oracle':>16} (quartiles)")  # fmt: skip
    for budget, methods in result.get("budgets", {}).items():
        for method, row in methods.items():
            over = row["overhead_percent"]
            lines.append(
                f"{budget:>7} {method:<22} {row['oracle_to_dense']:>12.3f} "
                f"{row['to_dense']:>7.3f} {row['flops_to_dense']:>11.3f} "
                f"{over['median']:>14.2f} % ({over['low']:.2f} to {over['high']:.2f})"
            )
    for part in ("answers", "memory", "scale", "throughput", "operators", "footprint"):
        if part in result:
            lines.append(f"{part}: {json.dumps(result[part])}")
    return lines
