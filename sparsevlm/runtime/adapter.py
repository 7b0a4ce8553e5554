"""What pruning needs to know about an architecture, and where the adapter of each one is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Grid = tuple[int, ...]


class Adapter(ABC):
    """One architecture: where its visual tokens and its decoder are.

    Parameters
    ----------
    model
        A model of this architecture.
    visual_mask
        Where its visual tokens are, for a model that has no placeholder for them.

    Attributes
    ----------
    base
        The module that is called with ``input_ids``, the masks and the pixels.
    decoder
        The text model: ``layers``, ``rotary_emb``, ``config``.
    has_mrope
        Whether visual tokens have positions in time, height and width (M-RoPE).
    told
        Whether the visual tokens are where the user says, and not where a placeholder is.
    """

    base: Any
    decoder: Any
    has_mrope: ClassVar[bool] = False
    told: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None: ...

    def attach(self, hook: Callable) -> None:  # noqa: B027 - most architectures watch nothing
        """Watch what the adapter needs to see for as long as a session lasts.

        Parameters
        ----------
        hook
            ``hook(module.register_..._hook, function)`` registers a function, called with keyword
            arguments too, and removes it at the end.
        """

    @abstractmethod
    def visual_mask(self, arguments: dict) -> Tensor:
        """``[batch, tokens]`` bool, True at visual tokens, from the arguments of ``base``."""

    def grids(self, arguments: dict, counts: Sequence[int]) -> list[Grid | None]:
        """Shape of every row's visual tokens, (rows, columns) or (frames, rows, columns).

        Parameters
        ----------
        arguments
            Of ``base``.
        counts
            Visual tokens of every row; 0 for a row without an image.
        """
        return [None] * len(counts)

    def pixels(self, arguments: dict, visual: Tensor, row: int) -> Tensor | None:
        """What the vision tower gets for this row, ``None`` where there is nothing.

        Parameters
        ----------
        arguments, visual
            Of ``base``, and its `visual_mask`.
        row
            Number of the row.
        """
        pixels = arguments.get("pixel_values")
        if pixels is None or not visual[row].any():
            return None
        return pixels[int(visual[:row].any(dim=1).sum())]

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables ``[batch, tokens, head_dim]`` for one position per token, ``[batch,
        tokens]``: with M-RoPE the same in time, height and width, as text has it. On the device of
        ``hidden``, wherever the model makes them.
        """
        if self.has_mrope:
            positions = positions.expand(3, *positions.shape)
        cos, sin = self.decoder.rotary_emb(hidden, position_ids=positions)
        return cos.to(hidden.device), sin.to(hidden.device)


# Adapters by the name of the model's class, as "module:class" (loaded when first asked for) or as
# the class itself. Add an entry, and `prune` accepts your model.
ADAPTERS: dict[str, str | type[Adapter]] = {
    "LlavaForConditionalGeneration": "sparsevlm.models.llava:Llava",
    "LlamaForCausalLM": "sparsevlm.models.llava:LanguageModel",
    "VideoLlavaForConditionalGeneration": "sparsevlm.models.video_llava:VideoLlava",
    "Qwen2VLForConditionalGeneration": "sparsevlm.models.qwen_vl:QwenVL",
    "Qwen2_5_VLForConditionalGeneration": "sparsevlm.models.qwen_vl:QwenVL",
    "MiniGeminiForConditionalGeneration": "sparsevlm.models.mini_gemini.adapter:MiniGemini",
}


def find_adapter(model: nn.Module, visual_mask: Tensor | tuple[int, int] | None = None) -> Adapter:
    """Adapter of a model: the one for its class, or else for the nearest class it derives from.

    Raises
    ------
    TypeError
        If there is none.
    """
    for kind in type(model).__mro__:
        adapter = ADAPTERS.get(kind.__name__)
        if isinstance(adapter, str):
            module, _, name = adapter.partition(":")
            adapter = getattr(import_module(module), name)
        if adapter is not None:
            return adapter(model, visual_mask)
    raise TypeError(
        f"cannot prune a {type(model).__name__}; known: {', '.join(ADAPTERS)}. For another model "
        "write an Adapter and enter it in sparsevlm.runtime.adapter.ADAPTERS"
    )


def placeholders(
    arguments: dict, token_ids: Sequence[int], limits: Sequence[tuple[str, str]]
) -> Tensor:
    """Where the placeholders of images and videos stand, ``[batch, tokens]`` bool.

    Parameters
    ----------
    arguments
        Of ``base``.
    token_ids
        Placeholder ids.
    limits
        Pairs of the argument with one entry per image (or video) and the word for it.

    Raises
    ------
    ValueError
        Without ``input_ids``, for more images (or videos) than samples, and for a sample with
        placeholders of both kinds.
    """
    ids = arguments.get("input_ids")
    if ids is None:
        raise ValueError(
            "prune() finds the visual tokens by their placeholder, so it needs input_ids; "
            "inputs_embeds alone do not show them"
        )
    count = sum(len(arguments[key]) for key, _ in limits if arguments.get(key) is not None)
    if count > len(ids):
        words = " and ".join(f"{word}s" for _, word in limits)
        raise ValueError(
            f"{count} {words} for {len(ids)} samples: several {words} per sample are not "
            f"supported, give each {limits[0][1]} its own sample"
        )
    masks = torch.stack([ids == token_id for token_id in token_ids])
    if len(masks) > 1 and (both := masks.any(dim=2).all(dim=0)).any():
        raise ValueError(
            f"sample {int(both.nonzero()[0])} has an image and a video; several per sample are "
            "not supported, give each its own sample"
        )
    return masks.any(dim=0)
