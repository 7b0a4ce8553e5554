"""Mini-Gemini: official files, and the names in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_mini_gemini import small_inputs, small_mini_gemini

from sparsevlm.models.mini_gemini.checkpoint import (
    load_official,
    official_config,
    official_name,
    own_name,
    own_name_of_open_clip,
)
from sparsevlm.models.placement import place

AUX, CLIP = "model.vision_tower_aux.", "model.vision_tower.vision_tower.vision_model."
NAMES = {
    "lm_head.weight": "lm_head.weight",
    "model.language_model.layers.1.mlp.up_proj.weight": "model.layers.1.mlp.up_proj.weight",
    "model.language_model.norm.weight": "model.norm.weight",
    "model.projector.2.bias": "model.mm_projector.2.bias",
    "model.mining.query.0.weight": "model.vlm_uni_query_projector.0.weight",
    "model.mining.key.1.weight": "model.vlm_uni_aux_projector.1.weight",
    "model.mining.value.1.bias": "model.vlm_uni_val_projector.1.bias",
    "model.vision_tower.encoder.layers.2.mlp.fc1.weight":
        f"{CLIP}encoder.layers.2.mlp.fc1.weight",
    "model.vision_tower_aux.embeddings.patch_embeddings.bias": f"{AUX}vision_stem.0.bias",
    "model.vision_tower_aux.embeddings.layernorm.weight": f"{AUX}vision_stem.1.weight",
    "model.vision_tower_aux.encoder.stages.1.downsampling_layer.0.bias":
        f"{AUX}vision_stages.1.downsample.0.bias",
    "model.vision_tower_aux.encoder.stages.2.layers.1.dwconv.weight":
        f"{AUX}vision_stages.2.blocks.1.conv_dw.weight",
    "model.vision_tower_aux.encoder.stages.2.layers.1.layernorm.bias":
        f"{AUX}vision_stages.2.blocks.1.norm.bias",
    "model.vision_tower_aux.encoder.stages.0.layers.0.pwconv1.weight":
        f"{AUX}vision_stages.0.blocks.0.mlp.fc1.weight",
    "model.vision_tower_aux.encoder.stages.0.layers.0.pwconv2.bias":
        f"{AUX}vision_stages.0.blocks.0.mlp.fc2.bias",
    "model.vision_tower_aux.encoder.stages.3.layers.0.layer_scale_parameter":
        f"{AUX}vision_stages.3.blocks.0.gamma",
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return small_mini_gemini()


def official_weights(model, dtype=torch.float32):
    return {
        official_name(name): weight.detach().to(dtype).clone()
        for name, weight in model.state_dict().items()
    }


def raw_config(model, **changes):
    """What the release's training code would write for this model."""
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
            "bos_token_id", "eos_token_id", "pad_token_id", "rms_norm_eps",
            "tie_word_embeddings")  # fmt: skip
    text = model.config.text_config
    return {
        **{key: getattr(text, key) for key in keys},
        "model_type": "mgm", "architectures": ["MGMLlamaForCausalLM"], "torch_dtype": "bfloat16",
        "transformers_version": "4.36.2", "rope_theta": 10000.0, "use_cache": True,
        "mm_vision_tower": "model_zoo/clip", "mm_vision_tower_aux": "model_zoo/convnext",
        "mm_hidden_size": 32, "mm_hidden_size_aux": 80, "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch", "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "mm_projector_lr": None,
        "image_size_aux": 64, "image_aspect_ratio": "pad", "image_grid": 1,
        "image_global": False, "image_grid_pinpoints": None, "optimize_vision_tower": False,
        "optimize_vision_tower_aux": False, "tokenizer_padding_side": "right", **changes,
    }  # fmt: skip


def write(folder: Path, raw: dict, weights: dict) -> Path:
    """Two shards, as a release has them."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    names = sorted(weights)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        shard = {name: weights[name] for name in part}
        save_file(shard, folder / f"model-0000{number}-of-00002.safetensors")
    return folder


def small_towers(config):
    """What config.json says of towers that are smaller than the release's."""
    return {name: getattr(config, name).to_dict() for name in ("vision_config", "aux_config")}


def load(folder, model, **options):
    if (path := folder / "config.json").exists():
        path.write_text(json.dumps(json.loads(path.read_text()) | small_towers(model.config)))
    dtype = options.pop("dtype", torch.float32)
    found = load_official(folder, **options)
    place(found, "cpu", dtype)
    return found


def same(found, model, dtype=torch.float32):
    want = model.state_dict()
    got = found.state_dict()
    assert got.keys() == want.keys()
    for name, weight in want.items():
        assert torch.equal(got[name], weight.to(dtype).to(got[name].dtype)), name


def tower(folder: Path, model) -> Path:
    """ConvNeXt in a file of its own, with the heads that the real one has."""
    trunk = {
        k[len(AUX) :].replace("vision_", "visual.trunk."): v
        for k, v in official_weights(model).items() if k.startswith(AUX)
    }  # fmt: skip
    heads = ("visual.trunk.head.norm.weight", "visual.head.proj.weight", "logit_scale",
             "transformer.resblocks.0.ln_1.bias", "token_embedding.weight", "ln_final.bias",
             "text_projection", "positional_embedding")  # fmt: skip
    trunk |= {name: torch.zeros(2) for name in heads}
    (folder / "clip").mkdir()
    save_file(trunk, folder / "clip" / "open_clip_model.safetensors")
    return folder / "clip"


# --- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "official"), NAMES.items())
def test_names(here, official):
    assert official_name(here) == official and own_name(official) == here


def test_every_name_there_and_back(model):
    names = list(model.state_dict())
    assert [own_name(official_name(name)) for name in names] == names


