"""What `prune` refuses: methods that do not fit a model, and caches of a fixed length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sparsevlm.core.interface import Pruner
from sparsevlm.runtime.adapter import Adapter, abilities
from sparsevlm.runtime.hooks import ORIGINAL
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.trace import positions_of

PIXELS = ("pixel_values", "pixel_values_images", "pixel_values_videos")
# Most text tokens that the templates of the supported models put after an image without question.
WORDS_OF_A_TEMPLATE = 8


def check_pruner(pruner: Pruner, layers: Sequence[int], adapter: Adapter, model: str) -> None:
    """Check that a method fits a model.

    Parameters
    ----------
    pruner
        The method.
    layers
        Layers of the model that it prunes after.
    adapter
        Of the model.
    model
        Name of the model's class.

    Raises
    ------
    ValueError
        For stages outside the model or before the attention that decides, for a model whose
        layers see a window only, and for attention that cannot be computed as the decoder does, or
        as a vision tower without a CLS token does not.
    """
    num_layers = len(adapter.decoder.layers)
    named = {stage.layer for stage in getattr(pruner, "stages", ())}
    named |= {num_layers - 1} if pruner.prunes_after(num_layers - 1) else set()
    outside = sorted(named - set(layers))
    if outside:
        raise ValueError(
            f"stages after layers {outside} lie outside this model: with {num_layers} layers "
            f"they may come after layers -1 to {num_layers - 2}"
        )
    if -1 in layers and pruner.needs_attention and pruner.scored_layer == "this":
        raise ValueError(
            "a stage before layer 0 (layer=-1) has no attention of this layer to look at; "
            'use scored_layer="next" or a later stage'
        )
    if layers:
        _check_windows(adapter, model)
        _check_attention(pruner, adapter.decoder)
    if layers and getattr(pruner, "needs_tower", False) and adapter.tower_lack:
        raise ValueError(
            f"{type(pruner).__name__} looks into a CLIP vision tower with a CLS token, and this "
            f"{model} has {adapter.tower_lack}; use a method that looks at the visual tokens or "
            "the decoder (divprune, dart, cdpruner-words, sparsevlm), or a LLaVA, Mini-Gemini or "
            "Video-LLaVA with a CLIP tower"
        )
    if layers and adapter.has_mrope and pruner.positions == "renumbered":
        warnings.warn(
            f'positions="renumbered" gives the visual tokens of a {model} '
            "the positions of plain text: rows and columns are lost. No release of SparseVLM "
            'says what to do with M-RoPE; positions="original" keeps them',
            stacklevel=6,  # the with statement
        )


def _check_windows(adapter: Adapter, model: str) -> None:
    for window in _windows(adapter):
        raise ValueError(
            f"this {model} has {window}; prune() knows full attention only, since dropping tokens "
            "would move the window: switch the sliding window off in the config before loading "
            "(config.get_text_config().sliding_window = None, and any layer_types full_attention). "
            "It changes nothing while prompt and answer are shorter than the window"
        )


def _windows(adapter: Adapter) -> Iterator[str]:
    """Every way in which configs and layers tell of anything but full attention."""
    decoder, whole = adapter.decoder, adapter.base.config
    for config in (decoder.config, whole.get_text_config(), whole):
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            yield f"layers of kind {', '.join(sorted(kinds))}"
        # A config that knows layer_types says there which layers its window is for.
        above = config is whole is not whole.get_text_config()
        off = above and getattr(config, "use_sliding_window", None) is False
        if not hasattr(type(config), "layer_types") and not off:
            yield from _told(config, "its config")
    for index, layer in enumerate(decoder.layers):
        yield from _told(layer.self_attn, f"the attention of layer {index}")


def _told(told: object, where: str) -> Iterator[str]:
    for name in ("sliding_window", "attention_chunk_size", "window_size"):
        if (window := getattr(told, name, None)) is not None:
            yield f"{name}={window} in {where}"


def _check_attention(pruner: Pruner, decoder: Any) -> None:
    name, can = type(decoder).__name__, abilities(decoder)
    told = (decoder.config, *(layer.self_attn for layer in decoder.layers))
    if not all(getattr(part, "is_causal", True) for part in told):
        raise ValueError(
            f"this {name} attends in both directions; prune() knows causal attention only"
        )
    if pruner.needs_attention and pruner.scored_layer == "next" and "next" not in can:
        raise ValueError(
            f"{type(pruner).__name__} looks at the attention of the layer to come, and prune() "
            f"does not know how a {name} makes its queries and keys; use a method that looks at "
            "the layer just run (sparsevlm, fastv) or at none (random, uniform, tome)"
        )
    rope = getattr(decoder.config, "rope_parameters", None) or {}
    whole = "gravity" in can and rope.get("partial_rotary_factor") in (None, 1)
    if getattr(pruner, "gravity", False) and not whole:
        raise ValueError(
            "SparseVLM+ corrects attention for what RoPE gives to a distance where every layer "
            f"rotates whole heads, half by half, which this {name} does not; use gravity=False, "
            "or another method"
        )


def check_static(pruner: Pruner) -> None:
    """Check that a method knows its counts beforehand.

    Raises
    ------
    ValueError
        If it decides at run time how many tokens stay.
    """
    undecided = [stage for stage in getattr(pruner, "stages", ()) if stage.keep is None]
    if undecided:
        raise ValueError(
            f"static=True needs a method whose counts are fixed; this {type(pruner).__name__} "
            f"decides at run time how many tokens the stage after layer {undecided[0].layer} "
            "keeps"
        )


def check_cache(cache: object) -> None:
    """Check that a cache, if there is one, may hold another number of tokens in every layer.

    Raises
    ------
    ValueError
        If it may not.
    """
    if cache is None:
        return
    plain = isinstance(cache, DynamicCache) and {DynamicLayer}.issuperset(
        getattr(type(layer), ORIGINAL, type(layer)) for layer in cache.layers
    )
    if not plain:
        raise ValueError(
            f"prune() works with a DynamicCache, whose layers may differ in length; got "
            f"{type(cache).__name__}. Leave cache_implementation unset"
        )


def check_no_image(adapter: Adapter, arguments: dict) -> None:
    """Check that a call on a filled cache brings no image.

    Raises
    ------
    ValueError
        If it does.
    """
    encoded, ids = (arguments.get("mm_encoder_outputs") or {}).values(), arguments.get("input_ids")
    brings = any(one is not None for one in (*map(arguments.get, PIXELS), *encoded))
    if not brings and not adapter.told and ids is not None and ids.shape[1] > 1:
        brings = bool(adapter.visual_mask({"input_ids": ids}).any())
    if brings:
        raise ValueError(
            "the call brings an image into a cache that holds the beginning of its prompt; "
            "prune() needs the image and the question in one call: give the whole prompt at "
            "once, without a cache that holds a part of it"
        )


def check_continued(
    prefill: Prefill, cache: Any, ids: Tensor | None, known: Tensor | None
) -> Tensor | None:
    """Check that a call goes on where the cache ends; returns all ids that it then stands for.

    Parameters
    ----------
    prefill
        Of the prompt that the cache holds.
    cache
        Filled by the prefill, or a copy.
    ids
        ``[batch, tokens]`` of the call.
    known
        ``[batch, tokens]`` that the cache stands for.

    Raises
    ------
    ValueError
        If the prefill did not come to its end, if the cache lost a part of its prompt or has
        other rows, and if the call repeats tokens that the cache stands for.
    """
    lengths = [prefill.segments[number].length for number in prefill.segment_of.values()]
    added = {
        cache.get_seq_length(layer) - length
        for layer, length in zip(prefill.segment_of, lengths, strict=True)
    }
    if not prefill.complete or len(added) > 1:
        raise ValueError(
            "this cache is incomplete: a call that filled it was interrupted. Run the prompt "
            "again with a new cache"
        )
    rows, expected = cache.layers[0].keys.shape[0], len(prefill.first)
    if rows != expected:
        raise ValueError(
            f"this cache was filled with {expected} rows and has {rows} now; give prune() the "
            "batch as it is to be continued (generate() repeats rows itself)"
        )
    missing = prefill.segments[0].length - lengths[0]
    beyond = prefill.first[0].text - prefill.first[0].prompt_text
    cut, end = -(added.pop() + beyond), prefill.segments[0].length - beyond
    if cut > 0 and (
        ids is None or known is None or not torch.equal(ids[:, :cut], known[:, end - cut : end])
    ):
        raise ValueError(
            f"this cache was cut {cut} tokens into its prompt, by which it was pruned; run "
            "the other prompt with a new cache"
        )
    # `generate` takes the length of layer 0 for the number of tokens that the cache stands
    # for, and sends the tokens after that again. After a stage before layer 0 that is early.
    if not missing or ids is None or known is None:
        return known
    known = known[:, : cache.get_seq_length() + missing]
    if ids.shape[1] > missing and torch.equal(ids[:, :missing], known[:, -missing:]):
        raise ValueError(
            f"the call repeats {missing} tokens that the cache already stands for: generate() "
            "cannot continue a cache after a stage before layer 0. Call the model itself with "
            "the new tokens only, or give generate() the whole conversation without a cache"
        )
    return torch.cat([known, ids], dim=1)


def warn_of_few_words(prefill: Prefill, ids: Tensor | None) -> None:
    """Warn where the words that rated look like those of a template: the question may be before
    the image.

    Parameters
    ----------
    prefill
        Just run.
    ids
        ``[batch, tokens]`` of it, where there are any.
    """
    for sample, images in zip(prefill.groups, prefill.decisions, strict=True):
        before, decisions = sum(one.before for one in sample.images), images[-1] if images else []
        few = sample.prompt_text <= WORDS_OF_A_TEMPLATE and before > sample.prompt_text
        # Methods without this choice, such as FastV, rate by the last token of any prompt.
        chosen = few and prefill.pruner.to_json().get("text") == "after_image"
        if not chosen or not decisions or decisions[0].selection.raters is None:
            continue
        first = sample.start + sample.words(len(images) - 1)[0].start
        image = "image" if len(images) == 1 else "last image"
        kind = "positions" if ids is None else "token ids"
        for index, row in enumerate(sample.numbers):
            rated = positions_of(decisions[0].selection.raters, index)
            named = rated if ids is None else ids[row, [first + place for place in rated]].tolist()
            warnings.warn(
                f"only {sample.prompt_text} text tokens follow the {image} of sample {row}, and "
                f"its visual tokens were rated by the {kind} {named} alone: the words of a chat "
                f"template? The {before} text tokens before it do not rate it (nor do they in the "
                "official code). Write the question "
                'after the image, or let all words rate: make_pruner(..., text="whole_prompt")',
                stacklevel=2,
            )


def warn_of_small_pictures(prefill: Prefill) -> None:
    """Warn where every stage keeps more tokens than a picture has."""
    keeps = [stage.keep for stage in getattr(prefill.pruner, "stages", ())]
    fewest = 0 if not keeps or None in keeps else min(keeps)
    for row, sample in enumerate(prefill.first):
        for number, image in enumerate(sample.images):
            if image.visual < fewest:
                warnings.warn(
                    f"the method is to keep {fewest} visual tokens, and image {number} of sample "
                    f"{row} has {image.visual}: it is hardly pruned, if at all. Give a smaller "
                    "budget, or a larger picture",
                    stacklevel=2,
                )
