"""Runs the recorded random model, prefill and greedy decoding, under a pruner."""

from __future__ import annotations

import torch
from golden_data import golden_model

import sparsevlm as sv


def positions_seen(model):
    """Positions of every layer, recovered from its rotary tables."""
    seen = [[] for _ in model.model.layers]
    frequency = model.model.rotary_emb.inv_freq[-1]

    def note(index):
        def hook(module, args, kwargs):
            cos, sin = kwargs["position_embeddings"]
            half = cos.shape[-1] // 2
            angle = torch.atan2(sin[0, :, half - 1], cos[0, :, half - 1])
            seen[index].append((angle / frequency).round().long())

        return hook

    handles = [
        layer.register_forward_pre_hook(note(i), with_kwargs=True)
        for i, layer in enumerate(model.model.layers)
    ]
    return seen, handles


def kv_lengths(cache) -> list[int]:
    return [cache.get_seq_length(layer) for layer in range(len(cache.layers) - 1)]


def run(
    embeds: torch.Tensor, span: tuple[int, int], pruner, steps: int = 8, weights: str = "tiny64",
    attention: str = "sdpa",
) -> dict:  # fmt: skip
    """Prefill and greedy tokens with the cache; what the idle last layer saw is left out."""
    model = golden_model(weights, attention)
    with torch.no_grad(), sv.prune(model, pruner, visual_mask=span) as trace:
        seen, handles = positions_seen(model)
        try:
            out = model.model(inputs_embeds=embeds[None], use_cache=True)
            final, cache = out.last_hidden_state[0], out.past_key_values
            logits, lengths = [model.lm_head(final[-1])], [kv_lengths(cache)]
            for _ in range(steps):
                token = logits[-1].argmax().view(1, 1)
                step = model(input_ids=token, past_key_values=cache, use_cache=True)
                logits.append(step.logits[0, -1])
                lengths.append(kv_lengths(cache))
        finally:
            for handle in handles:
                handle.remove()
    return {
        "final": final,
        "logits": torch.stack(logits),
        "kv": torch.tensor(lengths),
        "prefill_positions": [layer[0] for layer in seen[:-1]],
        "decode_positions": [torch.cat(layer[1:]) for layer in seen[:-1] if len(layer) > 1],
        "sample": trace.samples[0],
    }


def check_scores(scores: list[float], want: torch.Tensor) -> None:
    """Within 1e-5 of the largest recorded score."""
    atol = 1e-5 * want.abs().max().item()
    torch.testing.assert_close(torch.tensor(scores), want, rtol=0, atol=atol)


def check_decoding(result: dict, gold: dict[str, torch.Tensor]) -> None:
    """Logits within 1e-3, the same greedy tokens."""
    torch.testing.assert_close(result["logits"], gold["logits"], rtol=0, atol=1e-3)
    assert torch.equal(result["logits"].argmax(-1), gold["tokens"])
