"""Export a finished training run and write its card: `python -m sparsevlm.miniature.card`.

The card says what the weights are, how they came about and how good the dense model is, on
questions that neither the training nor the reported tables use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from ..benchmarks import BENCHMARKS
from .model import build_model
from .scenes import make_scene
from .train import RECIPE
from .vocabulary import prompt
from .weights import DATA, NAMES, export, load_miniature

CARD_SEED = 1  # the reported tables use seed 0
BATCH = 32


@torch.inference_mode()
def answers(model, processor, samples) -> Iterable[str]:
    """Greedy answers of the dense model, in order."""
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        inputs = processor(
            images=[make_scene(s.scene_seed).image for s in batch],
            text=[prompt(s.question) for s in batch],
            padding=True,
            return_tensors="pt",
        )
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        yield from (t.strip() for t in processor.batch_decode(new, skip_special_tokens=True))


def accuracies(model, processor, samples_per_benchmark: int) -> dict[str, dict]:
    """Score, plain accuracy and accuracy per split of the dense model on every benchmark."""
    result = {}
    for name, benchmark in BENCHMARKS.items():
        samples = benchmark.samples(samples_per_benchmark, CARD_SEED)
        rows = [
            {**s.to_json(), "prediction": p}
            for s, p in zip(samples, answers(model, processor, samples), strict=True)
        ]
        splits = defaultdict(list)
        for row in rows:
            splits[row["split"]].append(float(benchmark.judge(row)))
        result[name] = {
            "label": benchmark.label,
            "questions": len(rows),
            "score": benchmark.score(rows)["score"],
            "unit": benchmark.unit,
            "accuracy": sum(map(sum, splits.values())) / len(rows),
            "splits": {k: sum(v) / len(v) for k, v in sorted(splits.items())},
        }
    return result


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=DATA, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _curves_figure(rows: list[dict], path: Path) -> None:
    """Loss and a few accuracies over the steps of all stages, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (loss, accuracy) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    offset = 0
    for stage in RECIPE:
        part = [r for r in rows if r["stage"] == stage.name]
        steps = [offset + r["step"] for r in part]
        loss.plot(steps, [r["loss"] for r in part], lw=1, label=stage.name)
        offset += stage.steps
    for name in ("shape", "letter", "list/shape", "list/letter", "list/there", "list/choose"):
        offset, steps, values = 0, [], []
        for stage in RECIPE:
            part = [r for r in rows if r["stage"] == stage.name and name in r]
            steps += [offset + r["step"] for r in part]
            values += [r[name] for r in part]
            offset += stage.steps
        accuracy.plot(steps, values, lw=1, label=name if "/" in name else f"patch: {name}")
    loss.set(xlabel="step", ylabel="training loss", yscale="log")
    accuracy.set(xlabel="step", ylabel="accuracy on fresh scenes", ylim=(0, 1.02))
    loss.legend(fontsize=7, frameon=False)
    accuracy.legend(fontsize=7, frameon=False)
    fig.savefig(path, metadata={"Date": None})


def write_card(folder: Path, samples_per_benchmark: int, name: str = NAMES[0]) -> Path:
    """Export ``folder/checkpoint.pt`` to data/miniature and write the card beside it.

    Raises
    ------
    FileNotFoundError
        The run has no checkpoint.
    ValueError
        The run is not finished.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint in {folder}; train first: make train")
    state = torch.load(path, map_location="cpu", weights_only=True)
    last = RECIPE[-1]
    if (state["stage"], state["step"]) != (last.name, last.steps):
        raise ValueError(
            f"the run in {folder} stands at step {state['step']} of {state['stage']}, and the "
            f"recipe ends at step {last.steps} of {last.name}; go on with make train"
        )
    model = build_model(state["seed"])
    model.load_state_dict(state["model"])
    export(model, DATA / name)
    rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    facts = {
        "name": name,
        "seed": state["seed"],
        "processes": state["world"],
        "commit": _commit(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": [asdict(stage) for stage in RECIPE],
        "card_seed": CARD_SEED,
        "accuracies": accuracies(*load_miniature(name), samples_per_benchmark),
        "curves": rows,
    }
    (DATA / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    _curves_figure(rows, DATA / f"{name}-curves.svg")
    card = DATA / f"{name}.md"
    card.write_text(_text(facts))
    return card


def _text(facts: dict) -> str:
    table = ["| benchmark | questions | score | accuracy | by kind |", "|---|---|---|---|---|"]
    for entry in facts["accuracies"].values():
        kinds = ", ".join(f"{k or 'all'} {v:.1%}" for k, v in entry["splits"].items())
        table.append(
            f"| {entry['label']} | {entry['questions']} | {entry['score']:.1f} {entry['unit']} "
            f"| {entry['accuracy']:.1%} | {kinds} |"
        )
    stages = ["| stage | steps | pictures per step | patches per side |", "|---|---|---|---|"]
    stages += [
        f"| {s['name']} | {s['steps']} | {s['batch']} | {s['grid']} |" for s in facts["recipe"]
    ]
    template = (DATA / "card_template.md").read_text()
    values = {
        "{name}": facts["name"],
        "{seed}": str(facts["seed"]),
        "{processes}": str(facts["processes"]),
        "{commit}": facts["commit"],
        "{torch}": facts["torch"],
        "{parameters}": f"{facts['parameters'] / 1e6:.2f} million",
        "{card_seed}": str(facts["card_seed"]),
        "{accuracies}": "\n".join(table),
        "{stages}": "\n".join(stages),
    }
    for key, value in values.items():
        template = template.replace(key, value)
    return template


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sparsevlm.miniature.card", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("results/training/mini-llava"))
    parser.add_argument("--samples", type=int, default=400, help="questions per benchmark")
    arguments = parser.parse_args()
    print(write_card(arguments.folder, arguments.samples))


if __name__ == "__main__":
    main()
