"""The analytic costs reproduce the paper's columns."""

from __future__ import annotations

import pytest

from sparsevlm.analysis import published
from sparsevlm.core.schedule import tokens_per_layer
from sparsevlm.models.checkpoints import find
from sparsevlm.models.sizes import PAPER_TEXT_TOKENS, ModelSizes, kv_bytes, prefill_flops

LLAVA_7B = find("llava-7b").sizes
PAPER_NAMES = {"sparsevlm": "SparseVLM", "fastv": "FastV", "pdrop": "PDrop", "tome": "ToMe"}
ROWS = [("dense", None)] + [(m, b) for m in PAPER_NAMES for b in (192, 128, 64)]


def _visual_tokens(method, tokens):
    """Entering and leaving each of 32 layers."""
    pruner = LLAVA_7B.pruner(method, tokens)
    recycle = getattr(pruner, "recycle", 0)
    counted = pruner.counted_layer
    return tokens_per_layer(pruner.stages, 32, 576, recycle=recycle, counted_layer=counted)


@pytest.mark.parametrize(("method", "tokens"), ROWS)
def test_the_flops_column_of_table_1_follows_from_the_schedules(method, tokens):
    entering = [visual + PAPER_TEXT_TOKENS for visual in _visual_tokens(method, tokens)[0]]
    ours = prefill_flops(entering, LLAVA_7B) / 1e12
    paper = published.value(
        "table1", PAPER_NAMES.get(method, "Dense"), tokens or 576, "prefill_tflops"
    )
    assert ours == pytest.approx(paper, abs=0.03)


def test_counting_what_layers_leave_would_miss_the_published_flops():
    leaving = [n + PAPER_TEXT_TOKENS for n in _visual_tokens("sparsevlm", 192)[1]]
    paper = published.value("table1", "SparseVLM", 192, "prefill_tflops")
    assert abs(prefill_flops(leaving, LLAVA_7B) / 1e12 - paper) > 0.08


def test_one_layer_by_hand():
    shape = ModelSizes(layers=1, hidden=2, intermediate=5, heads=1)
    assert prefill_flops([3], shape) == 4 * 3 * 4 + 2 * 9 * 2 + 3 * 3 * 2 * 5
    assert prefill_flops([3, 3], shape) == 2 * prefill_flops([3], shape)


def test_the_kv_cache_of_the_paper():
    """Section 5.3: 302.4 and 100.8 MB, from a token rounded to 0.525 MB."""
    assert kv_bytes([576] * 32, LLAVA_7B) / 1e6 == pytest.approx(301.99, abs=0.005)
    assert kv_bytes([192] * 32, LLAVA_7B) / 1e6 == pytest.approx(100.66, abs=0.005)
    assert kv_bytes([8], LLAVA_7B, bytes_per_value=4) == 2 * kv_bytes([8], LLAVA_7B)


def test_grouped_queries_shrink_the_cache_only():
    config = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128,
              "num_attention_heads": 8, "vocab_size": 9}  # fmt: skip
    full = ModelSizes.from_text_config(config)
    grouped = ModelSizes.from_text_config({**config, "num_key_value_heads": 2})
    assert kv_bytes([10], full) == 4 * kv_bytes([10], grouped)
    assert prefill_flops([10], full) == prefill_flops([10], grouped)


@pytest.mark.parametrize("tokens", [[], [5, -1]])
def test_token_counts_must_make_sense(tokens):
    with pytest.raises(ValueError, match="tokens that enter each layer"):
        prefill_flops(tokens, LLAVA_7B)
    with pytest.raises(ValueError, match="hidden must be an integer of at least 1"):
        ModelSizes(layers=1, hidden=0, intermediate=1, heads=1)
