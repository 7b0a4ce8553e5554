"""A second question about the same picture or video, with and without `generate`."""

from __future__ import annotations

import pytest
import torch
from family_cases import CASES, GENERATE, pruner
from transformers import DynamicCache

import sparsevlm as sv

SECOND = torch.tensor([[21, 22, 23, 24]])
SUPPRESSED = torch.tensor(GENERATE["suppress_tokens"])
pytestmark = pytest.mark.filterwarnings("ignore:positions=.renumbered.:UserWarning")


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@torch.no_grad()
def continued(model, inputs, texts):
    """Logits after the prompt and after each further text, all in one cache."""
    out = model(**inputs, use_cache=True)
    found = [out.logits[:, -1]]
    for text in texts:
        out = model(input_ids=text, past_key_values=out.past_key_values)
        found.append(out.logits[:, -1])
    return found


@pytest.mark.parametrize("name", ["sparsevlm", "fastv", "tome"])
@pytest.mark.parametrize("row", [0, 2])
def test_text_in_one_piece_or_token_by_token(case, name, row):
    """A later turn sees the cache of the first: how it is cut into calls makes no difference."""
    model, inputs = case.model(), case.row(case.inputs(), row)
    with sv.prune(model, pruner(case, name)):
        whole = continued(model, inputs, [SECOND])
        pieces = continued(model, inputs, SECOND.split(1, dim=1))
        assert (whole[-1] - pieces[-1]).abs().max() < 2e-4
    dense = continued(model, inputs, [SECOND])
    assert (whole[-1] - dense[-1]).abs().max() > 0.01, "the second turn must see pruned layers"


@torch.no_grad()
def choose(out):
    return out.logits[:, -1].index_fill(1, SUPPRESSED, -torch.inf).argmax(-1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [("sparsevlm", {}), ("fastv", {}), ("tome", {}), ("tome", {"positions": "original"})],
)
def test_decoding_equals_recomputation_without_a_cache(case, name, options):
    """The first call fixes the prompt; later calls carry the answer so far."""
    model, inputs = case.model(), case.row(case.inputs(), 2)
    with torch.no_grad(), sv.prune(model, pruner(case, name, **options)):
        out = model(**inputs, use_cache=True)
        stepped = [out.logits[:, -1]]
        ids = inputs["input_ids"]
        for _ in range(3):
            token = choose(out)
            ids = torch.cat([ids, token], 1)
            out = model(input_ids=token, past_key_values=out.past_key_values)
            stepped.append(out.logits[:, -1])
        for number, want in enumerate(stepped):
            length = inputs["input_ids"].shape[1] + number
            grown = {**inputs, "input_ids": ids[:, :length]}
            grown["attention_mask"] = torch.ones_like(grown["input_ids"])
            if "mm_token_type_ids" in inputs:
                types = inputs["mm_token_type_ids"]
                grown["mm_token_type_ids"] = torch.cat([types, types.new_zeros(1, number)], 1)
            found = model(**grown, use_cache=False).logits[:, -1]
            assert (found - want).abs().max() < 2e-4


@pytest.mark.parametrize("name", ["sparsevlm", "fastv"])
def test_generate_continues_its_cache(case, name):
    """`generate` is given the whole conversation and the cache of its first part."""
    model, inputs = case.model(), case.row(case.inputs(), 2)
    with torch.no_grad(), sv.prune(model, pruner(case, name)):
        cache = DynamicCache(config=model.config.text_config)
        first = model.generate(
            **inputs, **GENERATE, past_key_values=cache, return_dict_in_generate=True
        ).sequences
        ids = torch.cat([first, SECOND], 1)
        mask = torch.ones_like(ids)
        whole = {"input_ids": ids, "attention_mask": mask}
        second = model.generate(**whole, **GENERATE, past_key_values=cache)[:, ids.shape[1] :]

        out = model(**inputs, use_cache=True)
        for token in first[:, inputs["input_ids"].shape[1] :].split(1, dim=1):
            out = model(input_ids=token, past_key_values=out.past_key_values)
        out = model(input_ids=SECOND, past_key_values=out.past_key_values)
        want = []
        for _ in range(second.shape[1]):
            want.append(choose(out))
            out = model(input_ids=want[-1], past_key_values=out.past_key_values)
    assert torch.equal(second, torch.cat(want, 1))


@pytest.mark.parametrize(
    ("name", "new_tokens"), [("qwen2-vl", 2), ("qwen2.5-vl", 2), ("video-llava", 130)]
)
def test_generate_cannot_continue_a_cache_cut_before_layer_0(name, new_tokens):
    """It counts the cache by layer 0 and would send old tokens again, prompt or answer."""
    case = CASES[name]
    model, inputs = case.model(), case.row(case.inputs(), 2)
    with torch.no_grad(), sv.prune(model, pruner(case, "tome")):
        cache = DynamicCache(config=model.config.text_config)
        options = {**GENERATE, "max_new_tokens": new_tokens, "past_key_values": cache}
        ids = torch.cat([model.generate(**inputs, **options), SECOND], 1)
        whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with pytest.raises(ValueError, match="tokens that the cache already stands for"):
            model.generate(**whole, **options)
