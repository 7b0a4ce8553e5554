"""Half precision, quantised weights and other kernels: finite, and as many tokens as scheduled."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build, fits
from contract.schedules import scheduled
from torch import nn

import sparsevlm as sv

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
# Every place that a score can come from, and the level by rank.
HALF = ("sparsevlm", "sparsevlm-paper", "sparsevlm-plus", "pdrop", "tome", "random", "divprune",
        "visionzip", "dart", "cdpruner-words", "holov", "vispruner")  # fmt: skip
QUANTISED = ("sparsevlm", "sparsevlm-plus", "pdrop", "tome")


def check(family, model, inputs, method):
    """Finite logits and scores, and counts as scheduled."""
    pruner = build(family, method)
    with family.prune(model, pruner, inputs) as trace:
        logits = family.logits(model, inputs)
        samples = trace.samples
        family.generate(model, inputs, max_new_tokens=2)
    for number, sample in enumerate(samples):
        assert logits[number, -len(sample.output_index) :].isfinite().all()
        assert all(torch.tensor(stage.scores).isfinite().all() for stage in sample.stages)
        want = scheduled(method, pruner, sample.num_visual)
        assert want is None or (sample.tokens_in, sample.tokens_out) == want


@families
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision(family, dtype):
    model = family.fresh().to(dtype)
    inputs = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in family.inputs().items()
    }
    for method in (method for method in HALF if fits(family, method)):
        check(family, model, inputs, method)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@families
def test_dynamic_int8(family):
    """PyTorch's own quantisation of the decoder's linear layers, on the CPU."""
    from torch.ao.quantization import quantize_dynamic

    model = copy.deepcopy(family.model())
    decoder = model.get_decoder()
    quantize_dynamic(decoder, {nn.Linear}, dtype=torch.qint8, inplace=True)
    assert not isinstance(decoder.layers[0].self_attn.q_proj, nn.Linear)
    for method in QUANTISED:
        check(family, model, family.inputs(), method)


@pytest.mark.skipif(
    find_spec("bitsandbytes") is None or find_spec("accelerate") is None,
    reason="needs bitsandbytes and accelerate",
)
@pytest.mark.parametrize("bits", [4, 8])
def test_bitsandbytes(bits, tmp_path):
    from transformers import BitsAndBytesConfig

    family = FAMILIES["llava"]
    family.fresh().save_pretrained(tmp_path)
    quantised = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    model = type(family.model()).from_pretrained(tmp_path, quantization_config=quantised)
    inputs = {name: value.to(model.device) for name, value in family.inputs().items()}
    layer = model.get_decoder().layers[0].self_attn.q_proj
    assert "bitsandbytes" in type(layer).__module__
    for method in QUANTISED:
        check(family, model, inputs, method)


@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("flash_attn") is None,
    reason="needs a CUDA GPU and flash-attn",
)
@families
def test_flash_attention(family):
    model = family.fresh("flash_attention_2").half().cuda()
    inputs = {
        name: (value.half() if value.is_floating_point() else value).cuda()
        for name, value in family.inputs().items()
    }
    for method in (method for method in sv.METHODS if fits(family, method)):
        check(family, model, inputs, method)
