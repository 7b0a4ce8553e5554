"""SparseVLM+: attention corrected for distance, and averaged over the heads that look.

Source
------
Official v2.0, ``USE_VERSION=2_0`` (`score.py`, `modelling_sparse_llama.py`); its comments name the
parts "text-visual attention gravity correction" and "priority heads selection". No paper describes
them.

Difference
----------
Only rater rows at visual columns are computed, from the rotary tables of the layer; the official
code rotates two all-ones tensors and divides the full maps. The numbers are the same.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor


def gravity(
    rows: tuple[Float[Tensor, "num_rows head_dim"], Float[Tensor, "num_rows head_dim"]],
    columns: tuple[Float[Tensor, "num_columns head_dim"], Float[Tensor, "num_columns head_dim"]],
) -> Float[Tensor, "num_rows num_columns"]:
    """The attention logit that RoPE alone gives to a distance: between two rotated all-ones.

    Parameters
    ----------
    rows, columns
        Rotary tables (cosines, sines) of queries ``[num_rows, head_dim]`` and of keys
        ``[num_columns, head_dim]``.

    Returns
    -------
    Tensor
        ``[num_rows, num_columns]`` float32: (2 / sqrt(d)) sum_f cos((p_i - p_j) theta_f). It falls
        with the distance, though not evenly, and is not positive everywhere: with head_dim 128
        first not at a distance of 1707 positions, with 64 at 725, with 16 at 91. There the
        correction turns signs around and blows up near the zeros, as in the official code.
    """
    (cos_row, sin_row), (cos_column, sin_column) = rows, columns
    # rotate_half turns ones into (-1, +1), so a rotated one is cos -+ sin; the products of both
    # halves add up to twice the cosine of the difference of the angles.
    total = cos_row.float() @ cos_column.float().T + sin_row.float() @ sin_column.float().T
    return total / cos_row.shape[-1] ** 0.5


def correct(
    attention: Float[Tensor, "heads num_raters num_visual"],
    weight: Float[Tensor, "num_raters num_visual"],
) -> Float[Tensor, "heads num_raters num_visual"]:
    """Divide attention ``[heads, num_raters, num_visual]`` by `gravity`."""
    return attention / weight


def priority_heads(
    attention: Float[Tensor, "heads num_raters num_visual"],
    num_heads: int,
    chosen: Bool[Tensor, "num_raters"] | None = None,
) -> Int[Tensor, "num_heads"]:
    """The heads with the most attention from raters to visual tokens.

    Parameters
    ----------
    attention
        ``[heads, num_raters, num_visual]``, corrected or not.
    num_heads
        How many; the official code has 14 for every model.
    chosen
        ``[num_raters]``: the rows that rate, where there are others too. ``None``: all.

    Returns
    -------
    Tensor
        ``[num_heads]`` indices, most first.

    Raises
    ------
    ValueError
        If the model has fewer heads.
    """
    if num_heads > len(attention):
        raise ValueError(
            f"heads={num_heads} of the most attentive heads are to be averaged, but this model has "
            f"{len(attention)}; give a smaller number, e.g. heads={max(1, len(attention) // 2)}"
        )
    if chosen is not None:
        attention = attention.where(chosen[:, None], 0.0)
    return attention.sum(dim=(1, 2)).topk(num_heads).indices
