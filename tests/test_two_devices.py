"""A decoder that is spread over two devices prunes as it does on one."""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import tiny
import torch
from placed import FIRST, SECOND, devices, dispatch
from transformers import DynamicCache

import sparsevlm as sv

STEPS = 2  # the prefill, and one token with its cache
CASES = [
    (None, {}),
    ("sparsevlm", {}),
    ("sparsevlm", {"positions": "original"}),
    ("sparsevlm", {"variant": "v1.0"}),
    ("fastv", {}),
    ("pdrop", {}),
    ("tome", {}),
]
NAMES = [" ".join([name or "dense", *options.values()]) for name, options in CASES]


def halves() -> dict[str, str]:
    """The upper half of the decoder apart; the rotary tables too, where "auto" puts them."""
    text = "model.language_model"
    low, high = range(tiny.NUM_LAYERS // 2), range(tiny.NUM_LAYERS // 2, tiny.NUM_LAYERS)
    first = ["model.vision_tower", "model.multi_modal_projector", f"{text}.embed_tokens"]
    second = [f"{text}.norm", f"{text}.rotary_emb", "lm_head"]
    first += [f"{text}.layers.{layer}" for layer in low]
    second += [f"{text}.layers.{layer}" for layer in high]
    return dict.fromkeys(first, FIRST) | dict.fromkeys(second, SECOND)


def by_accelerate(model, device_map):
    return pytest.importorskip("accelerate").dispatch_model(model, device_map, force_hooks=True)


def decode(model, inputs, method, options):
    """Logits of the prefill and of the next tokens; what every stage kept, merged and asked."""
    pruner = method and sv.make_pruner(
        method, tokens=64, num_layers=tiny.NUM_LAYERS, num_visual=tiny.NUM_VISUAL, **options
    )
    cache, logits = DynamicCache(config=model.config.get_text_config()), []
    mask = inputs["attention_mask"]
    with torch.no_grad(), sv.prune(model, pruner) if pruner else nullcontext() as trace:
        out = model(**inputs, past_key_values=cache, logits_to_keep=1)
        for _ in range(STEPS):
            logits.append(out.logits[:, -1].to("cpu"))
            ids = out.logits[:, -1].argmax(-1, keepdim=True).to(mask.device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            out = model(input_ids=ids, attention_mask=mask, past_key_values=cache)
        samples = trace.samples if pruner else []
        stages = [
            (stage.kept, stage.groups, stage.raters)
            for sample in samples
            for stage in sample.stages
        ]
    return torch.stack(logits), stages


@pytest.mark.parametrize("spread", [dispatch, by_accelerate])
@pytest.mark.parametrize(("method", "options"), CASES, ids=NAMES)
def test_two_devices_give_what_one_gives(method, options, spread):
    if spread is by_accelerate and not find_spec("accelerate"):
        pytest.skip("accelerate is not installed: pip install 'sparsevlm-repro[quantised]'")
    inputs = tiny.tiny_inputs(lengths=(6, 9))
    model = tiny.tiny_llava(attention="eager")  # the others are made of other steps in emulation
    want, stages = decode(model, inputs, method, options)
    with devices():
        model = spread(model, halves())
        assert model.lm_head.weight.device == torch.device(SECOND)
        there = {name: tensor.to(FIRST) for name, tensor in inputs.items()}
        got, found = decode(model, there, method, options)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert found == stages


def test_the_emulated_devices_do_not_mix():
    with devices():
        here, there = torch.ones(2, device=FIRST), torch.ones(2).to(SECOND)
        with pytest.raises(RuntimeError, match=f"tensors lie on {FIRST}, {SECOND}"):
            here + there
        assert (here.to(SECOND) + there).device == torch.device(SECOND)
        assert (here + torch.tensor(1.0)).tolist() == [2.0, 2.0]
