"""Export a finished run and write its card: `python -m training.card [--name NAME]`.

The card says what the weights are, how they came about and how good the dense model is, on
questions that neither the training nor the reported tables use.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from sparsevlm.benchmarks.registry import accuracy_by_kind
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.answer import answer
from sparsevlm.miniature.registry import MINIATURES, MiniatureSpec, get_miniature
from sparsevlm.miniature.weights import DATA, load_miniature
from training.card_text import fill
from training.export import export
from training.recipes import Recipe, Stage
from training.registry import get_trainer

CARD_SEED = 1  # the reported tables use seed 0
BATCH = 32
MEASURES = (
    "shape", "letter", "list/shape", "list/letter", "list/there", "list/choose", "list/count",
    "list/confirm", "cell letter", "small letter", "ask/small text", "clock", "deeds", "actions",
    "list/does", "list/who", "ask/tgif/count",
)  # fmt: skip


def answers(miniature: MiniatureSpec, model, builder, samples) -> Iterable[str]:
    """Greedy answers of the dense model, in order."""
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        media = [miniature.media(sample) for sample in batch]
        questions = [sample.question for sample in batch]
        said = answer(model, builder, questions, media, Dense(), max_new_tokens=8)
        yield from (one.text for one in said)


def accuracies(
    miniature: MiniatureSpec, model, builder, samples_per_benchmark: int
) -> dict[str, dict]:
    """Score, plain accuracy and accuracy per split of the dense model on every benchmark."""
    result = {}
    for name in miniature.benchmarks:
        samples = miniature.samples(name, samples_per_benchmark, CARD_SEED)
        rows = [
            {**s.to_json(), "prediction": p}
            for s, p in zip(samples, answers(miniature, model, builder, samples), strict=True)
        ]
        result[name] = accuracy_by_kind(name, rows)
    return result


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=DATA, capture_output=True, encoding="utf-8", check=False)
    return done.stdout.strip() or "unknown"


def _processor_name() -> str:
    """The processor of this machine, as Linux names it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def stage_seconds(rows: list[dict], stage: Stage) -> float:
    """Wall time of a stage from its curves; the clock starts anew when a run is resumed."""
    part = [r for r in rows if r["stage"] == stage.name]
    last = [r for r, after in zip(part, [*part[1:], None], strict=True)
            if after is None or after["seconds"] < r["seconds"]]  # fmt: skip
    return sum(r["seconds"] for r in last)


def _curves_figure(rows: list[dict], recipe: Recipe, path: Path) -> None:
    """Loss and a few accuracies over the steps of all stages, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (loss, accuracy) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    starts = {}
    for stage in recipe.stages:
        starts[stage.name] = sum(s.steps for s in recipe.stages[: len(starts)])
        part = [r for r in rows if r["stage"] == stage.name]
        steps = [starts[stage.name] + r["step"] for r in part]
        loss.plot(steps, [r["loss"] for r in part], lw=1, label=stage.name)
    for name in MEASURES:
        part = [r for r in rows if name in r]
        if part:
            steps = [starts[r["stage"]] + r["step"] for r in part]
            label = name if "/" in name else f"patch: {name}"
            accuracy.plot(steps, [r[name] for r in part], lw=1, label=label)
    loss.set(xlabel="step", ylabel="training loss", yscale="log")
    accuracy.set(xlabel="step", ylabel="accuracy on fresh scenes", ylim=(0, 1.02))
    loss.legend(fontsize=7, frameon=False)
    accuracy.legend(fontsize=7, frameon=False)
    fig.savefig(path, metadata={"Date": None})


def finished_run(folder: Path, recipe: Recipe) -> dict:
    """The last checkpoint of a finished run.

    Raises
    ------
    FileNotFoundError
        The run has no checkpoint.
    ValueError
        The run is not finished.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint in {folder}; train first: python -m training.train")
    state = torch.load(path, map_location="cpu", weights_only=True)
    last = recipe.stages[-1]
    if (state["stage"], state["step"]) != (last.name, last.steps):
        raise ValueError(
            f"the run in {folder} stands at step {state['step']} of {state['stage']}, and the "
            f"recipe ends at step {last.steps} of {last.name}; go on with "
            "python -m training.train"
        )
    return state


def write_card(name: str, folder: Path, samples_per_benchmark: int) -> Path:
    """Export a finished run to data/miniature and write the card beside it.

    Raises as `finished_run`.
    """
    recipe = get_trainer(name).recipe
    state = finished_run(folder, recipe)
    model = get_trainer(name).starting_model(recipe, state["seed"])
    model.load_state_dict(state["model"])
    export(model, DATA / name, name)
    rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text("utf-8").splitlines()]
    facts = {
        "name": name,
        "seed": state["seed"],
        "processes": state["world"],
        "commit": _commit(),
        "torch": torch.__version__,
        "processor": _processor_name(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": [asdict(stage) for stage in recipe.stages],
        "curves": rows,
    }
    return _finish(facts, samples_per_benchmark)


def measure_again(name: str, samples_per_benchmark: int) -> Path:
    """Measure the shipped weights once more and write their card anew; nothing is trained.

    How they came about is kept as the card's JSON file has it.

    Raises
    ------
    MissingAssetError
        Weights missing or damaged.
    FileNotFoundError
        There is no card to renew.
    """
    facts = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    facts.setdefault("processor", "not recorded")
    return _finish(facts, samples_per_benchmark)


def _finish(facts: dict, samples_per_benchmark: int) -> Path:
    """Measure the shipped weights, and write JSON, curves and card."""
    name = facts["name"]
    recipe = get_trainer(name).recipe
    model, builder = load_miniature(name)
    facts["layers"] = recipe.num_layers
    seconds = [stage_seconds(facts["curves"], stage) for stage in recipe.stages]
    facts["recipe"] = [
        {**stage, "seconds": took} for stage, took in zip(facts["recipe"], seconds, strict=True)
    ]
    facts["card_seed"] = CARD_SEED
    facts["accuracies"] = accuracies(get_miniature(name), model, builder, samples_per_benchmark)
    facts["probes"] = get_trainer(name).probes(model)
    (DATA / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    _curves_figure(facts["curves"], recipe, DATA / f"{name}-curves.svg")
    card = DATA / f"{name}.md"
    card.write_text(fill((DATA / f"{name}.template.md").read_text("utf-8"), facts), "utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("--name", choices=MINIATURES, default="mini-llava", help="which miniature")
    parser.add_argument("--folder", type=Path, help="default: results/training/NAME")
    parser.add_argument("--samples", type=int, default=400, help="questions per benchmark")
    parser.add_argument(
        "--measure-again", action="store_true", help="the shipped weights, without a training run"
    )
    arguments = parser.parse_args()
    if arguments.measure_again:
        print(measure_again(arguments.name, arguments.samples))
        return
    folder = arguments.folder or Path("results/training") / arguments.name
    print(write_card(arguments.name, folder, arguments.samples))


if __name__ == "__main__":
    main()
