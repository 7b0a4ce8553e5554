"""Access to the queries and keys of a decoder layer, without a full attention map.

The attention of a layer that is scored runs through a function registered with transformers. It
passes on queries and keys after RoPE (and after query and key norms), then calls the model's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from sparsevlm.core.interface import phase
from sparsevlm.core.scoring import attention_rows, causal_bias, mean_attention, pick
from sparsevlm.runtime.hooks import ORIGINAL, Hook, watched_config

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

    def to(self, device: torch.device) -> QueriesKeys:
        """The same on a device; itself where it is there already."""
        if self.query.device == device:
            return self
        mask = None if self.mask is None else self.mask.to(device)
        return QueriesKeys(self.query.to(device), self.key.to(device), self.scaling, mask)

    def rows(
        self,
        sample: int | slice,
        start: int,
        columns: slice,
        raters: Tensor,
        cache: dict,
        whole: int | None = None,
    ) -> Tensor:
        """Attention ``[*batch, heads, raters, columns]`` of some of the tokens behind ``columns``.

        Parameters
        ----------
        sample
            Number of the row, or a slice of some.
        start
            Where its tokens begin.
        columns
            A block of its tokens, counted from ``start``.
        raters
            Tokens behind the block, counted from its end: ``[raters]``, of some rows also
            ``[batch, raters]``.
        cache
            Of this sample and prefill. Keeps the mask of the raters, of which a later stage needs
            the end.
        whole
            Tokens of the prompt, where those before the block may rate too: they come first in
            the count, and see the whole prompt.
        """
        if whole is not None:
            return self._rows_of_all(sample, start, columns, raters, whole)
        query, key = self.query[sample, :, start + columns.stop :], self.key[sample, :, start:]
        mask = self._mask(sample, start)
        if mask is None:
            mask = _causal(raters, query.shape[-2], key, cache)
        else:
            mask = _picked(mask[..., columns.stop :, :], raters)
        return attention_rows(query, key, raters, columns, self.scaling, mask)

    def _rows_of_all(
        self, sample: int | slice, start: int, columns: slice, raters: Tensor, prompt: int
    ) -> Tensor:
        query, key = self.query[sample, :, start:], self.key[sample, :, start:]
        early = raters < columns.start
        raters = raters + (columns.stop - columns.start) * ~early
        mask = self._mask(sample, start)
        if mask is None:
            mask = causal_bias(raters, query.shape[-2], key.shape[-2], key.dtype)
        else:
            mask = _picked(mask, raters)
        seen = torch.arange(key.shape[-2], device=key.device) < prompt
        if mask.dtype != torch.bool:
            seen = mask.new_zeros(seen.shape).masked_fill(~seen, -torch.inf)
        mask = torch.where(early[..., None], seen, mask)
        return attention_rows(query, key, raters, columns, self.scaling, mask)

    def mean(self, sample: int | slice, start: int, columns: slice, tokens: int) -> Tensor:
        """What ``columns`` get from the first ``tokens`` of a row: `scoring.mean_attention`.

        Parameters
        ----------
        sample, start, columns
            See `rows`.
        tokens
            Those of the prompt: a call without a cache carries the answer so far behind them.
        """
        ours, mask = slice(start, start + tokens), self._mask(sample, start)
        return mean_attention(
            self.query[sample, :, ours],
            self.key[sample, :, ours],
            columns,
            self.scaling,
            None if mask is None else mask[..., :tokens, :tokens],
        )

    def _mask(self, sample: int | slice, start: int) -> Tensor | None:
        if self.mask is None:
            return None
        return self.mask[sample if len(self.mask) > 1 else 0, 0, start:, start:]


def _picked(mask: Tensor, rows: Tensor) -> Tensor:
    """Rows ``[*batch, rows]`` of a mask, where they are other ones in every sample or the same."""
    return mask.index_select(mask.ndim - 2, rows) if rows.ndim == 1 else pick(mask, rows)


def _causal(raters: Tensor, num_queries: int, key: Tensor, cache: dict) -> Tensor:
    known, mask = cache.get("causal", (None, None))
    if known is not raters:
        mask = causal_bias(raters, num_queries, key.shape[-2], key.dtype)
        cache["causal"] = raters, mask
    return mask[..., mask.shape[-1] - key.shape[-2] :]


def _base_function(module: nn.Module, name: str) -> Callable:
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return AttentionInterface().get_interface(name, own)


def _reporting(base: str) -> Callable:
    def forward(module, query, key, value, attention_mask, scaling=None, **kwargs):
        _report(module, query, key, attention_mask, scaling)
        watched = module.config
        # Some kernels read their own name from the config: show them the real one.
        module.config = watched.sparsevlm_original
        try:
            function = _base_function(module, base)
            return function(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        finally:
            module.config = watched

    return forward


@phase("hooks")
def _report(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None
) -> None:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    whole = mask is not None and mask.ndim == 4
    module.config.sparsevlm_sink(QueriesKeys(query, key, scale, mask if whole else None))


def watch_attention(attention: Any, sink: Hook) -> None:
    """Send queries and keys of every forward of ``attention`` to ``sink``; `hooks.clean` undoes it.

    The module gets a config of its own meanwhile, and then has the very object it had before.
    """
    known = getattr(attention.config, "sparsevlm_sink", None)
    if known is not None and known.session is sink.session:
        return
    original = getattr(attention.config, ORIGINAL, attention.config)
    base = original._attn_implementation
    AttentionInterface.register(PREFIX + base, _reporting(base))
    attention.config = watched_config(original, PREFIX + base, sink)


@torch.no_grad()
def project(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> QueriesKeys:
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
    return QueriesKeys(query, key, attention.scaling)
