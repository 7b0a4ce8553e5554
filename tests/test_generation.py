"""Every way to generate: right under pruning, or refused with what to do."""

from __future__ import annotations

import copy

import pytest
import torch
from contract.cases import FAMILIES, NUM_LAYERS
from contract.runs import Run, build
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    StaticCache,
)
from transformers.cache_utils import DynamicLayer

import sparsevlm as sv

# One that looks at the layer just run, one at the layer to come, one at none and ahead of layer 0.
METHODS = ("sparsevlm", "pdrop", "tome")
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
methods = pytest.mark.parametrize("method", METHODS)
# transformers gives an assistant no pictures; Mini-Gemini will not run without, pruned or not.
ASSISTANTS = [family for family in FAMILIES.values() if family.name != "mini-gemini"]
assistants = pytest.mark.parametrize("family", ASSISTANTS, ids=lambda family: family.name)


def one(family, index=2):
    """One sample, and the context manager for a method on it."""
    return family.row(family.inputs(), index)


def pruned(family, method, inputs, model=None, **options):
    model = family.model() if model is None else model
    with family.prune(model, build(family, method), inputs):
        return family.generate(model, inputs, **options)


# --- Searching ------------------------------------------------------------------------------------


@families
@methods
def test_sampling_with_a_cache_equals_recomputation(family, method):
    inputs, found = family.inputs(), []
    for use_cache in (True, False):
        torch.manual_seed(5)
        how = {"do_sample": True, "temperature": 0.7, "use_cache": use_cache}
        found.append(pruned(family, method, inputs, max_new_tokens=5, **how))
    assert torch.equal(*found)
    assert not torch.equal(found[0][:, :3], Run(family, method, "sdpa").tokens)


@families
@methods
def test_beams_with_a_cache_equal_recomputation(family, method):
    """Also with other samples in the batch, where the model finds its visual tokens itself."""
    inputs = one(family) if family.told else family.inputs()
    beams = pruned(family, method, inputs, num_beams=3)
    assert torch.equal(beams, pruned(family, method, inputs, num_beams=3, use_cache=False))
    if not family.told:
        alone = pruned(family, method, one(family), num_beams=3)
        assert torch.equal(alone[0], beams[2])


def test_where_all_tokens_rate_the_answer_so_far_does_not():
    """Without a cache every call has the answer behind the prompt, which is what rates."""
    family = FAMILIES["llava"]
    model, inputs, found = family.model(), family.inputs(), []
    pruner = build(family, "sparsevlm-all-tokens")
    for options in ({"max_new_tokens": 1}, {"max_new_tokens": 6, "use_cache": False}):
        with family.prune(model, pruner, inputs) as trace:
            family.generate(model, inputs, **options)
        found.append([stage for sample in trace.samples for stage in sample.stages])
    for first, last in zip(*found, strict=True):
        assert (last.kept, last.groups) == (first.kept, first.groups)
        assert last.scores == pytest.approx(first.scores, rel=1e-4)


@assistants
@methods
def test_assisted_generation_equals_greedy(family, method):
    """The assistant is a dense copy: its candidates are judged with the prompt in one call, some
    are taken and some are not.
    """
    inputs = one(family)
    greedy = pruned(family, method, inputs, max_new_tokens=6)
    assistant = copy.deepcopy(family.model())
    assisted = pruned(family, method, inputs, max_new_tokens=6, assistant_model=assistant)
    assert torch.equal(assisted, greedy)


@families
@methods
def test_prompt_lookup_equals_greedy(family, method):
    """The question repeats itself, so that the first call has candidates behind the prompt."""
    inputs = one(family)
    ids = inputs["input_ids"].clone()
    ids[:, -6:] = torch.tensor([21, 22, 23, 21, 22, 23])
    inputs = {**inputs, "input_ids": ids}
    lengths = []
    model = family.model()
    with family.prune(model, build(family, method), inputs):
        greedy = family.generate(model, inputs, max_new_tokens=6)
        handle = model.register_forward_pre_hook(
            lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]),
            with_kwargs=True,
        )
        looked_up = family.generate(model, inputs, max_new_tokens=6, prompt_lookup_num_tokens=3)
        handle.remove()
    assert lengths[0] > ids.shape[1], "no candidates came with the prompt"
    assert torch.equal(looked_up, greedy)


@assistants
def test_the_model_assists_itself(family):
    inputs = one(family)
    greedy = pruned(family, "sparsevlm", inputs)
    assert torch.equal(pruned(family, "sparsevlm", inputs, assistant_model=family.model()), greedy)


