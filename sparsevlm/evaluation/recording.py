"""Pruners around a pruner, and one that writes down what a method sees as it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from sparsevlm.core.interface import Pruner, PruningContext, Selection


class PrunerAround:
    """Base of a pruner that has another inside and takes after it.

    Parameters
    ----------
    inner : Pruner
    """

    def __init__(self, inner: Pruner) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        # Only for what the class itself does not define; `inner` is missing while it is unpickled.
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


@dataclass(frozen=True)
class StageRecord:
    """What a pruner saw at one stage, before it decided.

    Attributes
    ----------
    layer : int
        The stage comes after it.
    source : ndarray
        ``[n]`` original index of every visual token, or ``num_visual + j`` of a recycled one.
    rows : ndarray
        Attention of every text token after the image to them, ``[heads, num_text, n]`` float32.
    hidden : ndarray
        Their hidden states, ``[n, hidden]`` float32.
    """

    layer: int
    source: np.ndarray
    rows: np.ndarray
    hidden: np.ndarray


class RecordingPruner(PrunerAround):
    """Decides as another pruner does and records what it was shown.

    Attributes
    ----------
    stages_seen : list of StageRecord
        Of the last prefill, in order.
    relevance : ndarray or None
        Of every text token after the image, ``[num_text]``; None before the first prefill.
    """

    needs_attention = True

    def __init__(self, inner: Pruner) -> None:
        super().__init__(inner)
        self.stages_seen: list[StageRecord] = []
        self.relevance: np.ndarray | None = None

    def select(self, context: PruningContext) -> Selection:
        """Record the context, then decide as the pruner inside."""
        import torch

        from sparsevlm.core.raters import text_relevance

        if self.relevance is None:
            relevance = text_relevance(context.inputs_visual, context.inputs_text)
            self.relevance = _numbers(relevance)
        rows = context.attention_rows(torch.arange(context.num_text, device=context.visual.device))
        source = context.source.cpu().numpy().copy()
        self.stages_seen.append(
            StageRecord(context.layer, source, _numbers(rows), _numbers(context.visual))
        )
        return self.inner.select(context)


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy().copy()
