"""Rater rows of the attention -> one score per visual token.

Source
------
Paper, section 3.2 (P and its column mean); official `score.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


def pick(
    values: Shaped[Tensor, "..."], places: Int[Tensor, "*batch k"], dim: int = -2
) -> Shaped[Tensor, "..."]:
    """Entries of ``[*batch, n, ...]`` at ``[k]`` places, or at ``[*batch, k]``, of every sample.

    ``dim``, counted from the end, is that of n. Values without ``batch`` are those of each sample.
    """
    if places.ndim == 1:
        return values.index_select(values.ndim + dim, places)
    if values.ndim == -dim:
        return values[places]
    samples = torch.arange(len(places), device=places.device)
    return values[samples[:, None], places]


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
        ``[*batch, num_rows, num_columns]`` float32: (2 / sqrt(d)) sum_f cos((p_i - p_j) theta_f).
        It falls with the distance, though not evenly, and is not positive everywhere: with head_dim
        128 first not at a distance of 1707 positions, with 64 at 725, with 16 at 91. There the
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