@pytest.mark.parametrize("name", ["llava", "llama", "video-llava"])
@pytest.mark.parametrize("method", ["sparsevlm", "fastv"])
def test_an_assistant_and_guidance(name, method):
    """The pass that guidance makes comes first here, ahead of the prompt."""
    family, kept = FAMILIES[name], []
    model, inputs, assistant = family.model(), one(family), copy.deepcopy(family.model())
    for more in ({}, {"assistant_model": assistant, "guidance_scale": 1.5}):
        with family.prune(model, build(family, method), inputs) as trace:
            family.generate(model, inputs, **more)
        kept.append([(stage.kept, stage.raters) for stage in trace.samples[0].stages])
    assert kept[0] == kept[1] != []


def test_a_generate_of_ones_own_that_calls_generate(tmp_path):
    """A recipe from a folder or the hub: the prompt that it sends is the prompt."""
    family = FAMILIES["llava"]
    model, inputs = family.model(), one(family)
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    (tmp_path / "custom_generate").mkdir()
    (tmp_path / "custom_generate" / "generate.py").write_text(
        "def generate(model, **given):\n"
        "    return model.generate(**{k: v for k, v in given.items() if v is not None})\n"
    )
    how = {"custom_generate": str(tmp_path), "trust_remote_code": True}
    found = []
    for more in ({}, how):
        with family.prune(model, build(family, "sparsevlm"), inputs) as trace:
            found.append((family.generate(model, inputs, **more).tolist(), trace.samples))
    assert found[0] == found[1]


def test_token_healing_is_refused():
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="token_healing makes the prompt anew.*leave it out"):
        pruned(family, "sparsevlm", one(family), token_healing=True)


def test_several_logits_of_a_plain_call_are_no_candidates():
    """Only `generate` puts candidates behind the prompt."""
    family = FAMILIES["llava"]
    model, inputs = family.model(), one(family)
    with family.prune(model, build(family, "sparsevlm"), inputs) as trace:
        want, samples = family.logits(model, inputs), trace.samples
        last = family.logits(model, inputs, logits_to_keep=3)
        torch.testing.assert_close(last, want[:, -3:], rtol=1e-4, atol=1e-4)
        assert trace.samples == samples


@families
@pytest.mark.parametrize("method", ["sparsevlm", "fastv", "pdrop"])
def test_a_second_turn_continues_the_cache(family, method):
    """`generate` is given the conversation and its cache; the same as a loop of plain calls."""
    model, inputs = family.model(), one(family)
    second = torch.tensor([[21, 22, 23, 24]])
    with torch.no_grad(), family.prune(model, build(family, method), inputs):
        cache = DynamicCache(config=model.get_decoder().config)
        first = family.generate(model, inputs, past_key_values=cache)
        ids = torch.cat([inputs["input_ids"], first, second], 1)
        whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        answer = family.generate(model, whole, past_key_values=cache)

        out = model(**inputs, use_cache=True)
        for token in [*first.split(1, dim=1), second]:
            out = model(input_ids=token, past_key_values=out.past_key_values)
        want = []
        for _ in range(answer.shape[1]):
            scores = out.logits[:, -1]
            if not family.told:
                never = [token for token in family.visual_ids if token < scores.shape[1]]
                scores = scores.index_fill(1, torch.tensor(never, dtype=torch.int64), -torch.inf)
            want.append(scores.argmax(-1, keepdim=True))
            out = model(input_ids=want[-1], past_key_values=out.past_key_values)
    assert torch.equal(answer, torch.cat(want, 1))


@pytest.mark.parametrize(
    ("name", "answer"), [*((name, 4) for name in FAMILIES), ("video-llava", 130)]
)
def test_a_second_turn_after_a_cut_before_layer_0_is_refused(name, answer):
    """`generate` counts what the cache stands for in layer 0, and would send old tokens again:
    of the prompt, or of a long answer.
    """
    family = FAMILIES[name]
    model, inputs = family.model(), one(family)
    with family.prune(model, build(family, "tome"), inputs):
        cache = DynamicCache(config=model.get_decoder().config)
        first = family.generate(model, inputs, past_key_values=cache, max_new_tokens=answer)
        ids = torch.cat([inputs["input_ids"], first, torch.tensor([[21, 22]])], 1)
        whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with pytest.raises(ValueError, match="continue a cache after a stage before layer 0"):
            family.generate(model, whole, past_key_values=cache)


