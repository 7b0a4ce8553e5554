"""Mini-Gemini once more, plainly: loops and formulas over weights under their official names.

Written from the description of the official code, not from `sparsevlm.models.mini_gemini`.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import GemmaForCausalLM, LlamaForCausalLM

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
Weights = dict[str, Tensor]


def part(weights: Weights, prefix: str) -> Weights:
    """The weights under a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


# --- Pictures --------------------------------------------------------------------------------


def padded(picture: np.ndarray) -> np.ndarray:
    """``[height, width, 3]`` on a square of CLIP's mean colour."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [int(255 * mean) for mean in MEAN]
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square


def aux_image(square: np.ndarray, side: int) -> Tensor:
    """``[3, side, side]``, bicubic by Pillow, normalised."""
    image = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
    scaled = np.asarray(image, np.float64) / 255
    return torch.tensor((scaled - MEAN) / STD).permute(2, 0, 1).float()


def bilinear(features: Tensor, side: int) -> Tensor:
    """``[..., side, side]`` from the two nearest cells per axis; no antialiasing."""

    def axis(old: int) -> Tensor:
        table = torch.zeros(side, old)
        for new in range(side):
            place = max((new + 0.5) * old / side - 0.5, 0.0)
            low = int(place)
            table[new, low] += 1 - (place - low)
            table[new, min(low + 1, old - 1)] += place - low
        return table

    return axis(features.shape[-2]) @ features @ axis(features.shape[-1]).T


def low_images(aux: Tensor, side: int, grid: int) -> list[Tensor]:
    """``[3, side, side]`` for every view: the crops, then the whole; without a grid the whole."""
    whole = bilinear(aux, grid * side)
    if grid == 1:
        return [whole]
    stages = [slice(i * side, (i + 1) * side) for i in range(grid)]
    return [whole[:, rows, columns] for rows in stages for columns in stages] + [
        bilinear(whole, side)
    ]


# --- Towers ----------------------------------------------------------------------------------


def layer_norm(x: Tensor, weights: Weights, eps: float) -> Tensor:
    """Over the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).rsqrt()
    return centred * scale * weights["weight"] + weights["bias"]


def linear(x: Tensor, weights: Weights) -> Tensor:
    return x @ weights["weight"].T + weights["bias"]


def clip_tokens(weights: Weights, pixels: Tensor, heads: int, skipped: int = 1) -> Tensor:
    """``[tokens, hidden]`` of one image after all but the last ``skipped`` layers."""
    patch = weights["embeddings.patch_embedding.weight"]
    x = F.conv2d(pixels[None], patch, stride=patch.shape[-1])[0].flatten(1).T
    x = torch.cat([weights["embeddings.class_embedding"][None], x])
    x = x + weights["embeddings.position_embedding.weight"]
    x = layer_norm(x, part(weights, "pre_layrnorm."), 1e-5)
    count = len({k.split(".")[2] for k in weights if k.startswith("encoder.layers.")})
    for index in range(count - skipped):
        x = clip_layer(part(weights, f"encoder.layers.{index}."), x, heads)
    return x[1:]


def clip_layer(weights: Weights, x: Tensor, heads: int) -> Tensor:
    y = layer_norm(x, part(weights, "layer_norm1."), 1e-5)
    q, k, v = (linear(y, part(weights, f"self_attn.{n}_proj.")).chunk(heads, -1) for n in "qkv")
    seen = [
        (q[h] @ k[h].T / q[h].shape[-1] ** 0.5).softmax(-1) @ v[h] for h in range(heads)
    ]  # fmt: skip
    x = x + linear(torch.cat(seen, -1), part(weights, "self_attn.out_proj."))
    y = linear(layer_norm(x, part(weights, "layer_norm2."), 1e-5), part(weights, "mlp.fc1."))
    return x + linear(y * torch.sigmoid(1.702 * y), part(weights, "mlp.fc2."))


def channel_norm(x: Tensor, weights: Weights) -> Tensor:
    return layer_norm(x.permute(1, 2, 0), weights, 1e-6).permute(2, 0, 1)


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def convolved(x: Tensor, weights: Weights, **how: int) -> Tensor:
    return F.conv2d(x[None], weights["weight"], weights["bias"], **how)[0]


