"""What pruning costs: prefill of SparseVLM against an oracle that knows what to keep.

The oracle is the floor: the same cuts and counts at fixed indices, in a plain loop over the layers,
without hooks, scoring or clustering. Measured in CPU time of one thread, in interleaved rounds, so
that other work on the machine falls on all alike; only ratios are reported.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from sparsevlm import Dense, SparseVLM, make_pruner, prune, tokens_per_layer
from sparsevlm.schedule import check_cuts

logger = logging.getLogger(__name__)

NUM_LAYERS, HIDDEN, HEADS, INTERMEDIATE = 16, 512, 16, 1376
BEFORE, NUM_VISUAL, TEXT = 35, 576, 29
BUDGETS = (192, 128, 64)


def bench_model(seed: int = 0) -> tuple[LlamaForCausalLM, Tensor]:
    """A random Llama of 16 layers, and embeddings of a prompt of 640 tokens with 576 visual."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=128, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE,
        num_hidden_layers=NUM_LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa").float().eval()
    return model, torch.randn(1, BEFORE + NUM_VISUAL + TEXT, HIDDEN)


def oracle_indices(pruner: SparseVLM) -> dict[int, Tensor]:
    """For every cut, rows of the sequence to keep: as many as SparseVLM leaves, evenly spaced."""
    check_cuts(pruner.cuts, NUM_LAYERS)
    left = tokens_per_layer(pruner.cuts, NUM_LAYERS, NUM_VISUAL, pruner.recycle)[1]
    current, indices = NUM_VISUAL, {}
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
    rounds: int = 15, budgets: Sequence[int] = BUDGETS, seed: int = 0
) -> dict[str, object]:
    """Measure the prefill: dense, oracle and SparseVLM v1.5, one thread, no gradients.

    Parameters
    ----------
    rounds
        Interleaved rounds; every figure is the median over the rounds of a ratio within a round.
    budgets
        Mean visual tokens left per layer.
    seed
        Of weights and inputs.

    Returns
    -------
    dict
        ``budgets``: for each budget ``oracle_to_dense``, ``sparsevlm_to_dense`` and
        ``overhead_percent`` (SparseVLM over the oracle); and the protocol.

    Raises
    ------
    ValueError
        For fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return _run(rounds, tuple(budgets), seed)
    finally:
        torch.set_num_threads(threads)


def _run(rounds: int, budgets: tuple[int, ...], seed: int) -> dict[str, object]:
    model, embeds = bench_model(seed)
    jobs = {"dense": lambda: model.model(inputs_embeds=embeds, use_cache=True)}
    for budget in budgets:
        pruner = make_pruner(
            "sparsevlm", tokens=budget, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL
        )
        jobs[f"oracle {budget}"] = _oracle(model, embeds, oracle_indices(pruner))
        jobs[f"sparsevlm {budget}"] = _pruned(model, embeds, pruner)
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name, job in jobs.items():
            seconds[name].append(_thread_seconds(job))
        logger.info("round %d of %d", number + 1, rounds)

    def ratio(name: str, to: str) -> float:
        return median(a / b for a, b in zip(seconds[name], seconds[to], strict=True))

    return {
        "protocol": "thread CPU seconds of the prefill, median of the ratios within each round",
        "rounds": rounds, "threads": 1, "dtype": "float32", "attention": "sdpa",
        "layers": NUM_LAYERS, "hidden": HIDDEN, "heads": HEADS, "tokens": embeds.shape[1],
        "visual": NUM_VISUAL, "device": platform.processor() or platform.machine(),
        "torch": torch.__version__, "dense_seconds": round(median(seconds["dense"]), 4),
        "budgets": {
            str(budget): {
                "oracle_to_dense": round(ratio(f"oracle {budget}", "dense"), 4),
                "sparsevlm_to_dense": round(ratio(f"sparsevlm {budget}", "dense"), 4),
                "overhead_percent": round(
                    100 * (ratio(f"sparsevlm {budget}", f"oracle {budget}") - 1), 2
                ),
            }
            for budget in budgets
        },
    }


def _oracle(
    model: LlamaForCausalLM, embeds: Tensor, indices: dict[int, Tensor]
) -> Callable[[], object]:
    return lambda: oracle_forward(model, embeds, indices)


def _pruned(
    model: LlamaForCausalLM, embeds: Tensor, pruner: SparseVLM | Dense
) -> Callable[[], object]:
    def job() -> object:
        with prune(model, pruner, visual_mask=(BEFORE, BEFORE + NUM_VISUAL)):
            return model.model(inputs_embeds=embeds, use_cache=True)

    return job


def _thread_seconds(job: Callable[[], object]) -> float:
    start = time.thread_time()
    job()
    return time.thread_time() - start


def main(rounds: int = 15) -> None:
    """Print the table, and the whole result as one JSON line at the end."""
    result = run_bench(rounds)
    print(f"{'tokens':>7} {'oracle/dense':>13} {'SparseVLM/dense':>16} {'over the oracle':>16}")
    for budget, row in result["budgets"].items():
        print(
            f"{budget:>7} {row['oracle_to_dense']:>13.3f} {row['sparsevlm_to_dense']:>16.3f} "
            f"{row['overhead_percent']:>14.1f} %"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
