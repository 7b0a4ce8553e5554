"""LLaVA around every decoder that `prune` knows, and what it says about those it does not."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from contract.cases import BEFORE, FAMILIES, IMAGE_TOKEN, left_padded
from spread import spread
from transformers import (
    CONFIG_MAPPING,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLForConditionalGeneration,
)

import sparsevlm as sv
from sparsevlm.core.scoring import gravity
from sparsevlm.methods import options_for
from sparsevlm.runtime.adapter import DECODERS, abilities

NUM_LAYERS, NUM_VISUAL, HEAD_DIM = 6, 64, 16
SIZES = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": HEAD_DIM,
    "max_position_embeddings": 1024, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip
# By model type. Those with a window in their defaults are told to have none.
NONE = {"sliding_window": None}
KNOWN = {
    "llama": {}, "mistral": NONE, "mixtral": NONE, "qwen2": {}, "qwen2_moe": {}, "qwen3": {},
    "qwen3_moe": {}, "gemma": {}, "granite": {"residual_multiplier": 0.3}, "granitemoe": {},
    "phimoe": NONE, "starcoder2": NONE, "seed_oss": {}, "helium": {}, "ernie4_5": {}, "arcee": {},
    "bitnet": {}, "cohere": {"use_qk_norm": True}, "glm": {}, "glm4": {}, "nemotron": {},
    "phi3": NONE, "olmo": {"clip_qkv": 0.5}, "olmo2": {}, "olmoe": {}, "hunyuan_v1_dense": {},
    "phi": {}, "stablelm": {"qk_layernorm": True, "use_parallel_residual": True}, "smollm3": {},
}  # fmt: skip
METHODS = ("uniform", "fastv", "sparsevlm", "sparsevlm-plus", "pdrop")


def build(kind: str, attention: str = "sdpa", **options) -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        image_size=32, patch_size=4, projection_dim=32,
    )  # fmt: skip
    config = LlavaConfig(
        text_config=CONFIG_MAPPING[kind](**{**SIZES, **options}), vision_config=vision,
        image_token_id=IMAGE_TOKEN, vision_feature_layer=-1, image_seq_length=NUM_VISUAL,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention)
    return spread(made, 0)


@cache
def model_of(kind: str, attention: str = "sdpa") -> LlavaForConditionalGeneration:
    return build(kind, attention, **KNOWN[kind])


@cache
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = left_padded((6, 9), lambda: [IMAGE_TOKEN] * NUM_VISUAL, generator)
    return {**rows, "pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}


def method(name: str) -> sv.Pruner:
    """Without merging and with original positions, so that a mask can imitate it."""
    options = {**options_for(name, 4, False), "positions": "original"}
    if name.startswith("sparsevlm"):
        options["recycle"] = 0
    options = {k: v for k, v in options.items() if k in sv.METHODS[name].options}
    return sv.make_pruner(name, tokens=20, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL, **options)


@torch.no_grad()
def pruned(model, name: str):
    with sv.prune(model, method(name)) as trace:
        logits = model(**inputs()).logits
        return logits, trace.samples


@torch.no_grad()
def masked(model, samples) -> torch.Tensor:
    """Full length: from each stage on the keys of dropped tokens are masked."""
    real, length = inputs()["attention_mask"].bool(), inputs()["input_ids"].shape[1]
    visible = torch.ones(length, length).tril().bool() & real[:, None, :]
    handles = []
    for number, layer in enumerate(model.get_decoder().layers):
        for row, sample in enumerate(samples):
            for stage in (stage for stage in sample.stages if stage.layer == number - 1):
                gone = set(range(NUM_VISUAL)) - set(stage.kept)
                first = length - len(real[row].nonzero()) + len(BEFORE)
                visible[row][:, [first + token for token in gone]] = False
        seen = visible | torch.eye(length, dtype=torch.bool)
        mask = torch.zeros(2, 1, length, length).masked_fill(~seen[:, None], -torch.inf)
        handles.append(layer.register_forward_pre_hook(_with(mask), with_kwargs=True))
    try:
        return model(**inputs()).logits
    finally:
        for handle in handles:
            handle.remove()


def _with(mask):
    return lambda module, args, kwargs: (args, {**kwargs, "attention_mask": mask})


def able(kind: str, name: str) -> bool:
    needs = {"pdrop": "next", "sparsevlm-plus": "gravity"}
    return needs.get(name) is None or needs[name] in abilities(model_of(kind).get_decoder())


ABLE = [(kind, name) for kind in KNOWN for name in METHODS if able(kind, name)]
UNABLE = [(kind, name) for kind in KNOWN for name in METHODS if not able(kind, name)]


@pytest.mark.parametrize(("kind", "name"), ABLE)
def test_dropping_equals_masking(kind, name):
    model = model_of(kind)
    found, samples = pruned(model, name)
    reference = masked(model, samples)
    for row, sample in enumerate(samples):
        index = torch.tensor(sample.output_index)
        assert len(index) < int(inputs()["attention_mask"][row].sum())
        assert (found[row, -len(index) :] - reference[row, index]).abs().max() < 2e-4


@pytest.mark.parametrize(("kind", "name"), [pair for pair in ABLE if pair[1] in ("fastv", "pdrop")])
def test_scores_are_the_attention_of_the_decoder_itself(kind, name):
    """Of the last token at the first stage; the eager kernel returns its weights."""
    eager = model_of(kind, "eager")
    with torch.no_grad():
        weights = eager(**inputs(), output_attentions=True).attentions
    _, samples = pruned(model_of(kind), name)
    visual = inputs()["input_ids"] == IMAGE_TOKEN
    for row, sample in enumerate(samples):
        stage = sample.stages[0]
        want = weights[stage.layer + (name == "pdrop")][row, :, -1].mean(0)[visual[row]]
        assert (torch.tensor(stage.scores) - want).abs().max() < 1e-4 * want.max()


@pytest.mark.parametrize("kind", [kind for kind, name in ABLE if name == "sparsevlm-plus"])
def test_gravity_is_the_logit_of_ones_that_the_decoder_rotates(kind):
    import sys

    decoder = model_of(kind).get_decoder()
    cos, sin = decoder.rotary_emb(torch.zeros(1, 80, 64), torch.arange(80)[None])
    rotate = sys.modules[type(decoder).__module__].apply_rotary_pos_emb
    query, key = rotate(*[torch.ones(1, 1, 80, HEAD_DIM)] * 2, cos, sin)
    want = (query @ key.mT)[0, 0] / HEAD_DIM**0.5
    torch.testing.assert_close(gravity((cos[0], sin[0]), (cos[0], sin[0])), want)


@pytest.mark.parametrize("kind", KNOWN)
def test_generate_is_the_same_without_a_cache(kind):
    model = model_of(kind)
    how = {"max_new_tokens": 3, "do_sample": False, "suppress_tokens": [IMAGE_TOKEN]}
    with torch.no_grad(), sv.prune(model, sv.make_pruner(
        "sparsevlm", tokens=20, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL
    )):  # fmt: skip
        tokens = model.generate(**inputs(), **how)
        assert torch.equal(tokens, model.generate(**inputs(), **how, use_cache=False))


@pytest.mark.parametrize(("kind", "name"), UNABLE)
def test_a_method_that_a_decoder_cannot_serve_is_refused_by_both_names(kind, name):
    decoder = type(model_of(kind).get_decoder()).__name__
    words = {"pdrop": f"PyramidDrop looks at the attention of the layer to come.*{decoder}.*use a",
             "sparsevlm-plus": rf"SparseVLM\+ corrects.*{decoder} does not; use"}  # fmt: skip
    with pytest.raises(ValueError, match=words[name]), sv.prune(model_of(kind), method(name)):
        pass


def test_every_known_decoder_is_compared():
    compared = {type(model_of(kind).get_decoder()).__name__ for kind in KNOWN}
    # These two have families of their own in tests/contract.
    others = {
        kind.__name__.replace("ForConditionalGeneration", "TextModel")
        for kind in (Qwen2VLForConditionalGeneration, Qwen2_5_VLForConditionalGeneration)
    }
    assert compared | others == set(DECODERS)


# Hidden states that mix otherwise, other scores, positions that are no rotation, other layers.
UNKNOWN = {
    "gpt_neox": {}, "biogpt": {}, "cohere2": {}, "gemma3_text": {}, "olmo3": {}, "diffllama": {},
    "doge": {}, "lfm2": {}, "llama4_text": {}, "exaone4": {}, "jetmoe": {}, "moshi": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("name", ["uniform", "fastv", "pdrop", "dense"])
def test_an_unknown_decoder_is_refused_by_name(kind, name):
    model = build(kind, **UNKNOWN[kind])
    decoder = type(model.get_decoder()).__name__
    pruner = sv.Dense() if name == "dense" else method(name)
    with pytest.raises(TypeError, match=f"around a {decoder}.*Known: LlamaModel, .*another"):
        with sv.prune(model, pruner):
            pass


@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss"])
def test_capped_scores_and_sinks_are_refused(kind):
    """Softmax over other logits than query times key; these have no sdpa."""
    full = {"layer_types": ["full_attention"] * NUM_LAYERS}
    model = build(kind, "eager", **full)
    with pytest.raises(TypeError, match=f"around a {type(model.get_decoder()).__name__}"):
        with sv.prune(model, method("fastv")):
            pass


# --- Windows --------------------------------------------------------------------------------------

SLIDING = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2}


def in_the_attention(model):
    model.get_decoder().layers[3].self_attn.sliding_window = 16


def in_the_text_config(model):
    model.config.text_config.sliding_window = 16


def in_chunks(model):
    model.config.text_config.attention_chunk_size = 16


def in_layer_types(model):
    model.config.text_config.layer_types = ["full_attention"] * 5 + ["chunked_attention"]


WINDOWS = {
    "mistral": ("mistral", {"sliding_window": 16}, None),
    "mistral's default": ("mistral", {}, None),
    "longer than any prompt": ("phi3", {"sliding_window": 262144}, None),
    "mixtral": ("mixtral", {"sliding_window": 16}, None),
    "phi3": ("phi3", {"sliding_window": 16}, None),
    "phimoe": ("phimoe", {"sliding_window": 16}, None),
    "starcoder2": ("starcoder2", {"sliding_window": 16}, None),
    "qwen3_moe": ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 16}, None),
    "qwen2, some layers": ("qwen2", SLIDING, None),
    "qwen3, some layers": ("qwen3", SLIDING, None),
    "smollm3": ("smollm3", {**SLIDING, "layer_types": ["sliding_attention"] * 6}, None),
    "mistral, layer types or not": (
        "mistral", {"sliding_window": 16, "layer_types": ["full_attention"] * 6}, None,
    ),
    "the attention alone": ("llama", {}, in_the_attention),
    "the text config alone": ("llama", {}, in_the_text_config),
    "chunks": ("llama", {}, in_chunks),
    "layer types": ("llama", {}, in_layer_types),
}  # fmt: skip


@pytest.mark.parametrize("case", WINDOWS)
def test_a_window_is_refused_however_it_is_told(case):
    kind, options, change = WINDOWS[case]
    model = build(kind, **options)
    if change is not None:
        change(model)
    for name in METHODS:
        with pytest.raises(ValueError, match="full attention only.*switch the sliding window off"):
            with sv.prune(model, method(name)):
                pass
    with sv.prune(model, sv.Dense()):
        pass


QWEN_WINDOW = {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 2}
TOLD = [
    {"sliding_window": 16}, {"layer_types": ["sliding_attention"] * NUM_LAYERS},
    {"attention_chunk_size": 16}, QWEN_WINDOW,
]  # fmt: skip
OF_QWEN = ["qwen2-vl", "qwen2.5-vl"]
PLACES = [
    *((family, "above", told) for family in [*OF_QWEN, "llava-next"] for told in TOLD),
    *(("llava-next", "text_config", told) for told in TOLD),
    # The text config of Qwen says by its layer types which layers a window is for.
    *((family, "text_config", TOLD[1]) for family in OF_QWEN),
]


@pytest.mark.parametrize(("family", "where", "told"), PLACES)
def test_a_window_is_refused_in_the_text_config_and_above(family, where, told):
    model = FAMILIES[family].fresh()
    config = model.config if where == "above" else model.config.text_config
    for name, value in told.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match="full attention only.*switch the sliding window off"):
        with sv.prune(model, method("fastv")):
            pass
    model = FAMILIES[family].fresh()
    for name, value in {**QWEN_WINDOW, "use_sliding_window": False}.items():
        setattr(model.config, name, value)
    with sv.prune(model, method("fastv")):  # one that is switched off above is none
        pass


@pytest.mark.parametrize("family", OF_QWEN)
def test_a_window_of_some_layers_of_a_qwen_vl(family):
    raw = FAMILIES[family].model().config.to_dict()
    del raw["text_config"]["layer_types"]
    raw["text_config"] |= QWEN_WINDOW
    kind = type(FAMILIES[family].model())
    model = kind._from_config(kind.config_class.from_dict(raw))
    with pytest.raises(ValueError, match="layers of kind full_attention, sliding_attention"):
        with sv.prune(model, method("fastv")):
            pass


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("qwen2", {"use_sliding_window": False, "sliding_window": 16, "max_window_layers": 0}),
        ("qwen2", {**SLIDING, "max_window_layers": NUM_LAYERS}),
        ("qwen3_moe", {"use_sliding_window": False, "sliding_window": 16}),
        ("smollm3", {"use_sliding_window": False, "sliding_window": 16}),
    ],
)
def test_a_window_that_is_switched_off_is_none(kind, options):
    model = build(kind, **options)
    found, samples = pruned(model, "fastv")
    reference, index = masked(model, samples), torch.tensor(samples[1].output_index)
    assert (found[1, -len(index) :] - reference[1, index]).abs().max() < 2e-4


def test_the_way_out_of_a_window_works():
    model = build("mistral", sliding_window=4096)
    model.config.get_text_config().sliding_window = None
    same = model_of("mistral")
    assert torch.equal(pruned(model, "fastv")[0], pruned(same, "fastv")[0])


@pytest.mark.parametrize(
    ("kind", "options"),
    [("gemma", {"use_bidirectional_attention": True}), ("llama", {"is_causal": False})],
)
def test_attention_in_both_directions_is_refused(kind, options):
    with pytest.raises(ValueError, match="Model attends in both directions"):
        with sv.prune(build(kind, **options), method("uniform")):
            pass


def test_a_part_of_a_head_is_no_whole_one():
    """Phi-3 rotates whole heads, but where its config says otherwise."""
    partial = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    model = build("phi3", **NONE, rope_parameters=partial)
    with pytest.raises(ValueError, match="this Phi3Model does not"):
        with sv.prune(model, method("sparsevlm-plus")):
            pass
    pruned(model, "sparsevlm")