def convnext_stages(weights: Weights, pixels: Tensor) -> list[Tensor]:
    """``[channels, cells, cells]`` after every stage, for one image."""
    x = convolved(pixels, part(weights, "vision_stem.0."), stride=4)
    x = channel_norm(x, part(weights, "vision_stem.1."))
    stages = []
    for number in range(4):
        stage = part(weights, f"vision_stages.{number}.")
        if number:
            x = channel_norm(x, part(stage, "downsample.0."))
            x = convolved(x, part(stage, "downsample.1."), stride=2)
        for block in range(len({k.split(".")[1] for k in stage if k.startswith("blocks.")})):
            x = convnext_block(part(stage, f"blocks.{block}."), x)
        stages.append(x)
    return stages


def convnext_block(weights: Weights, x: Tensor) -> Tensor:
    y = convolved(x, part(weights, "conv_dw."), padding=3, groups=len(x))
    y = layer_norm(y.permute(1, 2, 0), part(weights, "norm."), 1e-6)
    y = linear(gelu(linear(y, part(weights, "mlp.fc1."))), part(weights, "mlp.fc2."))
    return x + (weights["gamma"] * y).permute(2, 0, 1)


def pyramid(stages: list[Tensor]) -> Tensor:
    return torch.cat([bilinear(stage, stages[0].shape[-1]) for stage in stages])


# --- Mining, order, language model -----------------------------------------------------------


def mined(weights: Weights, tokens: Tensor, aux: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens plus what each finds in its window, and the attention ``[tokens, cells]``."""

    def project(name: str, x: Tensor) -> Tensor:
        module = part(weights, f"vlm_uni_{name}_projector.")
        return linear(layer_norm(x, part(module, "0."), 1e-5), part(module, "1."))

    side = round(len(tokens) ** 0.5)
    window = aux.shape[-1] // side
    results, seen = [], []
    for number, token in enumerate(tokens):
        top, left = number // side * window, number % side * window
        cells = [
            aux[:, row, column]
            for row in range(top, top + window)
            for column in range(left, left + window)
        ]
        query = project("query", token)
        logits = [query @ (project("aux", cell) / len(query) ** 0.5) for cell in cells]
        attention = torch.stack(logits).softmax(0)
        values = torch.stack([project("val", cell) for cell in cells])
        results.append(token + attention @ values)
        seen.append(attention)
    return torch.stack(results), torch.stack(seen)


def visual_tokens(weights: Weights, config, low: list[Tensor], aux: Tensor) -> Tensor:
    """``[visual tokens, hidden]`` of one picture, as the language model gets them."""
    model = part(weights, "model.")
    clip = part(model, "vision_tower.vision_tower.vision_model.")
    whole = pyramid(convnext_stages(part(model, "vision_tower_aux."), aux))
    maps = [whole]
    if config.image_grid > 1:
        side = whole.shape[-1] // config.image_grid
        stages = [slice(i * side, (i + 1) * side) for i in range(config.image_grid)]
        maps = [whole[:, rows, columns] for rows in stages for columns in stages]
        maps.append(bilinear(whole, side))
    heads = config.vision_config.num_attention_heads
    views = [
        mined(model, clip_tokens(clip, image, heads), cells)[0]
        for image, cells in zip(low, maps, strict=True)
    ]
    if config.image_grid > 1:
        views = [views[-1], *views[:-1]]
    hidden = gelu(linear(torch.cat(views), part(model, "mm_projector.0.")))
    return linear(hidden, part(model, "mm_projector.2."))


def language_model(weights: Weights, text_config) -> LlamaForCausalLM | GemmaForCausalLM:
    """The official class is a language model with more parts; here without them."""
    kind = GemmaForCausalLM if text_config.model_type == "gemma" else LlamaForCausalLM
    model = kind(text_config).eval()
    wanted = model.state_dict().keys()
    model.load_state_dict({k: v for k, v in weights.items() if k in wanted}, strict=True)
    return model


def spliced(weights: Weights, text_config, ids: list[int], place: int, visual: Tensor) -> Tensor:
    """``[1, tokens, hidden]``: the words, ``visual`` instead of the id at ``place``."""
    table = weights["model.embed_tokens.weight"]
    words = [table[ids[:place]], visual, table[ids[place + 1 :]]]
    scale = text_config.hidden_size**0.5 if text_config.model_type == "gemma" else 1.0
    return torch.cat(words)[None] * scale


def greedy(model, embeddings: Tensor, count: int) -> list[int]:
    """Without a cache: everything once more for every token."""
    found = []
    scale = model.config.hidden_size**0.5 if model.config.model_type == "gemma" else 1.0
    for _ in range(count):
        found.append(int(model(inputs_embeds=embeddings).logits[0, -1].argmax()))
        word = model.get_input_embeddings().weight[found[-1]] * scale
        embeddings = torch.cat([embeddings, word[None, None]], dim=1)
    return found
