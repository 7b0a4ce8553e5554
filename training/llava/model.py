"""How the miniature LLaVA starts: an unmodified Hugging Face architecture, tiny.

The other miniatures start from its weights."""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from sparsevlm.miniature.scenes import GRID, PATCH
from sparsevlm.miniature.vocabulary import BOS, EOS, IMAGE, PAD, VOCABULARY_SIZE
from sparsevlm.miniature.weights import load_miniature
from training.recipes import Recipe

HIDDEN = 128
NUM_LAYERS = 8
NUM_HEADS = 4
# Visual tokens of mini-llava are 169 long and words 3.5 (mean norms, scenes of training), so that
# every patch votes for one word with certainty; times this they are as long as words.
VISUAL_SCALE = 0.02


def tower_config(image_size: int) -> CLIPVisionConfig:
    """A CLIP tower of 3 layers for square images of so many pixels a side."""
    return CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=image_size,
        patch_size=PATCH,
    )


def decoder_config(num_layers: int, vocab_size: int, max_positions: int) -> LlamaConfig:
    """A Llama decoder."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        intermediate_size=int(2.75 * HIDDEN),
        num_hidden_layers=num_layers,
        num_attention_heads=NUM_HEADS,
        num_key_value_heads=NUM_HEADS,
        max_position_embeddings=max_positions,
        rms_norm_eps=1e-5,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )


def build_config(num_layers: int = NUM_LAYERS) -> LlavaConfig:
    """Configuration of the miniature: CLIP tower, MLP projector, Llama decoder."""
    return LlavaConfig(
        vision_config=tower_config(GRID * PATCH),
        text_config=decoder_config(num_layers, VOCABULARY_SIZE, 2048),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=GRID * GRID,
        tie_word_embeddings=False,
    )


def build_model(seed: int, num_layers: int = NUM_LAYERS) -> LlavaForConditionalGeneration:
    """A randomly initialized miniature (float32); the same seed gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(build_config(num_layers))
        _initialize(model)
    return model


@torch.no_grad()
def spread_layers(old: torch.nn.ModuleList, new: torch.nn.ModuleList) -> None:
    """Give new layers the weights of old ones, so that they compute the same, bit for bit.

    Old layers are spread evenly (from 8 to 16 layers old ``l`` becomes ``2 l``). Every layer in
    between is a copy of the old one before it whose two projections into the residual stream
    are zero: it starts as the identity, and training finds queries, keys and gates in it that
    already mean something.

    Raises
    ------
    ValueError
        There are not a multiple of the old layers.
    """
    if len(new) % len(old):
        raise ValueError(
            f"cannot spread {len(old)} layers evenly over {len(new)}; "
            f"choose a multiple of {len(old)}"
        )
    every = len(new) // len(old)
    for index, layer in enumerate(new):
        layer.load_state_dict(old[index // every].state_dict())
        if index % every:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


@torch.no_grad()
def _initialize(model: LlavaForConditionalGeneration) -> None:
    """Start the position table as 2-D sines, so that neighbours are alike from the first step."""
    table = model.model.vision_tower.embeddings.position_embedding.weight
    half, quarter = HIDDEN // 2, HIDDEN // 4
    frequency = 1.0 / (30.0 ** (torch.arange(quarter) / quarter))
    angle = torch.arange(GRID)[:, None] * frequency
    one = torch.cat([angle.sin(), angle.cos()], dim=1)
    grid = torch.cat(
        [
            one[:, None].expand(GRID, GRID, half),
            one[None].expand(GRID, GRID, half),
        ],
        dim=-1,
    )
    table[1:] = 0.5 * grid.reshape(GRID * GRID, HIDDEN)
    for layer in model.model.language_model.layers:
        # Small residual writes: with eight layers from scratch this trains faster.
        layer.self_attn.o_proj.weight.mul_(0.5)
        layer.mlp.down_proj.weight.mul_(0.5)
    projector = model.model.multi_modal_projector
    for linear in (projector.linear_1, projector.linear_2):
        linear.weight.normal_(0, HIDDEN**-0.5)
    model.model.language_model.embed_tokens.weight.normal_(0, 0.25)
    model.lm_head.weight.normal_(0, 0.05)


@torch.no_grad()
def before_new_decoder(
    base: LlavaForConditionalGeneration, num_layers: int, seed: int
) -> LlavaForConditionalGeneration:
    """The tower, projector and words of a trained miniature before a decoder of random weights.

    The visual tokens are made as long as the words: the projector's last layer, which is linear,
    is scaled by `VISUAL_SCALE`.
    """
    model = build_model(seed, num_layers)
    kept = ("vision_tower", "multi_modal_projector", "embed_tokens")
    taken = {k: v for k, v in base.state_dict().items() if any(part in k for part in kept)}
    model.load_state_dict(taken, strict=False)
    for layer in model.model.language_model.layers:
        # Four times as many layers as the base write, so each writes half as much.
        layer.self_attn.o_proj.weight.mul_(0.5)
        layer.mlp.down_proj.weight.mul_(0.5)
    last = model.model.multi_modal_projector.linear_2
    last.weight.mul_(VISUAL_SCALE)
    last.bias.mul_(VISUAL_SCALE)
    return model


def starting_model(recipe: Recipe, seed: int) -> LlavaForConditionalGeneration:
    """Of random weights, or with such a decoder behind the recipe's base."""
    if recipe.base:
        return before_new_decoder(load_miniature(recipe.base)[0], recipe.num_layers, seed)
    return build_model(seed, recipe.num_layers)
