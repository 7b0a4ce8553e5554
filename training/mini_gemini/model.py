"""The miniature Mini-Gemini: an unmodified architecture around the parts of a miniature LLaVA."""

from __future__ import annotations

import torch
from transformers import ConvNextConfig, LlavaForConditionalGeneration
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.mini_gemini.images import SCALE
from sparsevlm.miniature.scenes import GRID, PATCH
from sparsevlm.miniature.vocabulary import IMAGE
from sparsevlm.miniature.weights import DATA, load_miniature
from sparsevlm.models.mini_gemini import MiniGeminiConfig, MiniGeminiForConditionalGeneration
from training.recipes import Recipe

# Almost all of the tower stands in its first stage, whose cells of 4 x 4 pixels see the letters.
CHANNELS, DEPTHS = (48, 64, 96, 128), (3, 1, 1, 1)


def build_config(base: LlavaForConditionalGeneration) -> MiniGeminiConfig:
    """CLIP tower and decoder of the base; a small ConvNeXt for images of 192 x 192 pixels.

    Windows of 2 x 2 cells per visual token, where MGM-7B has 8 x 8.
    """
    aux = ConvNextConfig(
        hidden_sizes=list(CHANNELS),
        depths=list(DEPTHS),
        patch_size=4,
        hidden_act="gelu",
        drop_path_rate=0.0,
        layer_scale_init_value=0.3,
        image_size=SCALE * GRID * PATCH,
    )
    return MiniGeminiConfig(
        text_config=base.config.text_config.to_dict(),
        vision_config=base.config.vision_config.to_dict(),
        aux_config=aux,
        image_token_id=IMAGE,
        image_size_aux=SCALE * GRID * PATCH,
        vision_feature_layer=-1,
    )


@torch.no_grad()
def grow(base: LlavaForConditionalGeneration, seed: int) -> MiniGeminiForConditionalGeneration:
    """A Mini-Gemini that computes what the base computes, for its mining adds exactly zero.

    All weights of the base are taken over, and the pixel normalization of the base is written into
    its patch embedding, because Mini-Gemini normalizes with CLIP's own means. The new tower and
    the mining are random by ``seed``; the last layer of the mining's value is zero.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MiniGeminiForConditionalGeneration(build_config(base))
        _initialize(model)
    inner, old = model.model, base.model
    inner.language_model.load_state_dict(old.language_model.state_dict())
    model.lm_head.load_state_dict(base.lm_head.state_dict())
    inner.vision_tower.load_state_dict(old.vision_tower.state_dict())
    projector = old.multi_modal_projector
    inner.projector[0].load_state_dict(projector.linear_1.state_dict())
    inner.projector[2].load_state_dict(projector.linear_2.state_dict())
    _normalize_as_clip(inner.vision_tower.embeddings)
    return model


def _normalize_as_clip(embeddings: torch.nn.Module) -> None:
    """Let the patch embedding take pixels normalized by CLIP's means and deviations.

    A pixel of the base, ``(p - m) / s`` with one mean and deviation for all channels, is
    ``(p' S + M - m) / s`` in terms of CLIP's ``p' = (p - M) / S``. The convolution has no bias, so
    what its constant part adds to every patch goes into the position table, the class token's row
    left out.
    """
    mean, std = torch.tensor(OPENAI_CLIP_MEAN), torch.tensor(OPENAI_CLIP_STD)
    weight = embeddings.patch_embedding.weight
    constant = torch.einsum("dchw,c->d", weight, (mean - PIXEL_MEAN) / PIXEL_STD)
    embeddings.position_embedding.weight[1:] += constant
    weight *= (std / PIXEL_STD)[None, :, None, None]


def _initialize(model: MiniGeminiForConditionalGeneration) -> None:
    """Convolutions and linear layers of the new parts by their fan-in; silent mining."""
    new = (*model.model.vision_tower_aux.modules(), *model.model.mining.modules())
    for module in new:
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.weight.normal_(0, module.weight[0].numel() ** -0.5)
            module.bias.zero_()
    model.model.mining.value[1].weight.zero_()


def starting_model(recipe: Recipe, seed: int) -> MiniGeminiForConditionalGeneration:
    """Grown from the recipe's base (`grow`), a miniature LLaVA that is shipped no more.

    Raises
    ------
    FileNotFoundError
        The base is not there; the message says where it is.
    """
    folder = DATA / recipe.base
    if not folder.exists():
        raise FileNotFoundError(
            f"{recipe.base}, which this one was grown from, is not shipped any more; bring it "
            f"back from the history: git checkout 7e10681 -- data/miniature/{recipe.base}"
        )
    return grow(load_miniature("mini-llava", folder)[0], seed)
