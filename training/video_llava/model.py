"""The miniature Video-LLaVA: the unmodified Hugging Face architecture, started from mini-llava."""

from __future__ import annotations

import torch
from transformers import (
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
)

from sparsevlm.miniature.scenes import GRID as BASE_GRID
from sparsevlm.miniature.video_llava.clips import GRID, SIZE
from sparsevlm.miniature.video_llava.vocabulary import (
    IMAGE,
    NUM_FRAMES,
    VIDEO,
    VOCABULARY_SIZE,
)
from sparsevlm.miniature.vocabulary import WORDS as BASE_WORDS
from sparsevlm.miniature.weights import load_miniature
from training.llava.model import decoder_config, spread_layers, tower_config
from training.recipes import Recipe

NUM_LAYERS = 16
# Hugging Face keeps the class token of every frame of a video, as the official branch does.
TOKENS_PER_FRAME = GRID * GRID + 1
NUM_VISUAL = NUM_FRAMES * TOKENS_PER_FRAME


def build_config(num_layers: int = NUM_LAYERS) -> VideoLlavaConfig:
    """Two CLIP towers of 3 layers (images, videos), an MLP projector and a Llama decoder."""
    return VideoLlavaConfig(
        vision_config=tower_config(SIZE),
        text_config=decoder_config(num_layers, VOCABULARY_SIZE, 4096),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=GRID * GRID,
        video_seq_length=NUM_VISUAL,
        tie_word_embeddings=False,
    )


def build_model(seed: int, num_layers: int = NUM_LAYERS) -> VideoLlavaForConditionalGeneration:
    """A randomly initialized miniature (float32); the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VideoLlavaForConditionalGeneration(build_config(num_layers))
        # Small, so that words which nothing depicts yet do not disturb the alignment of the others.
        model.model.language_model.embed_tokens.weight.data.normal_(0, 0.05)
        model.lm_head.weight.data.normal_(0, 0.05)
    return model


@torch.no_grad()
def warm_start(base, seed: int, num_layers: int = NUM_LAYERS) -> VideoLlavaForConditionalGeneration:
    """A miniature Video-LLaVA with the weights of a miniature LLaVA.

    Both towers get the tower of the base with the 16 x 16 middle of its position table. The
    words of the base keep their embeddings, new words start at random (with ``seed``). Old layer
    ``l`` becomes layer ``l * every``; a layer in between is a copy of the one before it whose two
    projections into the residual stream are zero, so it starts as the identity.

    Parameters
    ----------
    base : LlavaForConditionalGeneration
        `mini-llava`, of the same width.
    seed : int
        Of the embeddings of the new words.
    num_layers : int
        A multiple of the layers of the base.

    Raises
    ------
    ValueError
        ``num_layers`` is not a multiple of the layers of the base.
    """
    model = build_model(seed, num_layers)
    tower = _cropped(base.model.vision_tower.state_dict())
    model.model.image_tower.load_state_dict(tower)
    model.model.video_tower.load_state_dict(tower)
    projector = base.model.multi_modal_projector.state_dict()
    model.model.multi_modal_projector.load_state_dict(projector)
    decoder, old = model.model.language_model, base.model.language_model
    words = len(BASE_WORDS)
    decoder.embed_tokens.weight[:words] = old.embed_tokens.weight[:words]
    model.lm_head.weight[:words] = base.lm_head.weight[:words]
    decoder.norm.load_state_dict(old.norm.state_dict())
    spread_layers(old.layers, decoder.layers)
    return model


def _cropped(tower: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tower's weights with the middle of the position table, so that neighbours stay so."""
    first = (BASE_GRID - GRID) // 2
    places = torch.arange(first, first + GRID)
    kept = (places[:, None] * BASE_GRID + places).flatten() + 1
    cropped = {}
    for name, value in tower.items():
        if name.endswith("position_embedding.weight"):
            value = torch.cat([value[:1], value[kept]])
        if not name.endswith("position_ids"):
            cropped[name] = value
    return cropped


def starting_model(recipe: Recipe, seed: int) -> VideoLlavaForConditionalGeneration:
    """The weights of the recipe's base where they fit (`warm_start`)."""
    return warm_start(load_miniature(recipe.base)[0], seed, recipe.num_layers)
