"""What pruning needs to know about an architecture, and where the adapter of each one is."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

Grid = tuple[int, ...]


class Picture(NamedTuple):
    """An image, or a video, of a prompt.

    Attributes
    ----------
    tokens, grid
        Its visual tokens; their shape, (rows, columns) or (frames, rows, columns), where known.
    word, number
        ``"image"`` or ``"video"``; which of those that the tower saw, ``None`` where not known.
    """

    tokens: int
    grid: Grid | None = None
    word: str = "image"
    number: int | None = None


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
    tower_lack
        What the model has in place of a CLIP vision tower; empty where `tower` works.
    told
        Whether the visual tokens are where the user says, and not where a placeholder is.
    asked
        Shapes by name of the tensors given to the `generate` now running, which hands on others.
    """

    base: Any
    decoder: Any
    has_mrope: ClassVar[bool] = False
    tower_lack: str = "no vision tower that prune() can look into"
    told: ClassVar[bool] = False
    asked: dict[str, torch.Size] = {}  # noqa: RUF012 - replaced, never changed

    @abstractmethod
    def __init__(self, model: Any, visual_mask: Tensor | tuple[int, int] | None = None) -> None: ...

    def attach(self, hook: Callable) -> None:  # noqa: B027 - most architectures watch nothing
        """Watch what the adapter needs to see for as long as a session lasts.

        Parameters
        ----------
        hook
            ``hook(module.register_..._hook, function)``, with keyword arguments, undone at the end.
        """

    def attach_tower(self, hook: Callable) -> None:  # noqa: B027 - see `tower_lack`
        """Watch what `tower` needs, for a method that asks for it; after `attach`, and as it."""

    def tower(self, arguments: dict, picture: Picture) -> Any:
        """What the vision tower made of one of `pictures`: `sparsevlm.models.tower.TowerView`."""
        raise ValueError(f"this {type(self).__name__} has {self.tower_lack}")

    def views(self, arguments: dict, picture: Picture) -> tuple[Tensor, list[Grid]]:
        """Of which view each token of a picture is (0: the whole), and the grid of every view."""
        raise ValueError(
            f"a budget per tile is for pictures in tiles, and {type(self).__name__} sees a picture "
            'as one; use budget="shared", or a LLaVA-NeXT'
        )

    @abstractmethod
    def visual_mask(self, arguments: dict) -> Tensor:
        """``[batch, tokens]`` bool, True at visual tokens, from the arguments of ``base``."""

    @abstractmethod
    def pictures(self, arguments: dict, runs: Sequence[Sequence[int]]) -> list[list[Picture]]:
        """Images and videos of every row, in order: together they have its visual tokens.

        Parameters
        ----------
        arguments
            Of ``base``.
        runs
            Lengths of the runs of adjacent visual tokens of every row; none in a row of text.
        """

    def pixels(self, arguments: dict, picture: Picture) -> Tensor | None:
        """What the vision tower got for one of `pictures`, ``None`` where that is not known."""
        return None

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables ``[batch, tokens, head_dim]`` of positions ``[batch, tokens]``: with M-RoPE
        the same in time, height and width, as text has it. On the device of ``hidden``.
        """
        if self.has_mrope:
            positions = positions.expand(3, *positions.shape)
        cos, sin = self.decoder.rotary_emb(hidden, position_ids=positions)
        return cos.to(hidden.device), sin.to(hidden.device)


# Adapters by the name of the model's class, as "module:class" (loaded when first asked for) or as
# the class itself. Add an entry, and `prune` accepts your model.
ADAPTERS: dict[str, str | type[Adapter]] = {
    "LlavaForConditionalGeneration": "sparsevlm.models.llava:Llava",
    "LlavaNextForConditionalGeneration": "sparsevlm.models.llava_next:LlavaNext",
    "LlavaOnevisionForConditionalGeneration": "sparsevlm.models.llava_onevision:LlavaOnevision",
    "LlamaForCausalLM": "sparsevlm.models.llava:LanguageModel",
    "VideoLlavaForConditionalGeneration": "sparsevlm.models.video_llava:VideoLlava",
    "Qwen2VLForConditionalGeneration": "sparsevlm.models.qwen_vl:QwenVL",
    "Qwen2_5_VLForConditionalGeneration": "sparsevlm.models.qwen_vl:QwenVL",
    "MiniGeminiForConditionalGeneration": "sparsevlm.models.mini_gemini.adapter:MiniGemini",
}


# What `prune` can do with a decoder, by the name of its class. With every one here it drops tokens
# and looks at the attention of the layer just run; "next": it makes queries and keys of the layer
# to come as Llama does; "gravity": every layer rotates whole heads, half by half, as SparseVLM+'s
# correction takes it. tests/test_decoders.py compares each with eager attention: add yours there.
DECODERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("LlamaModel", "MistralModel", "MixtralModel", "Qwen2Model", "Qwen2MoeModel",
         "Qwen2VLTextModel", "Qwen2_5_VLTextModel", "Qwen3Model", "Qwen3MoeModel", "GemmaModel",
         "GraniteModel", "GraniteMoeModel", "PhimoeModel", "Starcoder2Model", "SeedOssModel",
         "HeliumModel", "Ernie4_5Model", "ArceeModel", "BitNetModel"),
        frozenset(("next", "gravity")),
    ),
    **dict.fromkeys(
        ("CohereModel", "GlmModel", "Glm4Model", "NemotronModel"), frozenset(("next",))
    ),
    **dict.fromkeys(
        ("Phi3Model", "OlmoModel", "Olmo2Model", "OlmoeModel", "HunYuanDenseV1Model"),
        frozenset(("gravity",)),
    ),
    **dict.fromkeys(("PhiModel", "StableLmModel", "SmolLM3Model"), frozenset()),
}  # fmt: skip

COMPILED = "a compiled graph does not run the hooks of prune()"
# Wrappers whose calls run something else than the modules they hold, or run it elsewhere.
OPAQUE = {
    "OptimizedModule": f"{COMPILED}; pass model._orig_mod and call that",
    "ScriptModule": "a TorchScript graph runs no hooks; pass the model that it was made from",
    "FullyShardedDataParallel": "it keeps weights in pieces between calls; load the model whole",
    "DataParallel": "it runs copies of the model on several devices at once; pass model.module and "
    "call that, with one process per device",
}


def find_adapter(model: nn.Module, visual_mask: Tensor | tuple[int, int] | None = None) -> Adapter:
    """Adapter of a model: the one for its class, or else for the nearest class it derives from.

    Parameters
    ----------
    model
        The model, or a wrapper that `unwrap` can look into.
    visual_mask
        See `prune`.

    Raises
    ------
    TypeError
        If there is none, or its decoder is not one of `DECODERS`.
    """
    found = _entry(model := unwrap(model), ADAPTERS)
    if found is None:
        raise TypeError(
            f"cannot prune a {type(model).__name__}; known: {', '.join(ADAPTERS)}."
            f"{_inside(model)} For another model write an Adapter and enter it in "
            "sparsevlm.runtime.adapter.ADAPTERS"
        )
    adapter = (resolve_name(found) if isinstance(found, str) else found)(model, visual_mask)
    for part in adapter.base.children():
        _refuse_opaque(part)
    if _entry(adapter.decoder, DECODERS) is None:
        raise TypeError(
            f"cannot prune a {type(model).__name__} around a {type(adapter.decoder).__name__}: how "
            f"this decoder attends is not known here. Known: {', '.join(DECODERS)}; for another "
            "one see sparsevlm.runtime.adapter.DECODERS"
        )
    for part in (part for layer in adapter.decoder.layers for part in (layer, layer.self_attn)):
        _refuse_opaque(part)
    return adapter


def abilities(decoder: nn.Module) -> frozenset[str]:
    """What `prune` can do with a decoder of `DECODERS`."""
    return _entry(decoder, DECODERS)


@torch.no_grad()
def project(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, float]:
    """Queries and keys that a decoder layer is about to compute from ``hidden``.

    Parameters
    ----------
    layer
        Decoder layer of the Llama kind (`input_layernorm`, `self_attn.q_proj`, `k_proj`).
    hidden
        Its input, ``[batch, tokens, hidden]``.
    cos, sin
        Its rotary tables, ``[batch, tokens, head_dim]``.

    Returns
    -------
    query, key, scaling
        ``[batch, heads, tokens, head_dim]``, ``[batch, key_heads, ...]``, and the factor of their
        products.
    """
    attention = layer.self_attn
    weight = layer.input_layernorm.weight
    # Without numbers it is kept elsewhere, and accelerate brings it where it is needed.
    normed = layer.input_layernorm(hidden if weight.is_meta else hidden.to(weight.device))
    shape = (*hidden.shape[:-1], -1, attention.head_dim)
    query, key = attention.q_proj(normed).view(shape), attention.k_proj(normed).view(shape)
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    cos, sin = cos.to(query.device), sin.to(query.device)
    query, key = rotate(query.transpose(1, 2), key.transpose(1, 2), cos, sin)
    return query, key, attention.scaling


def unwrap(model: Any) -> Any:
    """The model inside wrappers whose calls run the model itself.

    That are PEFT's, DistributedDataParallel, DataParallel on one device, and others that hold it as
    their ``module``.

    Parameters
    ----------
    model
        Any model; one without a wrapper is returned as it is.

    Raises
    ------
    TypeError
        For a wrapper whose calls would not be pruned, and a compiled model.
    """
    while True:
        _refuse_opaque(model)
        if _entry(model, ADAPTERS) is not None:
            return model
        if callable(getattr(model, "get_base_model", None)):
            inner = model.get_base_model()
        elif hasattr(model, "peft_config"):  # PEFT's inner wrapper, such as LoraModel
            inner = model.model
        else:
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module) or inner is model:
            return model
        model = inner


def _entry(model: Any, table: dict) -> Any:
    names = (kind.__name__ for kind in type(model).__mro__)
    return next((table[name] for name in names if name in table), None)


def _refuse_opaque(model: Any) -> None:
    """Refuse wrappers of `OPAQUE`, and what `model.compile()` and a compiled `forward` leave."""
    name, reason, own = type(model).__name__, _entry(model, OPAQUE), getattr(model, "__dict__", {})
    if name == "DataParallel" and len(model.device_ids) < 2:
        reason = None
    if reason is None and own.get("_compiled_call_impl") is not None:
        reason = f"{COMPILED}; undo compile() by setting its _compiled_call_impl to None"
    elif reason is None and hasattr(own.get("forward"), "_torchdynamo_orig_callable"):
        reason = f"{COMPILED}; delete its attribute forward, which is compiled"
    if reason is not None:
        raise TypeError(f"cannot prune a {name}: {reason}")


def _inside(model: Any) -> str:
    """Where a model that is known lies in one that is not."""
    own = getattr(model, "__dict__", {})
    parts = model.named_modules() if isinstance(model, nn.Module) else own.items()
    for name, part in parts:
        if part is not model and _entry(part, ADAPTERS) is not None:
            return f" It holds a {type(part).__name__}: pass its .{name} and call that."
    return ""
