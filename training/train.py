"""Train a miniature: `python -m training.train [--name mini-llava-32]`.

Everything is a function of the recipe, the seed, the number of processes and the step, so a run
that was stopped goes on from its last checkpoint as if nothing had happened.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sparsevlm.miniature.registry import MINIATURES
from training.optim import Muon
from training.recipes import Stage
from training.registry import get_trainer

CHECKPOINT_EVERY = 100
LOG_EVERY = 50


def trainable(model, stage: Stage) -> dict[str, torch.nn.Parameter]:
    """Name to parameter of everything the stage trains; the rest is frozen.

    ``layers.`` means the decoder layers and the decoder's final norm. The vision tower's last norm
    serves only the class token, which LLaVA does not use, so nothing would ever train it.
    """
    chosen = {}
    for name, parameter in model.named_parameters():
        decoder = name.startswith("model.language_model.") and "embed_tokens" not in name
        frozen = "post_layernorm" in name or any(
            decoder if part == "layers." else part in name for part in stage.frozen
        )
        parameter.requires_grad_(not frozen)
        if not frozen:
            chosen[name] = parameter
    return chosen


def build_optimizers(parameters: dict[str, torch.nn.Parameter], stage: Stage):
    """Muon for the weight matrices inside the network, AdamW for everything else."""
    outside = ("embed_tokens", "lm_head", "position_embedding", "norm", "bias", "class_embedding")
    matrices, rest = [], []
    for name, parameter in parameters.items():
        matrix = parameter.ndim == 2 and not any(word in name for word in outside)
        (matrices if matrix else rest).append(parameter)
    optimizers = [torch.optim.AdamW(rest, lr=stage.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]
    if matrices:
        optimizers.append(Muon(matrices, lr=stage.muon_lr, weight_decay=0.0))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def average_gradients(parameters) -> None:
    """Mean of the gradients over the processes, in one message.

    A parameter that the stage's loss did not use has no gradient in any process and is skipped.
    """
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


class Curve:
    """Sums and counts of measures since the last line of the log (this process's share)."""

    def __init__(self):
        self.totals: dict[str, list[float]] = {}

    def add(self, measures: dict[str, tuple[float, float]]) -> None:
        for name, (value, count) in measures.items():
            total = self.totals.setdefault(name, [0.0, 0.0])
            total[0] += value
            total[1] += count

    def means(self) -> dict[str, float]:
        """Mean of every measure, and start over."""
        means = {n: round(a / b, 4) for n, (a, b) in self.totals.items() if b}
        self.totals = {}
        return means


class Run:
    """A training run in a folder: checkpoints, the log of curves, and where it is."""

    def __init__(self, name: str, folder: Path, seed: int, rank: int, world: int, device: str):
        self.trainer = get_trainer(name)
        self.recipe, self.folder, self.seed = self.trainer.recipe, folder, seed
        self.rank, self.world = rank, world
        self.device = torch.device(device)
        self.model = self.trainer.starting_model(self.recipe, seed).to(self.device)

    def save(self, stage: Stage, step: int, optimizers) -> None:
        """Write the checkpoint atomically (rank 0 only)."""
        if self.rank:
            return
        state = {
            "seed": self.seed,
            "world": self.world,
            "stage": stage.name,
            "step": step,
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in optimizers],
        }
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "checkpoint.pt")

    def load(self) -> dict | None:
        """The last checkpoint, or None; one of another seed or process count is refused."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location=self.device, weights_only=True)
        if (state["seed"], state["world"]) != (self.seed, self.world):
            raise ValueError(
                f"{path} belongs to seed {state['seed']} with {state['world']} processes, but "
                f"seed {self.seed} with {self.world} was asked for; use another --folder"
            )
        self.model.load_state_dict(state["model"])
        return state

    def scene_seeds(self, stage_index: int, stage: Stage, step: int) -> range:
        """The scenes of this process at this step; no scene comes twice in a run."""
        share = stage.batch // self.world
        first = (step * self.world + self.rank) * share
        base = self.recipe.scenes_from(stage_index, self.seed)
        return range(base + first, base + first + share)

    def log(self, row: dict) -> None:
        with open(self.folder / "curves.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def train_stage(run: Run, index: int, stage: Stage, first: int, state: dict | None) -> None:
    """Run one stage from step ``first`` on."""
    from tqdm import tqdm

    parameters = trainable(run.model, stage)
    optimizers = build_optimizers(parameters, stage)
    if state is not None:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    loss_function = run.trainer.losses[stage.loss]
    bar = tqdm(range(first, stage.steps), initial=first, total=stage.steps, desc=stage.name,
               disable=run.rank > 0, mininterval=10)  # fmt: skip
    start, curve = time.time(), Curve()
    for step in bar:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * stage.rate(step)
        seeds = run.scene_seeds(index, stage, step)
        with torch.autocast(run.device.type, torch.bfloat16, enabled=stage.bfloat16):
            loss, measures = loss_function(run.model, seeds, stage.grid, dict(stage.options))
        loss.backward()
        average_gradients(parameters.values())
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        for optimizer in optimizers:
            with torch.autocast(run.device.type, torch.bfloat16, enabled=stage.bfloat16):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        curve.add({"loss": (loss.item(), 1), **measures})
        if (step % LOG_EVERY == LOG_EVERY - 1 or step == stage.steps - 1) and run.rank == 0:
            means = curve.means()
            seconds = round(time.time() - start, 1)
            run.log({"stage": stage.name, "step": step + 1, "seconds": seconds, **means})
            bar.set_postfix({k: f"{v:.2f}" for k, v in list(means.items())[:4]})
        if (step + 1) % CHECKPOINT_EVERY == 0 or step == stage.steps - 1:
            run.save(stage, step + 1, optimizers)


def worker(
    rank: int, world: int, name: str, folder: Path, seed: int, device: str, until: str | None
) -> None:
    """One process of the run."""
    if world > 1:
        torch.set_num_threads(1)
        store = f"file://{folder.resolve()}/rendezvous-{os.getppid()}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    run = Run(name, folder, seed, rank, world, device)
    recipe = run.recipe
    state = run.load()
    reached = recipe.stage_names().index(state["stage"]) if state else 0
    for index, stage in enumerate(recipe.stages):
        if index < reached:
            continue
        resumed = state if state is not None and index == reached else None
        train_stage(run, index, stage, resumed["step"] if resumed else 0, resumed)
        if stage.name == until:
            break


def main() -> None:
    program = "python -m training.train"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--name", choices=MINIATURES, default="mini-llava", help="which miniature")
    parser.add_argument("--folder", type=Path, help="default: results/training/NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="CPU processes (1 on a GPU)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage")
    arguments = parser.parse_args()
    stages = get_trainer(arguments.name).recipe.stage_names()
    if arguments.until not in (None, *stages):
        parser.error(f"--until: no stage {arguments.until!r}; choose from {', '.join(stages)}")
    folder = arguments.folder or Path("results/training") / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    rest = (arguments.name, folder, arguments.seed, arguments.device, arguments.until)
    if arguments.processes == 1:
        worker(0, 1, *rest)
    else:
        mp.spawn(worker, (arguments.processes, *rest), nprocs=arguments.processes)


if __name__ == "__main__":
    main()
