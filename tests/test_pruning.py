"""prune() on LLaVA with its 576 visual tokens, and what is refused."""

from __future__ import annotations

import pytest
import torch
from tiny import BEFORE, IMAGE_TOKEN, NUM_LAYERS, NUM_VISUAL, row, tiny_inputs
from transformers import DynamicCache, StaticCache

import sparsevlm as sv

GENERATE = {
    "max_new_tokens": 6,
    "do_sample": False,
    "suppress_tokens": [IMAGE_TOKEN],
    "pad_token_id": 0,
}
# CDPruner needs a CLIP; its substitute is here, and the tower of `test_golden_newer` has one. A
# budget per tile is for LLaVA-NeXT.
KINDS = [
    name for name, method in sv.METHODS.items()
    if name not in ("dense", "cdpruner") and method.budget == "shared"
]  # fmt: skip
# The tiny model has 4 heads; the 14 of SparseVLM+ are half of Qwen2-VL's.
OPTIONS = {"sparsevlm-plus": {"heads": 2}}


def build(name, tokens=128, **options):
    tokens = None if name in ("dense", "sparsevlm-video") else tokens
    options = {**OPTIONS.get(name, {}), **options}
    return sv.make_pruner(
        name, tokens=tokens, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL, **options
    )


@torch.no_grad()
def generate(model, inputs, **options):
    return model.generate(**inputs, **GENERATE, **options)[:, inputs["input_ids"].shape[1] :]


@torch.no_grad()
def logits(model, inputs, **options):
    return model(**inputs, **options).logits


def test_a_loop_of_plain_calls(model, inputs):
    inputs = row(inputs, 1)
    with torch.no_grad(), sv.prune(model, build("sparsevlm")):
        want = generate(model, inputs)
        out = model(**inputs, use_cache=True)
        tokens = []
        for _ in range(6):
            scores = out.logits[:, -1].index_fill(1, torch.tensor([IMAGE_TOKEN]), -torch.inf)
            tokens.append(scores.argmax(-1, keepdim=True))
            out = model(input_ids=tokens[-1], past_key_values=out.past_key_values)
    assert torch.equal(torch.cat(tokens, 1), want)


def test_only_the_rows_of_the_raters_are_computed(sdpa_model, inputs, monkeypatch):
    from sparsevlm.runtime import attention

    asked = []
    real = attention.attention_rows

    def count(query, key, rows, *rest):
        asked.append(len(rows))
        return real(query, key, rows, *rest)

    monkeypatch.setattr(attention, "attention_rows", count)
    with sv.prune(sdpa_model, build("sparsevlm")) as trace:
        generate(sdpa_model, row(inputs, 1))
        raters = len(trace.samples[0].stages[0].raters)
    assert asked == [raters] * 3


def test_text_only_rows_stay_dense(sdpa_model, inputs):
    ids = torch.where(inputs["input_ids"][2] == IMAGE_TOKEN, 7, inputs["input_ids"][2])
    mixed = {
        "input_ids": torch.stack([inputs["input_ids"][0], ids]),
        "attention_mask": inputs["attention_mask"][[0, 2]],
        "pixel_values": inputs["pixel_values"][:1],
    }
    alone = {k: v[1:] for k, v in mixed.items() if k != "pixel_values"}
    alone = {k: v[:, -(NUM_VISUAL + 12) :] for k, v in alone.items()}
    want = generate(sdpa_model, alone)
    with sv.prune(sdpa_model, build("sparsevlm")) as trace:
        assert torch.equal(generate(sdpa_model, mixed)[1], want[0])
        assert [sample.num_visual for sample in trace.samples] == [NUM_VISUAL, 0]
        assert trace.mean_tokens_out == pytest.approx(128, abs=1)
        assert torch.equal(generate(sdpa_model, alone), want)


# --- Budgets at LLaVA's size; tests/contract has the promises for every family -------------------


@pytest.mark.parametrize("tokens", [192, 128, 64])
@pytest.mark.parametrize("name", KINDS)
def test_budgets_are_met(sdpa_model, inputs, name, tokens):
    pruner = build(name, tokens)
    assert isinstance(pruner, sv.Pruner)
    with sv.prune(sdpa_model, pruner) as trace:
        first = logits(sdpa_model, inputs)
    if sv.METHODS[name].meets_budget:
        assert abs(trace.mean_tokens_out - tokens) <= 1
    assert trace.pruner == pruner.to_json()
    for index, sample in enumerate(trace.samples):
        assert (sample.num_visual, sample.grid) == (NUM_VISUAL, (24, 24))
        assert first[index, -len(sample.output_index) :].isfinite().all()


