"""What pruning costs: prefill of SparseVLM against an oracle that knows what to keep.

The oracle is the floor: the same cuts and counts at fixed indices, in a plain loop over the layers,
without hooks, scoring or clustering. Measured in CPU time of one thread, in interleaved rounds of
random order, so that other work on the machine falls on all alike; only ratios are reported. What
disturbs a run only ever adds time, so the ratio of the fastest runs is the steadiest estimate; the
ratios within the rounds show the spread.
"""

from __future__ import annotations

import json
import logging
import platform
import random
import time
from collections.abc import Callable, Sequence
from statistics import quantiles

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from sparsevlm import SparseVLM, make_pruner, prune, tokens_per_layer
from sparsevlm.schedule import check_cuts

logger = logging.getLogger(__name__)

NUM_LAYERS, HIDDEN, HEADS, INTERMEDIATE = 16, 512, 16, 1376
BEFORE, NUM_VISUAL, TEXT = 35, 576, 29
BUDGETS = (192, 128, 64)


def bench_model(num_visual: int = NUM_VISUAL, seed: int = 0) -> tuple[LlamaForCausalLM, Tensor]:
    """A random Llama of 16 layers, and embeddings of a prompt of 64 tokens and the visual ones."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=128, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=NUM_LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        max_position_embeddings=BEFORE + num_visual + TEXT,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa").float().eval()
    return model, torch.randn(1, BEFORE + num_visual + TEXT, HIDDEN)


def oracle_indices(pruner: SparseVLM, num_visual: int = NUM_VISUAL) -> dict[int, Tensor]:
    """For every cut, rows of the sequence to keep: as many as SparseVLM leaves, evenly spaced."""
    check_cuts(pruner.cuts, NUM_LAYERS)
    left = tokens_per_layer(pruner.cuts, NUM_LAYERS, num_visual, pruner.recycle)[1]
    current, indices = num_visual, {}
    for cut in pruner.cuts:
        count = left[cut.after_layer]
        visual = torch.arange(count) * current // count
        indices[cut.after_layer] = torch.cat([
            torch.arange(BEFORE), BEFORE + visual, BEFORE + current + torch.arange(TEXT),
        ])
        current = count
    return indices


def oracle_forward(
    model: LlamaForCausalLM, embeds: Tensor, indices: dict[int, Tensor]
) -> tuple[Tensor, DynamicCache]:
    """Prefill with the tokens of every cut known beforehand; positions are renumbered."""
    decoder, cache, hidden = model.model, DynamicCache(config=model.config), embeds
    positions = torch.arange(embeds.shape[1])[None]
    tables = decoder.rotary_emb(hidden, position_ids=positions)
    for number, layer in enumerate(decoder.layers):
        hidden = layer(
            hidden, attention_mask=None, position_embeddings=tables, past_key_values=cache,
            use_cache=True,
        )
        if number in indices:
            hidden = hidden[:, indices[number]]
            tables = tuple(table[:, : hidden.shape[1]] for table in tables)
    return decoder.norm(hidden), cache


def run_bench(
    rounds: int = 15,
    budgets: Sequence[int] = BUDGETS,
    num_visual: int = NUM_VISUAL,
    seed: int = 0,
) -> dict[str, object]:
    """Measure the prefill: dense, oracle and SparseVLM v1.5, one thread, no gradients.

    Parameters
    ----------
    rounds
        Interleaved rounds.
    budgets
        Mean visual tokens left per layer, of 576; with another ``num_visual`` the same share of it.
    num_visual
        Visual tokens of the prompt.
    seed
        Of weights, inputs and the order within the rounds.

    Returns
    -------
    dict
        ``budgets``: for each budget ``oracle_to_dense`` and ``sparsevlm_to_dense`` (of the fastest
        runs), ``overhead_percent`` (SparseVLM over the oracle, fastest runs) and the quartiles of
        that overhead within the rounds, ``overhead_quartiles``; and the protocol.

    Raises
    ------
    ValueError
        For fewer than two rounds.
    """
    if rounds < 2:
        raise ValueError(f"rounds must be at least 2 for a spread, got {rounds}")
    scaled = {budget: round(budget * num_visual / NUM_VISUAL) for budget in budgets}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            model, embeds = bench_model(num_visual, seed)
            jobs = _jobs(model, embeds, scaled, num_visual)
            seconds = _measure(jobs, rounds, seed)
    finally:
        torch.set_num_threads(threads)
    return {
        "protocol": "thread CPU seconds of the prefill, fastest of the rounds",
        "rounds": rounds, "threads": 1, "dtype": "float32", "attention": "sdpa",
        "layers": NUM_LAYERS, "hidden": HIDDEN, "heads": HEADS, "tokens": embeds.shape[1],
        "visual": num_visual, "device": platform.processor() or platform.machine(),
        "torch": torch.__version__, "dense_seconds": round(min(seconds["dense"]), 4),
        "budgets": {str(tokens): _row(seconds, budget) for budget, tokens in scaled.items()},
    }


def _jobs(
    model: LlamaForCausalLM, embeds: Tensor, budgets: dict[int, int], num_visual: int
) -> dict[str, Callable[[], object]]:
    jobs = {"dense": lambda: model.model(inputs_embeds=embeds, use_cache=True)}
    for budget, tokens in budgets.items():
        pruner = make_pruner(
            "sparsevlm", tokens=tokens, num_layers=NUM_LAYERS, num_visual=num_visual
        )
        jobs[f"oracle {budget}"] = _oracle(model, embeds, oracle_indices(pruner, num_visual))
        jobs[f"sparsevlm {budget}"] = _pruned(model, embeds, pruner, num_visual)
    return jobs


def _measure(
    jobs: dict[str, Callable[[], object]], rounds: int, seed: int
) -> dict[str, list[float]]:
    order = random.Random(seed)
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name in order.sample(list(jobs), len(jobs)):
            seconds[name].append(_thread_seconds(jobs[name]))
        logger.info("round %d of %d", number + 1, rounds)
    return seconds


def _row(seconds: dict[str, list[float]], budget: int) -> dict[str, object]:
    oracle, pruned = seconds[f"oracle {budget}"], seconds[f"sparsevlm {budget}"]
    dense = min(seconds["dense"])
    within = [100 * (a / b - 1) for a, b in zip(pruned, oracle, strict=True)]
    return {
        "oracle_to_dense": round(min(oracle) / dense, 4),
        "sparsevlm_to_dense": round(min(pruned) / dense, 4),
        "overhead_percent": round(100 * (min(pruned) / min(oracle) - 1), 2),
        "overhead_quartiles": [round(value, 2) for value in quantiles(within, n=4)],
    }


def _oracle(
    model: LlamaForCausalLM, embeds: Tensor, indices: dict[int, Tensor]
) -> Callable[[], object]:
    return lambda: oracle_forward(model, embeds, indices)


def _pruned(
    model: LlamaForCausalLM, embeds: Tensor, pruner: SparseVLM, num_visual: int
) -> Callable[[], object]:
    def job() -> object:
        with prune(model, pruner, visual_mask=(BEFORE, BEFORE + num_visual)):
            return model.model(inputs_embeds=embeds, use_cache=True)

    return job


def _thread_seconds(job: Callable[[], object]) -> float:
    start = time.thread_time()
    job()
    return time.thread_time() - start


def main(rounds: int = 15, num_visual: int = NUM_VISUAL) -> None:
    """Print the table, and the whole result as one JSON line at the end."""
    result = run_bench(rounds, num_visual=num_visual)
    print(f"{num_visual} visual tokens of {result['tokens']}, {NUM_LAYERS} layers, one thread")
    print(f"{'tokens':>7} {'oracle/dense':>13} {'SparseVLM/dense':>16} {'over the oracle':>16}"
          f" {'(quartiles of the rounds)':>26}")
    for budget, row in result["budgets"].items():
        low, middle, high = row["overhead_quartiles"]
        print(
            f"{budget:>7} {row['oracle_to_dense']:>13.3f} {row['sparsevlm_to_dense']:>16.3f} "
            f"{row['overhead_percent']:>14.1f} % {low:>10.1f} {middle:>7.1f} {high:>7.1f}"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
