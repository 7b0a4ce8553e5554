"""Which text tokens may rate the visual tokens.

Source
------
Paper, section 3.2; official `modelling_sparse_llama.py` (all branches), before the layer loop.

Difference
----------
A text of one token has no rater under the official rule; here it rates itself (DEVIATIONS.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RATER_RULES = ("above_mean", "at_least_mean", "all_text")


def text_relevance(
    visual: Float[Tensor, "num_visual hidden"], text: Float[Tensor, "num_text hidden"]
) -> Float[Tensor, "num_text"]:
    """Relevance of every text token to the image.

    Parameters
    ----------
    visual
        Embeddings of the visual tokens at the input of layer 0, ``[num_visual, hidden]``.
    text
        Embeddings of the text tokens after the image, ``[num_text, hidden]``.

    Returns
    -------
    Tensor
        ``[num_text]``, sums to 1: softmax over the text of the plain dot products (not
        normalised, not scaled), mean over the visual tokens.
    """
    # The few rows on the left: the product of the two in the other order takes longer.
    return (text.float() @ visual.float().T).softmax(dim=0).mean(dim=1)


def select_raters(
    visual: Float[Tensor, "num_visual hidden"],
    text: Float[Tensor, "num_text hidden"],
    rule: str = "above_mean",
) -> Int[Tensor, "num_raters"]:
    """Indices of the text tokens that rate, ascending.

    Parameters
    ----------
    visual, text
        See `text_relevance`.
    rule
        ``"above_mean"`` (official code), ``"at_least_mean"`` (paper) or ``"all_text"``.

    Returns
    -------
    Tensor
        ``[num_raters]`` int64 positions in the text.

    Raises
    ------
    ValueError
        For an unknown rule or a text without tokens.
    """
    if rule not in RATER_RULES:
        raise ValueError(f"unknown rater rule {rule!r}; known: {', '.join(RATER_RULES)}")
    if text.shape[0] == 0:
        raise ValueError(
            "there is no text token after the image, so nothing can rate the visual tokens: "
            "put the question after the image"
        )
    if rule == "all_text":
        return torch.arange(text.shape[0], device=text.device)
    raters = _passes(visual, text, rule).nonzero().flatten()
    # One text token, or identical ones: none is above the mean, and rounding may even leave
    # none at it.
    return raters if raters.numel() else torch.arange(text.shape[0], device=text.device)


def rater_rows(
    visual: Float[Tensor, "num_visual hidden"],
    text: Float[Tensor, "num_text hidden"],
    rule: str,
    may_count: bool = True,
) -> tuple[Int[Tensor, "num_rows"], Bool[Tensor, "num_rows"] | None]:
    """Rows of the text to look at, and which of them rate (``None``: all of them).

    Parameters
    ----------
    visual, text, rule
        See `select_raters`.
    may_count
        Whether the host may learn how many rate, for which it waits for the device. If not, all
        rows are looked at, and no shape depends on a value.
    """
    if may_count or rule == "all_text":
        return select_raters(visual, text, rule), None
    passes = _passes(visual, text, rule)
    rows = torch.arange(text.shape[0], device=text.device)
    return rows, passes | ~passes.any()  # none: see `select_raters`


def _passes(visual: Tensor, text: Tensor, rule: str) -> Tensor:
    relevance = text_relevance(visual, text)
    mean = relevance.mean()
    return relevance > mean if rule == "above_mean" else relevance >= mean
