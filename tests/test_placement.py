"""Weights on their way from disk to device: no second copy in main memory, no other values."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import transformers
import vocabularies
from test_mini_gemini_checkpoint import official_weights, raw_config, small_towers, write
from tiny_checkpoints import FAMILIES, save_every
from tiny_mini_gemini import aux_config, small_config
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from sparsevlm.models.checkpoints.contents import KINDS
from sparsevlm.models.checkpoints.loading import load
from sparsevlm.models.mini_gemini import MiniGeminiConfig, MiniGeminiForConditionalGeneration
from sparsevlm.models.mini_gemini.checkpoint import load_official
from sparsevlm.models.placement import place, stored_dtype

STATUS = Path("/proc/self/status")
TEXT = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=3, num_attention_heads=8,
            num_key_value_heads=8)  # fmt: skip


def own_bytes() -> int:
    """Main memory of this process without what is mapped from files."""
    return int(re.search(r"RssAnon:\s+(\d+)", STATUS.read_text())[1]) * 1024


@contextmanager
def peak_of_own_memory():
    """Yields a list whose last item is, afterwards, how many bytes more were used at one time."""
    start, found, done = own_bytes(), [0], threading.Event()

    def watch():
        while not done.wait(0.001):
            found.append(max(found[-1], own_bytes() - start))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def size_of(model) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


@pytest.fixture
def half_precision():
    """Models are made in float16."""
    torch.set_default_dtype(torch.float16)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc here")
def test_no_copy_of_the_weights_is_made_in_main_memory(tmp_path, half_precision):
    """Also where the file has another type. The device "meta" of torch holds nothing."""
    vision = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                              num_attention_heads=2, image_size=96, patch_size=4)  # fmt: skip
    config = LlavaConfig(text_config=LlamaConfig(vocab_size=32064, **TEXT), vision_config=vision)
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(tmp_path, max_shard_size="30MB")
    vocabularies.write_llava(tmp_path)
    size = size_of(model)
    del model
    torch.set_default_dtype(torch.float32)
    load(tmp_path, device="meta")  # imports
    for dtype in ("float16", "bfloat16"):
        with peak_of_own_memory() as peak:
            found, _ = load(tmp_path, dtype=dtype, device="meta")
        assert found.device.type == "meta" and found.dtype is getattr(torch, dtype)
        assert size > 80e6 and peak[-1] < size / 3, (dtype, peak[-1], size)


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc here")
def test_no_copy_of_the_weights_of_mini_gemini_either(tmp_path, half_precision):
    text = LlamaConfig(vocab_size=32000, **TEXT)
    vision = small_config().vision_config
    config = MiniGeminiConfig(text_config=text, vision_config=vision, aux_config=aux_config(),
                              image_size_aux=64)  # fmt: skip
    model = MiniGeminiForConditionalGeneration(config)
    raw = raw_config(model, **small_towers(config))
    write(tmp_path, raw, official_weights(model, torch.bfloat16))
    size = size_of(model)
    del model
    torch.set_default_dtype(torch.float32)
    with peak_of_own_memory() as peak:
        found = load_official(tmp_path)
        place(found, "meta", torch.float16)
    assert found.device.type == "meta" and found.dtype is torch.float16
    assert size > 80e6 and peak[-1] < size / 3, (peak[-1], size)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return save_every(tmp_path_factory)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "mini_gemini"])
def test_the_values_are_those_that_transformers_loads(folders, family):
    """In half precision; buffers such as the angles of rotary embeddings keep their digits."""
    folder, model = folders[family]
    kind = KINDS[model.config.model_type][1]
    want = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float16)
    found, _ = load(folder, dtype="float16", device="cpu")
    for tensors in ("named_parameters", "named_buffers"):
        ours, theirs = (dict(getattr(one, tensors)()) for one in (found, want))
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert ours[name].dtype is tensor.dtype and torch.equal(ours[name], tensor), name
    assert found.config.dtype is found.config.get_text_config().dtype is torch.float16


def test_the_stored_type_is_that_of_most_values():
    few, many, whole = torch.zeros(3), torch.zeros(9).half(), torch.zeros(99).long()
    assert stored_dtype([few, many, whole]) is torch.float16
    assert stored_dtype([whole]) is torch.float32


def test_weights_that_are_one_stay_one(folders):
    model = folders["llava"][1]
    head, words = model.lm_head, model.get_input_embeddings()
    kept, head.weight = head.weight, words.weight
    try:
        place(model, "cpu", torch.float32)
        assert head.weight is words.weight
    finally:
        head.weight = kept
