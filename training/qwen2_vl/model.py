"""The miniature Qwen2-VL: an unmodified Hugging Face architecture with a tiny configuration."""

from __future__ import annotations

import torch
from torch import nn
from transformers import (
    LlavaForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from sparsevlm.miniature.qwen2_vl.prompts import VIDEO, VISION_END, VISION_START
from sparsevlm.miniature.vocabulary import BOS, EOS, IMAGE, PAD, VOCABULARY_SIZE, encode
from sparsevlm.miniature.weights import load_miniature
from training.recipes import Recipe

HIDDEN = 128
NUM_LAYERS = 8
NUM_HEADS = 4
PATCH = 4
MERGE = 1
TIME = 2  # an image is its own second frame, as in Qwen2-VL
BEFORE_IDS = (*encode(["<s>", "USER", ":"]), VISION_START)
AROUND = {"before": BEFORE_IDS, "after": (VISION_END,)}  # of the image, see `packed.turn_hidden`


def build_config() -> Qwen2VLConfig:
    """Configuration: a tower of 3 layers over patches of 4 x 4 pixels, a decoder of 8 layers.

    Differences from Qwen2-VL-7B, sizes apart: ``spatial_merge_size`` 1 (the merger is an MLP on one
    patch, not on 2 x 2, because 1300 tokens from 5200 patches would make the tower's attention
    sixteen times as expensive); as many key heads as query heads; ``rope_theta`` 1e4 as in the
    decoder that it starts from. The three axes share the rotary frequencies as in Qwen2-VL:
    2 : 3 : 3.
    """
    vision = {
        "depth": 3, "embed_dim": HIDDEN, "hidden_size": HIDDEN, "num_heads": 4, "mlp_ratio": 3,
        "patch_size": PATCH, "spatial_merge_size": MERGE, "temporal_patch_size": TIME,
    }  # fmt: skip
    text = {
        "vocab_size": VOCABULARY_SIZE, "hidden_size": HIDDEN, "intermediate_size": 352,
        "num_hidden_layers": NUM_LAYERS, "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_HEADS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6],
        },
    }  # fmt: skip
    return Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=False,
    )


def build_model(seed: int) -> Qwen2VLForConditionalGeneration:
    """A randomly initialized miniature (float32); the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2VLForConditionalGeneration(build_config())
        _initialize_tower(model.model.visual)
    return model


@torch.no_grad()
def _initialize_tower(tower: nn.Module) -> None:
    """Weights of unit gain, and small writes into the residual stream."""
    for name, module in tower.named_modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            gain = 0.3 if name.endswith(("attn.proj", "mlp.fc2")) else 1.0
            module.weight.normal_(0, gain * module.weight[0].numel() ** -0.5)


@torch.no_grad()
def take_decoder(
    model: Qwen2VLForConditionalGeneration, base: LlavaForConditionalGeneration
) -> Qwen2VLForConditionalGeneration:
    """Give the model the decoder, words and output head of a miniature LLaVA of the same size.

    On text alone it computes what the base computes: the biases of queries, keys and values, which
    Llama has not, are zero, and on text the three axes of positions are one. The tower is kept.

    Raises
    ------
    ValueError
        The base has other shapes.
    """
    taken = {
        name: value
        for name, value in base.state_dict().items()
        if ".language_model." in name or name.startswith("lm_head")
    }
    own = model.state_dict()
    wrong = [n for n, v in taken.items() if n not in own or own[n].shape != v.shape]
    if wrong:
        raise ValueError(
            f"the base does not fit: {', '.join(wrong[:3])} has no counterpart of the same shape; "
            f"it must have {NUM_LAYERS} layers of size {HIDDEN}"
        )
    model.load_state_dict(taken, strict=False)
    for layer in model.model.language_model.layers:
        for name in ("q_proj", "k_proj", "v_proj"):
            getattr(layer.self_attn, name).bias.zero_()
    return model


def starting_model(recipe: Recipe, seed: int) -> Qwen2VLForConditionalGeneration:
    """A random tower, and decoder and words of the recipe's base (`take_decoder`)."""
    return take_decoder(build_model(seed), load_miniature(recipe.base)[0])
