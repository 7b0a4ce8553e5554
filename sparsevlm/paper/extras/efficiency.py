"""What pruning costs and saves: formulas at full size, and records of `sparsevlm bench`.

The formulas are exact for any model. The records under `data/bench/` say what they were measured
on; those of a CPU hold ratios of thread CPU time on small models with random weights, and say
nothing about the speed of a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from sparsevlm.analysis import published
from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.evaluation.paths import DATA
from sparsevlm.models.sizes import PAPER_TEXT_TOKENS, kv_bytes, prefill_flops
from sparsevlm.runtime.timing import PHASES
from sparsevlm.speed.options import FORMAT
from sparsevlm.speed.shapes import SHAPES, Shape

RECORDS = DATA / "bench"
METHOD = "sparsevlm"
LIMIT_PERCENT = 2.0
ONCE_PER_PROMPT = tuple(name for name in PHASES if name != "session")


def load(folder: Path = RECORDS) -> dict[str, dict]:
    """Read all records of a folder, by name of the file without its ending.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If a file is not a record of this format.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("format") != FORMAT or "clock" not in record:
            raise ValueError(
                f"{path} is not a record of format {FORMAT}; measure again with `python -m "
                f"sparsevlm bench --record {path.name}`"
            )
        found[path.stem] = record
    if not found:
        raise FileNotFoundError(
            f"no record in {folder}; restore it with `git checkout -- data/bench`, or measure with "
            "`sparsevlm bench --record FILE`"
        )
    return found


def having(records: Mapping[str, dict], part: str) -> dict[str, dict]:
    """Return the records that have a part of the bench."""
    return {name: record for name, record in records.items() if part in record}


def scope(records: Mapping[str, dict]) -> pd.DataFrame:
    """What every record was measured on, and with which clock; all weights are random."""
    return pd.DataFrame([
        {
            "record": name, **{key: record["shape"][key] for key in ("name", "layers", "hidden")},
            **{key: record[key] for key in ("dtype", "attention", "clock")},
            "device": record["provenance"]["device"],
        }
        for name, record in records.items()
    ])  # fmt: skip


