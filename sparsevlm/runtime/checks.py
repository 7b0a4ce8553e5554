"""What `prune` refuses: methods that do not fit a model, and caches of a fixed length."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from sparsevlm.core.interface import Pruner
from sparsevlm.runtime.adapter import Adapter
from sparsevlm.runtime.prefill import Prefill
from sparsevlm.runtime.trace import positions_of

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
        For stages outside the model or before the attention that decides, and for a model whose
        layers see a window only.
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
    kinds = set(getattr(adapter.decoder.config, "layer_types", None) or ["full_attention"])
    if layers and kinds != {"full_attention"}:
        raise ValueError(
            f"this model has layers of kind {', '.join(sorted(kinds))}; prune() knows full "
            "attention only: switch the sliding window off in the config"
        )
    if layers and adapter.has_mrope and pruner.positions == "renumbered":
        warnings.warn(
            f'positions="renumbered" gives the visual tokens of a {model} '
            "the positions of plain text: rows and columns are lost. No release of SparseVLM "
            'says what to do with M-RoPE; positions="original" keeps them',
            stacklevel=6,  # the with statement
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
    plain = isinstance(cache, DynamicCache) and all(type(x) is DynamicLayer for x in cache.layers)
    if not plain:
        raise ValueError(
            f"prune() works with a DynamicCache, whose layers may differ in length; got "
            f"{type(cache).__name__}. Leave cache_implementation unset"
        )


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
    for number, (sample, decisions) in enumerate(
        zip(prefill.first, prefill.decisions, strict=True)
    ):
        few = sample.prompt_text <= WORDS_OF_A_TEMPLATE and sample.before > sample.prompt_text
        if not few or not decisions or decisions[0].selection.raters is None:
            continue
        first = sample.start + sample.before + sample.visual
        rated = positions_of(decisions[0].selection.raters)
        named = rated if ids is None else ids[number, [first + place for place in rated]].tolist()
        warnings.warn(
            f"only {sample.prompt_text} text tokens follow the image of sample {number}, and the "
            f"visual tokens were rated by the {'positions' if ids is None else 'token ids'} "
            f"{named} alone: the words of a chat template? The {sample.before} tokens before the "
            "image rate nothing (nor do they in the official code). Write the question after the "
            'image, or let all words rate: make_pruner(..., text="whole_prompt")',
            stacklevel=2,
        )
