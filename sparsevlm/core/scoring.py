"""Rater rows of the attention -> one score per visual token.

Source
------
Paper, section 3.2 (P and its column mean); official `score.py`.

Difference
----------
Only the rows of the raters are computed, never the full attention map; the numbers are the same.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

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
    by_token = query.transpose(-3, -2)
    if rows.ndim == 1:
        chosen = by_token.index_select(by_token.ndim - 3, rows).transpose(-3, -2)
    else:
        chosen = pick(by_token, rows).transpose(-3, -2)
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


def pick(values: Shaped[Tensor, "..."], places: Int[Tensor, "*batch k"]) -> Shaped[Tensor, "..."]:
    """Of values ``[*batch, n, ...]`` those at ``[*batch, k]`` places, other ones in every sample.

    Values without the leading dimension of the places are those of every sample.
    """
    if places.ndim == 1:
        return values.index_select(0, places)
    if values.ndim == 2:
        return values[places]
    samples = torch.arange(len(places), device=places.device)
    return values[samples[:, None], places]


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
        seen = places <= rows[:, None] if mask is None else mask.index_select(mask.ndim - 2, rows)
        total += attention_rows(query, key, rows, columns, scaling, seen).sum(dim=(-3, -2))
    return total / (heads * tokens)


def mean_over_heads(
    rows: Float[Tensor, "*batch heads num_raters num_visual"],
) -> Float[Tensor, "*batch num_raters num_visual"]:
    """Mean over heads of the rater rows: the matrix P, ``[*batch, num_raters, num_visual]``."""
    return rows.mean(dim=-3)


def score(
    rated: Float[Tensor, "*batch num_raters num_visual"],
    chosen: Bool[Tensor, "*batch num_raters"] | None = None,
) -> Float[Tensor, "*batch num_visual"]:
    """Mean over the raters of P: one score per visual token, ``[*batch, num_visual]``.

    Parameters
    ----------
    rated
        P, ``[*batch, num_raters, num_visual]``.
    chosen
        ``[*batch, num_raters]``: the rows that rate, where P has others too. ``None``: all.
    """
    if chosen is None:
        return rated.mean(dim=-2)
    return rated.where(chosen[..., None], 0.0).sum(dim=-2) / chosen.sum(dim=-1, keepdim=True)


# --- SparseVLM+ (official v2.0, USE_VERSION=2_0): attention corrected for distance, then averaged
# over the most attentive heads. No paper describes it; the releases' comments name the parts.


def gravity(
    rows: tuple[Float[Tensor, "*batch num_rows head_dim"], ...],
    columns: tuple[Float[Tensor, "*batch num_columns head_dim"], ...],
) -> Float[Tensor, "*batch num_rows num_columns"]:
    """The attention logit that RoPE alone gives to a distance: between two rotated all-ones.

    SparseVLM+ divides the attention by it.

    Parameters
    ----------
    rows, columns
        Rotary tables (cosines, sines) of queries ``[*batch, num_rows, head_dim]`` and of keys
        ``[*batch, num_columns, head_dim]``.

    Returns
    -------
    Tensor
        ``[*batch, num_rows, num_columns]`` float32: (2 / sqrt(d)) sum_f cos((p_i - p_j) theta_f). It falls
        with the distance, though not evenly, and is not positive everywhere: with head_dim 128
        first not at a distance of 1707 positions, with 64 at 725, with 16 at 91. There the
        correction turns signs around and blows up near the zeros, as in the official code.
    """
    # Summed as the official code does. Near a zero a rounding error of 1e-7 is one of 1e-3 in the
    # score: another way to the same sum of cosines, even one in float64, gives other scores.
    return _rotated_ones(*rows) @ _rotated_ones(*columns).mT / rows[0].shape[-1] ** 0.5


def _rotated_ones(cos: Tensor, sin: Tensor) -> Tensor:
    left, right = sin.float().chunk(2, dim=-1)
    return cos.float() + torch.cat([-left, right], dim=-1)  # rotate_half of ones is (-1, +1)


def priority_heads(
    attention: Float[Tensor, "*batch heads num_raters num_visual"],
    num_heads: int,
    chosen: Bool[Tensor, "*batch num_raters"] | None = None,
) -> Int[Tensor, "*batch num_heads"]:
    """The heads with the most attention from raters to visual tokens.

    Parameters
    ----------
    attention
        ``[*batch, heads, num_raters, num_visual]``, corrected or not.
    num_heads
        How many; the official code has 14 for every model.
    chosen
        ``[*batch, num_raters]``: the rows that rate, where there are others too. ``None``: all.

    Returns
    -------
    Tensor
        ``[*batch, num_heads]`` indices, most first.

    Raises
    ------
    ValueError
        If the model has fewer heads.
    """
    heads = attention.shape[-3]
    if num_heads > heads:
        raise ValueError(
            f"heads={num_heads} of the most attentive heads are to be averaged, but this model has "
            f"{heads}; give a smaller number, e.g. heads={max(1, heads // 2)}"
        )
    if chosen is not None:
        attention = attention.where(chosen[..., None, :, None], 0.0)
    return attention.sum(dim=(-2, -1)).topk(num_heads).indices