def test_names_of_open_clip():
    assert own_name_of_open_clip("visual.trunk.stages.0.blocks.0.gamma") == (
        "model.vision_tower_aux.encoder.stages.0.layers.0.layer_scale_parameter"
    )
    assert own_name_of_open_clip("visual.trunk.head.norm.weight") is None


def test_unknown_names():
    for rename in (official_name, own_name):
        with pytest.raises(ValueError, match="visual.proj is no weight"):
            rename("visual.proj")


# --- Loading ---------------------------------------------------------------------------------


def test_towers_in_the_files(tmp_path, model):
    weights = official_weights(model)
    old_buffers = ("model.layers.0.self_attn.rotary_emb.inv_freq", f"{CLIP}embeddings.position_ids")
    weights |= {name: torch.ones(2) for name in old_buffers}
    found = load(write(tmp_path, raw_config(model), weights), model)
    same(found, model)
    assert not found.training
    inputs = small_inputs(model.config)
    assert torch.equal(found(**inputs).logits, model(**inputs).logits)


def test_a_tower_in_a_file_of_its_own(tmp_path, model):
    bare = {k: v for k, v in official_weights(model).items() if not k.startswith(AUX)}
    folder = write(tmp_path / "release", raw_config(model), bare)
    same(load(folder, model, aux_tower=tower(tmp_path, model)), model)
    with pytest.raises(ValueError, match="have no aux_tower; give aux_tower=.*model_zoo/convnext"):
        load(folder, model)


def test_a_tower_that_is_given_replaces_the_one_in_the_files(tmp_path, model):
    rounded = official_weights(model, torch.bfloat16)
    aux_tower = tower(tmp_path, model)
    folder = write(tmp_path / "release", raw_config(model), rounded)
    found = load(folder, model, aux_tower=aux_tower).state_dict()
    for name, weight in model.state_dict().items():
        exact = name.startswith("model.vision_tower_aux.")
        assert torch.equal(found[name], weight if exact else weight.bfloat16().float()), name
    trained = raw_config(model, optimize_vision_tower_aux=True)
    folder = write(tmp_path / "release", trained, rounded)
    with pytest.raises(ValueError, match="optimize_vision_tower_aux is true"):
        load(folder, model, aux_tower=aux_tower)


def test_types_and_kernels(tmp_path, model):
    raw = raw_config(model, eos_token_id=2)
    folder = write(tmp_path, raw, official_weights(model, torch.bfloat16))
    same(load(folder, model), model, torch.bfloat16)
    half = load(folder, model, dtype=torch.float16, attn_implementation="eager")
    assert {weight.dtype for weight in half.state_dict().values()} == {torch.float16}
    assert half.model.language_model.config._attn_implementation == "eager"
    assert half.generation_config.eos_token_id == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("model.vlm_uni_val_projector.1.bias"),
         "missing weights: model.vlm_uni_val_projector.1.bias"),
        (lambda w: w.pop(f"{AUX}vision_stem.0.bias"), "missing weights: .*vision_stem.0.bias"),
        (lambda w: w.update({"model.vision_fpn.0.weight": torch.ones(2)}),
         "does not have: model.vision_fpn.0.weight"),
        (lambda w: w.update({f"{AUX}vision_head.weight": torch.ones(2)}),
         f"does not have: {AUX}vision_head.weight"),
        (lambda w: w.update({"visual.proj": torch.ones(2)}), "visual.proj is no weight"),
        (lambda w: w.update({"model.mm_projector.0.bias": torch.ones(2)}),
         r"mm_projector.0.bias should have the shape \[64\], got \[2\]"),
    ],
)  # fmt: skip
def test_wrong_weights(tmp_path, model, change, words):
    weights = official_weights(model)
    change(weights)
    folder = write(tmp_path, raw_config(model), weights)
    with pytest.raises(ValueError, match=words):
        load(folder, model)


def test_the_same_weight_twice(tmp_path, model):
    folder = write(tmp_path, raw_config(model), official_weights(model))
    save_file({"lm_head.weight": torch.ones(2)}, folder / "more.safetensors")
    with pytest.raises(ValueError, match="lm_head.weight is in more than one file"):
        load(folder, model)


def test_nothing_to_load(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        load(tmp_path, model)
    (tmp_path / "config.json").write_text(json.dumps(raw_config(model)), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"no \*.safetensors"):
        load(tmp_path, model)


# --- config.json -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mgm", "mini_gemini"])
def test_both_spellings(model, kind):
    raw = raw_config(model, model_type=kind, image_size_aux=1536, image_grid=2, image_global=True,
                     eos_token_id=2, rope_theta=5e5)  # fmt: skip
    config = official_config(raw)
    assert config.text_config.model_type == "llama" and config.num_visual == 2880
    assert config.text_config.num_hidden_layers == 2 and config.text_config.eos_token_id == 2
    assert config.text_config.rope_parameters["rope_theta"] == 5e5
    assert config.aux_channels == 2880 and config.image_token_id == 128
    assert not hasattr(config.text_config, "mm_projector_type")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llava"}, "got 'llava'"),
        ({"model_type": "mgm_gemma"}, "must be one of mgm, mini_gemini, got 'mgm_gemma'"),
        ({"mm_projector_type": "linear"}, "mm_projector_type='linear' is not supported"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end=True"),
    ],
)
def test_configurations_that_are_not_supported(model, changes, words):
    with pytest.raises(ValueError, match=words):
        official_config(raw_config(model, **changes))


def test_the_size_of_the_second_image_is_needed(model):
    raw = raw_config(model)
    del raw["image_size_aux"]
    with pytest.raises(ValueError, match="no image_size_aux"):
        official_config(raw)
