"""Access to the queries and keys of a decoder layer, without a full attention map.

A scored layer's attention runs through a registered function that notes queries and keys after
RoPE (and after query/key norms and head grouping) and then calls the model's own function.
"""

from __future__ import annotations

import copy
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from sparsevlm.rating import attention_rows, mean_attention
from sparsevlm.timing import stage

PREFIX = "sparsevlm_"


@dataclass(frozen=True)
class QueriesKeys:
    """Queries ``[batch, heads, tokens, head_dim]`` and keys (``key_heads``) of one layer.

    ``mask`` is what the layer's own attention was given (4-D), or ``None`` where it is plainly
    causal but for padding, which `rows` leaves out by its column offset.
    """

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None = None

    def rows(self, sample: int, start: int, rows: Tensor, columns: slice) -> Tensor:
        """Attention ``[heads, rows, columns]`` of one sample whose tokens begin at ``start``.

        ``rows`` and ``columns`` count from ``start``.
        """
        mask = self._mask(sample, start)
        return attention_rows(
            self.query[sample, :, start:], self.key[sample, :, start:], rows, columns,
            self.scaling, None if mask is None else mask[rows],
        )

    def mean(self, sample: int, start: int, columns: slice) -> Tensor:
        """What ``columns`` get from all tokens of one sample, see `rating.mean_attention`."""
        return mean_attention(
            self.query[sample, :, start:], self.key[sample, :, start:], columns, self.scaling,
            self._mask(sample, start),
        )

    def _mask(self, sample: int, start: int) -> Tensor | None:
        if self.mask is None:
            return None
        return self.mask[min(sample, self.mask.shape[0] - 1), 0, start:, start:]


_SINKS: weakref.WeakKeyDictionary[nn.Module, Callable[[QueriesKeys], None]] = (
    weakref.WeakKeyDictionary()
)


def _base_function(module: nn.Module, name: str) -> Callable:
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return AttentionInterface().get_interface(name, own)


def _noting(base: str) -> Callable:
    def forward(module, query, key, value, attention_mask, scaling=None, **kwargs):
        _note(module, query, key, attention_mask, scaling)
        noted = module.config
        # Some kernels read their own name from the config: show them the real one.
        module.config = noted.sparsevlm_original
        try:
            function = _base_function(module, base)
            return function(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        finally:
            module.config = noted

    return forward


@stage("hooks")
def _note(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None
) -> None:
    sink = _SINKS.get(module)
    if sink is None:
        return
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    whole = mask is not None and mask.ndim == 4
    sink(QueriesKeys(query, key, scale, mask if whole else None))


@cache
def _noted_class(kind: type) -> type:
    """A config class whose objects copy and pickle as the config that they stand for."""

    def reduce(self: object, protocol: int) -> tuple:
        return _same, (self.sparsevlm_original,)

    return type(kind.__name__, (kind,), {"__reduce_ex__": reduce})


def _noted_config(original: object, attention: str) -> object:
    """A copy of a config under another attention; a copy of the copy is the original again."""
    config = copy.copy(original)
    config.sparsevlm_original = original
    config._attn_implementation = attention
    config.__class__ = _noted_class(type(original))
    return config


def _same(config: object) -> object:
    return config


def note_attention(attention: nn.Module, sink: Callable[[QueriesKeys], None]) -> Callable[[], None]:
    """Send queries and keys of every forward of ``attention`` to ``sink``.

    Returns
    -------
    Callable
        Undoes it; the module then holds the very config object it held before.
    """
    original = attention.config
    base = original._attn_implementation
    AttentionInterface.register(PREFIX + base, _noting(base))
    attention.config = _noted_config(original, PREFIX + base)
    _SINKS[attention] = sink

    def undo() -> None:
        attention.config = original
        del _SINKS[attention]

    return undo


@torch.no_grad()
def project(layer: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor) -> QueriesKeys:
    """Queries and keys that a decoder layer is about to compute from ``hidden``.

    Parameters
    ----------
    layer
        Decoder layer of the Llama kind (`input_layernorm`, `self_attn.q_proj`, `k_proj`).
    hidden
        Its input, ``[batch, tokens, hidden]``.
    cos, sin
        Its rotary tables, ``[batch, tokens, head_dim]``.
    """
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    shape = (*hidden.shape[:-1], -1, attention.head_dim)
    query, key = attention.q_proj(normed).view(shape), attention.k_proj(normed).view(shape)
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    rotate = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    query, key = rotate(query.transpose(1, 2), key.transpose(1, 2), cos, sin)
    return QueriesKeys(query, key, attention.scaling)