@pytest.mark.parametrize(
    "how",
    [{"penalty_alpha": 0.6, "top_k": 4}, {"dola_layers": "low"},
     {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}],
    ids=["contrastive", "dola", "beam-groups"],
)  # fmt: skip
def test_searches_that_left_transformers_are_refused_by_it(how):
    """They are code from a hub; the session stays usable."""
    family = FAMILIES["llava"]
    model, inputs = family.model(), one(family)
    with family.prune(model, build(family, "sparsevlm"), inputs):
        want = family.generate(model, inputs)
        with pytest.raises(ValueError, match="trust_remote_code"):
            family.generate(model, inputs, **how)
        assert torch.equal(family.generate(model, inputs), want)


# --- Caches ---------------------------------------------------------------------------------------


class _OtherLayer(DynamicLayer):
    """Stands for the layers of quantised caches, whose packages may not be installed."""


def _cache(kind, config):
    if kind == "static":
        return StaticCache(config=config, max_cache_len=400)
    if kind == "encoder-decoder":
        return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
    if kind == "tuple":
        return ((torch.zeros(1, 2, 3, 16),) * 2,) * NUM_LAYERS
    cache = DynamicCache(config=config)
    cache.layers = [_OtherLayer() for _ in cache.layers]
    return cache


@families
@pytest.mark.parametrize("kind", ["static", "encoder-decoder", "other-layers", "tuple"])
def test_other_caches_are_refused(family, kind):
    model, inputs = family.model(), one(family)
    cache = _cache(kind, model.get_decoder().config)
    with family.prune(model, build(family, "sparsevlm"), inputs):
        with pytest.raises(ValueError, match="works with a DynamicCache.*Leave cache_impl"):
            family.logits(model, inputs, past_key_values=cache)
        with pytest.raises(ValueError, match="works with a DynamicCache"):
            family.generate(model, inputs, past_key_values=cache)
        if kind == "static":
            with pytest.raises(ValueError, match="works with a DynamicCache"):
                family.generate(model, inputs, cache_implementation="static")


def test_a_quantised_cache_is_refused():
    pytest.importorskip("optimum.quanto", reason="needs optimum-quanto")
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="works with a DynamicCache"):
        pruned(family, "sparsevlm", one(family), cache_implementation="quantized")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="offloading needs a CUDA GPU")
def test_an_offloaded_cache_is_right_or_refused():
    family = FAMILIES["llava"]
    inputs = {name: value.cuda() for name, value in one(family).items()}
    model = family.fresh().cuda()
    want = pruned(family, "sparsevlm", inputs, model)
    found = pruned(family, "sparsevlm", inputs, model, cache_implementation="offloaded")
    assert torch.equal(found, want)


@methods
@pytest.mark.parametrize("size", [2, 60, 150])
def test_the_prompt_in_chunks_is_refused(method, size):
    """A chunk without all of its question cannot be rated; by its name also from a config."""
    family = FAMILIES["llama"]
    model, inputs = family.fresh(), one(family)
    with family.prune(model, build(family, method), inputs):
        want = family.generate(model, inputs)
        whole = family.generate(model, inputs, prefill_chunk_size=inputs["input_ids"].shape[1])
        assert torch.equal(whole, want)
        with pytest.raises(ValueError, match=f"prefill_chunk_size={size} cuts"):
            family.generate(model, inputs, prefill_chunk_size=size)
        config = copy.deepcopy(model.generation_config)
        config.prefill_chunk_size = size
        with pytest.raises(ValueError, match=f"prefill_chunk_size={size} cuts"):
            model.generate(**inputs, generation_config=config)
        model.generation_config.prefill_chunk_size = size
        for given in ({}, {"generation_config": GenerationConfig(max_new_tokens=2)}):
            with pytest.raises(ValueError, match=f"prefill_chunk_size={size} cuts"):
                model.generate(**inputs, **given)
        model.generation_config.prefill_chunk_size = None
        assert torch.equal(family.generate(model, inputs), want)


@pytest.mark.parametrize("method", [name for name in sv.METHODS if name != "dense"])
def test_a_sliding_window_is_refused(method):
    config = LlamaConfig(
        vocab_size=272, hidden_size=64, intermediate_size=64, num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4, layer_types=["sliding_attention"] * NUM_LAYERS, sliding_window=16,
    )  # fmt: skip
    family = FAMILIES["llama"]
    with pytest.raises(ValueError, match="switch the sliding window off in the config"):
        with family.prune(LlamaForCausalLM(config), build(family, method), family.inputs()):
            pass