def analytic(text_tokens: int = PAPER_TEXT_TOKENS) -> pd.DataFrame:
    """FLOPs and KV cache of the full-size models, from the schedules alone.

    One row per model and budget, the dense one first; with the paper's TFLOPs and latency ratio
    where it has them.
    """
    rows = []
    for shape in (one for one in SHAPES.values() if one.name != "reference"):
        dense = [shape.num_visual + text_tokens] * shape.layers
        cases = {shape.num_visual: dense}
        for tokens in shape.budgets:
            pruner = shape.pruner(METHOD, tokens)
            entering, _ = tokens_per_layer(
                pruner.stages, shape.layers, shape.num_visual, pruner.recycle
            )
            cases[tokens] = [n + text_tokens for n in entering]
        full, whole = prefill_flops(dense, shape), kv_bytes(dense, shape)
        for tokens, entering in cases.items():
            flops, cache = prefill_flops(entering, shape), kv_bytes(entering, shape)
            rows.append({
                "model": shape.name, "tokens": tokens, "TFLOPs": flops / 1e12,
                "FLOPs / dense": flops / full, "KV (MB)": cache / 1e6, "KV / dense": cache / whole,
                **_paper(shape, tokens),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _paper(shape: Shape, tokens: int) -> dict[str, float]:
    """The paper's TFLOPs, and its latency over the dense model's; Table 1 is about one model."""
    if shape.name != "llava-1.5-7b":
        return {}
    printed = published.by_setting("table1")
    dense = printed["dense", None]
    own = dense if tokens == shape.num_visual else printed[METHOD, tokens]
    return {
        "paper TFLOPs": own["prefill_tflops"],
        "paper latency / dense": own["latency_ms"] / dense["latency_ms"],
    }


def overhead(record: dict) -> pd.DataFrame:
    """Pruning's own time by phase over the oracle's prefill, in percent, by budget and method."""
    return _by_budget_and_method(record, lambda row: {
        "over the oracle (%)": row["overhead_percent"]["median"],
        "low": row["overhead_percent"]["low"], "high": row["overhead_percent"]["high"],
        **{phase: row["stages_percent"][phase] for phase in ONCE_PER_PROMPT},
        "oracle / dense": row["oracle_to_dense"], "time / dense": row["to_dense"],
        "FLOPs / dense": row["flops_to_dense"],
    })  # fmt: skip


def captured(record: dict) -> pd.DataFrame:
    """Prefills from graphs, dense and pruned, over the dense model's as it is, by budget."""
    return _by_budget_and_method(record, lambda row: {
        "time / dense": row["to_dense"], "captured / dense": row["captured_to_dense"],
        "captured dense / dense": record["captured_dense_to_dense"],
        "captured / captured dense": row["captured_to_captured_dense"],
        "FLOPs / dense": row["flops_to_dense"],
    })  # fmt: skip


def _by_budget_and_method(record: dict, columns: Callable[[dict], dict]) -> pd.DataFrame:
    rows = [
        {"tokens": int(budget), "method": method, **columns(row)}
        for budget, methods in record["budgets"].items()
        for method, row in methods.items()
    ]
    return pd.DataFrame(rows).sort_values("tokens", ascending=False, ignore_index=True)


def scale(record: dict) -> pd.DataFrame:
    """Own time over the model's, and peak memory over the dense model's, by visual tokens."""
    table = pd.DataFrame([
        {"visual tokens": int(size), "budget": int(budget), **row}
        for size, found in record["scale"].items() for budget, row in found["budgets"].items()
    ])  # fmt: skip
    return table.sort_values(["visual tokens", "budget"], ascending=[True, False])


def operators(record: dict) -> pd.DataFrame:
    """Operators of a full-size prefill by batch and budget: dense, the oracle's, the method's.

    "kernels" are those that compute or copy; "added" is the method's over the oracle's, as a share.
    """
    rows = []
    for batch, found in record["operators"]["batches"].items():
        for budget, methods in found["budgets"].items():
            for method, of in methods.items():
                runs = {"dense": found["dense"], **of}
                rows.append({
                    "model": record["shape"]["name"], "batch": int(batch), "tokens": int(budget),
                    "method": method, **{f"{run} operators": n["total"] for run, n in runs.items()},
                    **{f"{run} kernels": n["kernels"] for run, n in runs.items()},
                    "added": of["method"]["kernels"] / of["oracle"]["kernels"] - 1,
                })  # fmt: skip
    return pd.DataFrame(rows).sort_values(["batch", "tokens"], ascending=[True, False])


def footprint(record: dict) -> pd.DataFrame:
    """Peak memory of a full-size prefill by visual tokens and batch, weights not counted."""
    table = pd.DataFrame([
        {
            "model": record["shape"]["name"], "visual tokens": int(size), "batch": int(batch),
            "budget": int(budget), "dense (GB)": of["dense_peak_bytes"] / 1e9,
            "pruned (GB)": row["peak_bytes"] / 1e9, "pruned / dense": row["memory_to_dense"],
        }
        for size, batches in record["footprint"]["sizes"].items()
        for batch, of in batches.items() for budget, row in of["budgets"].items()
    ])  # fmt: skip
    return table.sort_values(["visual tokens", "batch", "budget"], ignore_index=True)


def parts(record: dict) -> pd.DataFrame:
    """Vision tower, prefill, the rest up to the first token, and a further token.

    All over the dense model's time to the first token.
    """
    rows = []
    for job, of in sorted(record["answers"]["parts"].items(), key=_by_budget):
        first = record["answers"]["to_dense"][job]["ttft"]
        row = {"run": job, **{part: share * first for part, share in of.items()}}
        row["rest"] = row["ttft"] - row["prefill"] - row.get("vision", 0.0)
        rows.append(row)
    return pd.DataFrame(rows)


def first_tokens(shape: str, folder: Path = RECORDS) -> pd.DataFrame:
    """Time to the first token of a full-size model on a GPU, beside the latency of Table 1.

    One row per method and budget: device, milliseconds, over the dense model's, and the paper's
    two; without rows where no GPU was measured. The records, which `workflow/gpu.sh` writes, must
    be of batch 1 and not scaled.
    """
    printed = published.by_setting("table1") if shape == "llava-1.5-7b" else {}
    rows = []
    for record in having(load(folder), "answers").values():
        seconds = record["answers"].get("seconds")  # of a GPU only
        if seconds is None or record["shape"]["name"] != shape or record["batch"] != 1:
            continue
        for job, of in sorted(seconds.items(), key=_by_budget):
            method, _, tokens = job.partition(" ")
            paper = printed.get((method, int(tokens) if tokens else None), {}).get("latency_ms")
            dense = printed.get(("dense", None), {}).get("latency_ms")
            rows.append({
                "device": f"{record['provenance']['device']}, {record['attention']}",
                "method": method, "tokens": int(tokens) if tokens else None,
                "ms": 1000 * of["ttft"]["median"],
                "/ dense": record["answers"]["to_dense"][job]["ttft"],
                "paper ms": paper, "paper / dense": paper / dense if paper else None,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _by_budget(job: tuple[str, dict]) -> tuple[bool, int]:
    """The dense model first, then from the largest budget to the smallest."""
    name = job[0]
    return name != "dense", 0 if name == "dense" else -int(name.split()[-1])


def largest(records: Mapping[str, dict]) -> pd.DataFrame:
    """The most that pruning costs in each record: what, how much, where, and our limit."""
    cases = (
        ("budgets", overhead, "over the oracle (%)", ("method", "tokens")),
        ("scale", scale, "share_percent", ("visual tokens", "budget")),
        ("scale", scale, "memory_to_dense", ("visual tokens", "budget")),
        ("footprint", footprint, "pruned / dense", ("visual tokens", "batch")),
    )
    rows = []
    for part, table, column, where in cases:
        for name, record in having(records, part).items():
            found = table(record)
            place = found[column].idxmax()
            rows.append({
                "record": name, "what": column, "largest": found.at[place, column],
                "limit": LIMIT_PERCENT if part == "budgets" else None,
                "at": ", ".join(f"{key} {found.at[place, key]}" for key in where),
            })  # fmt: skip
    return pd.DataFrame(rows)
