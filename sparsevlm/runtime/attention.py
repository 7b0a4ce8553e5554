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
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from transformers import AttentionInterface

from sparsevlm.core.interface import phase
from sparsevlm.core.scoring import pick
from sparsevlm.runtime.hooks import ORIGINAL, Hook, watched_config

PREFIX = "sparsevlm_"
ROWS_AT_A_TIME = 256  # so that no full attention map is ever held


def attention_rows(
    query: Float[Tensor, "*batch heads num_queries head_dim"],
    key: Float[Tensor, "*batch key_heads tokens head_dim"],
    rows: Int[Tensor, "*rows num_rows"],
    columns: slice,
    scaling: float,
    mask: Shaped[Tensor, "*masks num_rows tokens"] | None = None,
) -> Float[Tensor, "*batch heads num_rows num_columns"]:
    """Causal softmax attention of a few query rows, at a block of columns.

    Parameters
    ----------
    query
        Queries after RoPE, ``[*batch, heads, num_queries, head_dim]``: of all tokens or of the
        last ones.
    key
        Keys of all tokens, ``[*batch, key_heads, tokens, head_dim]``; ``heads`` is a multiple of
        ``key_heads``.
    rows
        Which of the queries, int64: ``[num_rows]``, or ``[*batch, num_rows]`` for other ones in
        every sample.
    columns
        Key tokens to return. The softmax runs over all tokens that a row may see.
    scaling
        Factor of the dot products, usually ``head_dim ** -0.5``.
    mask
        What the model's own attention was given for these rows, ``[num_rows, tokens]`` or
        ``[*batch, num_rows, tokens]``, bool (True: may be seen) or additive. ``None``: plain
        causal.

    Returns
    -------
    Tensor
        ``[*batch, heads, num_rows, columns]`` float32.
    """
    heads, num_queries, head_dim = query.shape[-3:]
    key_heads, tokens = key.shape[-3:-1]
    # By token first, as a model lays them out: along another axis index_select copies all of them.
    chosen = pick(query.transpose(-3, -2), rows, dim=-3).transpose(-3, -2)
    if mask is None:
        mask = causal_bias(rows, num_queries, tokens, query.dtype)
    elif mask.dtype == torch.bool:
        mask = _bias(~mask, query.dtype)
    mask = mask.to(query.dtype)
    if heads > key_heads:
        chosen = chosen.reshape(*query.shape[:-3], key_heads, -1, head_dim)
        mask = torch.cat([mask] * (heads // key_heads), dim=-2)
    if mask.ndim > 2:
        mask = mask.unsqueeze(-3).expand(*chosen.shape[:-1], tokens).flatten(0, -3)
    # Scaled and masked by the product itself: two passes less over the largest tensor here.
    logits = torch.baddbmm(
        mask, chosen.flatten(0, -3), key.flatten(0, -3).transpose(1, 2), alpha=scaling
    )
    logits = logits.view(*query.shape[:-2], -1, tokens)
    return logits.softmax(dim=-1, dtype=torch.float32)[..., columns]


def causal_bias(
    rows: Int[Tensor, "*rows num_rows"], num_queries: int, tokens: int, dtype: torch.dtype
) -> Float[Tensor, "*rows num_rows tokens"]:
    """The additive mask of some of the last ``num_queries`` of ``tokens`` tokens: -inf for later.

    Parameters
    ----------
    rows
        Which of the queries, ``[*rows, num_rows]``.
    num_queries, tokens, dtype
        See `attention_rows`.
    """
    places = torch.arange(num_queries - tokens, num_queries, device=rows.device)
    return _bias(places > rows[..., None], dtype)


def _bias(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    zeros = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return zeros.masked_fill_(hidden, -torch.inf)


def mean_attention(
    query: Float[Tensor, "*batch heads tokens head_dim"],
    key: Float[Tensor, "*batch key_heads tokens head_dim"],
    columns: slice,
    scaling: float,
    mask: Shaped[Tensor, "*masks tokens tokens"] | None = None,
) -> Float[Tensor, "*batch num_columns"]:
    """Attention that a block of columns gets from all tokens, mean over heads and query rows.

    What "all tokens rate" means in the ablation of the paper's Figure 5; no release has it.

    Parameters
    ----------
    query, key, columns, scaling
        See `attention_rows`.
    mask
        What the model's own attention was given, ``[tokens, tokens]`` or ``[*batch, tokens,
        tokens]``; ``None``: plain causal.

    Returns
    -------
    Tensor
        ``[*batch, num_columns]`` float32.
    """
    heads, tokens = query.shape[-3:-1]
    places = torch.arange(tokens, device=key.device)
    total = query.new_zeros(*query.shape[:-3], columns.stop - columns.start, dtype=torch.float32)
    for rows in places.split(ROWS_AT_A_TIME):
        seen = places <= rows[:, None] if mask is None else pick(mask, rows)
        total += attention_rows(query, key, rows, columns, scaling, seen).sum(dim=(-3, -2))
    return total / (heads * tokens)


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
            ``[batch, raters]``. Negative ones are before it, see ``whole``.
        cache
            Of this sample and prefill. Keeps the mask of the raters, of which a later stage needs
            the end.
        whole
            Tokens of the prompt, where those before the block may rate too: they see the whole
            prompt.
        """
        if whole is not None:
            return self._rows_of_all(sample, start, columns, raters, whole)
        query, key = self.query[sample, :, start + columns.stop :], self.key[sample, :, start:]
        mask = self._mask(sample, start)
        if mask is None:
            mask = _causal(raters, query.shape[-2], key, cache)
        else:
            mask = pick(mask[..., columns.stop :, :], raters)
        return attention_rows(query, key, raters, columns, self.scaling, mask)

    def _rows_of_all(
        self, sample: int | slice, start: int, columns: slice, raters: Tensor, prompt: int
    ) -> Tensor:
        query, key = self.query[sample, :, start:], self.key[sample, :, start:]
        early, raters = raters < 0, raters + columns.stop
        mask = self._mask(sample, start)
        if mask is None:
            mask = causal_bias(raters, query.shape[-2], key.shape[-2], key.dtype)
        else:
            mask = pick(mask, raters)
        seen = torch.arange(key.shape[-2], device=key.device) < prompt
        if mask.dtype != torch.bool:
            seen = mask.new_zeros(seen.shape).masked_fill(~seen, -torch.inf)
        mask = torch.where(early[..., None], seen, mask)
        return attention_rows(query, key, raters, columns, self.scaling, mask)

    def mean(self, sample: int | slice, start: int, columns: slice, tokens: int) -> Tensor:
        """What ``columns`` get from the first ``tokens`` of a row: `mean_attention`.

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
