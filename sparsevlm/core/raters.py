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
    visual: Float[Tensor, "*batch num_visual hidden"], text: Float[Tensor, "*batch num_text hidden"]
) -> Float[Tensor, "*batch num_text"]:
    """Relevance of every text token to the image.

    Parameters
    ----------
    visual
        Embeddings of the visual tokens at the input of layer 0, ``[*batch, num_visual, hidden]``.
    text
        Embeddings of the text tokens after the image, ``[*batch, num_text, hidden]``.

    Returns
    -------
    Tensor
        ``[*batch, num_text]``, sums to 1: softmax over the text of the plain dot products (not
        normalised, not scaled), mean over the visual tokens.
    """
    # The few rows on the left: the product of the two in the other order takes longer.
    return (text.float() @ visual.float().mT).softmax(dim=-2).mean(dim=-1)


def rater_rows(
    visual: Float[Tensor, "*batch num_visual hidden"],
    text: Float[Tensor, "*batch num_text hidden"],
    rule: str = "above_mean",
    may_count: bool = True,
) -> tuple[Int[Tensor, "*rows num_rows"], Bool[Tensor, "*batch num_rows"] | None]:
    """Rows of the text to look at, and which of them rate (``None``: all of them).

    Parameters
    ----------
    visual, text
        See `text_relevance`.
    rule
        ``"above_mean"`` (official code), ``"at_least_mean"`` (paper) or ``"all_text"``.
    may_count
        Whether the host may learn how many rate, for which it waits for the device. If not, all
        rows are looked at, and no shape depends on a value.

    Returns
    -------
    rows, chosen
        Positions in the text, ascending: ``[num_rows]`` for all samples, or ``[*batch,
        num_rows]``, as many as the sample with the most raters has.

    Raises
    ------
    ValueError
        For an unknown rule or a text without tokens.
    """
    if rule not in RATER_RULES:
        raise ValueError(f"unknown rater rule {rule!r}; known: {', '.join(RATER_RULES)}")
    if text.shape[-2] == 0:
        raise ValueError(
            "there is no text token after the image, so nothing can rate the visual tokens: "
            "put the question after the image"
        )
    everyone = torch.arange(text.shape[-2], device=text.device)
    if rule == "all_text":
        return everyone, None
    relevance = text_relevance(visual, text)
    mean = relevance.mean(dim=-1, keepdim=True)
    rates = relevance > mean if rule == "above_mean" else relevance >= mean
    # One text token, or identical ones: none is above the mean, and rounding may even leave
    # none at it. Then all rate.
    rates = rates | ~rates.any(dim=-1, keepdim=True)
    if not may_count:
        return everyone, rates
    if rates.ndim == 1:
        return rates.nonzero().flatten(), None
    counts = rates.sum(dim=-1, keepdim=True)
    most = int(counts.max())
    rows = rates.byte().argsort(dim=-1, descending=True, stable=True)[..., :most]
    return rows, None if int(counts.min()) == most else everyone[:most] < counts


def select_raters(
    visual: Float[Tensor, "num_visual hidden"],
    text: Float[Tensor, "num_text hidden"],
    rule: str = "above_mean",
) -> Int[Tensor, "num_raters"]:
    """Positions of the text tokens of one sample that rate; see `rater_rows`."""
    return rater_rows(visual, text, rule)[0]
