"""What our own formulas give for LLaVA-1.5-7B, without a model: tokens, FLOPs, KV cache.

Every public function can be named in the column "analytic" of data/claims.csv and returns one
number. Methods are spelled as in `sparsevlm.METHODS`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import fmean

from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.models.checkpoints import find
from sparsevlm.models.sizes import PAPER_TEXT_TOKENS, kv_bytes, prefill_flops

LLAVA_7B = find("llava-7b").sizes
NUM_VISUAL = LLAVA_7B.num_visual


@cache
def _visual_tokens(
    method: str, tokens: int | None, num_visual: int = NUM_VISUAL
) -> tuple[list[int], list[int]]:
    """Visual tokens entering and leaving each layer."""
    pruner = replace(LLAVA_7B, num_visual=num_visual).pruner(method, tokens)
    return tokens_per_layer(
        pruner.stages,
        LLAVA_7B.layers,
        num_visual,
        recycle=getattr(pruner, "recycle", 0),
        counted_layer=pruner.counted_layer,
    )


def tokens_out(method: str, tokens: int, num_visual: int = NUM_VISUAL) -> float:
    """The mean over the layers of the visual tokens left by each: the paper's budget."""
    return fmean(_visual_tokens(method, tokens, num_visual)[1])


def tokens_in(method: str, tokens: int) -> float:
    """The mean over the layers of the visual tokens entering each: what is computed."""
    return fmean(_visual_tokens(method, tokens)[0])


def compression(method: str, tokens: int) -> float:
    """How many times fewer visual tokens a layer leaves."""
    return NUM_VISUAL / tokens_out(method, tokens)


def tflops(method: str, tokens: int | None) -> float:
    """The paper's FLOPs of a prefill with 117 text tokens, in 10^12."""
    entering = [visual + PAPER_TEXT_TOKENS for visual in _visual_tokens(method, tokens)[0]]
    return prefill_flops(entering, LLAVA_7B) / 1e12


def flops_saving(method: str, tokens: int) -> float:
    """Percent of the dense FLOPs that are saved."""
    return 100 * (1 - tflops(method, tokens) / tflops("dense", None))


def kv_megabytes(tokens: float) -> float:
    """Keys and values of so many visual tokens in every layer, half precision, 10^6 bytes."""
    return kv_bytes([tokens] * LLAVA_7B.layers, LLAVA_7B) / 1e6


def kv_megabytes_entering(method: str, tokens: int) -> float:
    """Keys and values of the visual tokens that enter each layer, half precision, 10^6 bytes."""
    return kv_bytes(_visual_tokens(method, tokens)[0], LLAVA_7B) / 1e6


def kv_saving_analytic(tokens: int) -> float:
    """Percent of the KV cache saved by so many visual tokens in every layer."""
    return 100 * (1 - kv_megabytes(tokens) / kv_megabytes(NUM_VISUAL))


def dual_flash_share(seed: int = 0) -> float:
    """What the second attention of appendix B returns at the picture, against what is needed.

    Parameters
    ----------
    seed : int
        Of the random queries and keys; the result does not depend on it.

    Returns
    -------
    float
        The output at the picture's rows, summed, over the mean attention of the raters on the
        picture, summed. V holds 1/n on the rater rows, as the appendix says. Every row of the
        output sums over keys, and no visual token sees a later rater, so nothing comes out.
    """
    import torch

    visual, text = 12, 5
    torch.manual_seed(seed)
    logits = torch.randn(visual + text, visual + text)
    future = torch.ones_like(logits, dtype=torch.bool).triu(1)
    attention = logits.masked_fill(future, float("-inf")).softmax(-1)
    values = torch.zeros(visual + text, 1)
    values[visual:] = 1 / text
    needed = attention[visual:, :visual].mean(0).sum()
    return float((attention @ values)[:visual].sum() / needed)