def test_a_failed_call_leaves_the_session_usable(sdpa_model, inputs):
    with sv.prune(sdpa_model, build("sparsevlm")):
        want = generate(sdpa_model, inputs)
        with pytest.raises(ValueError, match="labels"):
            logits(sdpa_model, inputs, labels=inputs["input_ids"])
        assert torch.equal(generate(sdpa_model, inputs), want)


# --- What is refused -----------------------------------------------------------------------------


def refused(model, inputs, match, pruner=None, error=ValueError, **options):
    with sv.prune(model, pruner or build("sparsevlm")):
        with pytest.raises(error, match=match):
            logits(model, {**inputs, **options})


def test_refusals(sdpa_model, inputs):
    model, one = sdpa_model, row(inputs, 0)
    refused(model, one, "labels cannot be used", labels=one["input_ids"])
    static = StaticCache(config=model.config.text_config, max_cache_len=700)
    refused(model, one, "works with a DynamicCache", past_key_values=static)
    embeds = model.get_input_embeddings()(one["input_ids"])
    without_ids = {"inputs_embeds": embeds, "input_ids": None, "pixel_values": None}
    refused(model, one, "needs input_ids", **without_ids)
    ids = torch.cat([one["input_ids"], one["input_ids"]], 1)
    both = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    refused(model, one, r"576 \+ 576 image placeholders, but its images give 576 ", **both)
    three = one["pixel_values"].repeat(3, 1, 1, 1)
    refused(model, one, "3 images were given", pixel_values=three, **both)
    ids = one["input_ids"][:, : len(BEFORE) + NUM_VISUAL]
    no_question = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    refused(model, one, "question is empty", **no_question)
    flipped = {
        "input_ids": inputs["input_ids"].flip(1),
        "attention_mask": inputs["attention_mask"].flip(1),
        "pixel_values": inputs["pixel_values"],
    }
    refused(model, flipped, "padding_side='left'")
    mask = torch.ones(1, 1, 5, 5)
    refused(model, one, "2-D attention_mask", attention_mask=mask)


def test_generate_with_a_static_cache_is_refused(sdpa_model, inputs):
    with sv.prune(sdpa_model, build("sparsevlm")):
        with pytest.raises(ValueError, match="works with a DynamicCache"):
            generate(sdpa_model, row(inputs, 0), cache_implementation="static")


def test_foreign_cache_is_refused(sdpa_model, inputs):
    cache = DynamicCache(config=sdpa_model.config.text_config)
    logits(sdpa_model, row(inputs, 0), past_key_values=cache)
    step = {"input_ids": torch.tensor([[9]]), "past_key_values": cache}
    refused(sdpa_model, step, "not filled under this prune")


def test_parts_of_the_model_are_refused(sdpa_model):
    with sv.prune(sdpa_model, build("sparsevlm")):
        with pytest.raises(ValueError, match="call the whole LlavaForConditionalGeneration"):
            sdpa_model.model.language_model(input_ids=torch.tensor([[1, 2, 3]]))


def test_cuts_outside_the_model(sdpa_model):
    for layer in (NUM_LAYERS - 1, NUM_LAYERS, 31):
        with pytest.raises(ValueError, match="outside this model"):
            with sv.prune(sdpa_model, sv.SparseVLM((sv.PruningStage(layer, 5),))):
                pass
    with pytest.raises(ValueError, match="no attention"):
        with sv.prune(sdpa_model, sv.SparseVLM((sv.PruningStage(-1, 5),))):
            pass


def test_trace_can_be_left_out(sdpa_model, inputs):
    with sv.prune(sdpa_model, build("sparsevlm"), trace=False) as trace:
        generate(sdpa_model, inputs)
    assert trace is None


def test_inputs_are_what_they_seem():
    inputs = tiny_inputs()
    assert (inputs["attention_mask"].sum(1) - NUM_VISUAL - len(BEFORE)).tolist() == [6, 11, 9]
