"""A pruner around a pruner, which notes what the one inside was shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.core.raters import text_relevance
from sparsevlm.methods.bases import PrunerWrapper
from sparsevlm.runtime.trace import SampleTrace


@dataclass(frozen=True)
class RecordedStage:
    """What there was to be seen of one sample after one layer, before anything was pruned there.

    Attributes
    ----------
    layer
        0-based layer after which the pruner was asked; -1: before layer 0.
    attention_layer
        The layer whose attention `rows` is: the same one, or the next.
    source
        ``[num_current]`` original index of every visual token, or ``num_visual + j`` for the j-th
        recycled one.
    rows
        Softmax attention of all text tokens after the image to the visual tokens, ``[heads,
        num_text, num_current]`` float32.
    hidden
        Hidden states of the visual tokens, ``[num_current, hidden]`` float32, where asked for.
    """

    layer: int
    attention_layer: int
    source: np.ndarray
    rows: np.ndarray
    hidden: np.ndarray | None


@dataclass
class Recording:
    """What was noted of one sample.

    Attributes
    ----------
    relevance
        Of every text token after the image to the image, ``[num_text]`` float32, sums to 1.
    visual, text
        Embeddings at the input of layer 0, ``[num_visual, hidden]`` and ``[num_text, hidden]``
        float32, where hidden states are asked for.
    stages
        In the order of the layers.
    """

    relevance: np.ndarray
    visual: np.ndarray | None
    text: np.ndarray | None
    stages: list[RecordedStage] = field(default_factory=list)


class RecordingPruner(PrunerWrapper):
    """Decides as the inner pruner does, and notes what it was shown.

    Where the inner pruner does not prune, everything is kept, so the tokens that the model computes
    with, and its answers, are those of the inner pruner alone. After `layers` it looks although
    nothing is pruned there; on request it keeps embeddings, and hidden states of the visual tokens.

    Attributes
    ----------
    samples : list of Recording
        One per sample with an image, in the order of the batch; filled while the model runs.
    """

    needs_attention = True

    def __init__(
        self, inner: StagedPruner, layers: Iterable[int] = (), *, hidden: bool = False
    ) -> None:
        self.inner, self.layers, self.hidden = inner, frozenset(layers), hidden
        self.samples: list[Recording] = []

    def prunes_after(self, layer: int) -> bool:
        """Whether the pruner is asked, or looked for, after this layer."""
        return layer in self.layers or self.inner.prunes_after(layer)

    def select(self, context: PruningContext) -> Selection:
        """Note the context; then decide as the inner pruner, or keep everything."""
        self._note(context)
        if self.inner.prunes_after(context.layer):
            return self.inner.select(context)
        return Selection(torch.arange(context.num_current, device=context.visual.device))

    def _note(self, context: PruningContext) -> None:
        if "recording" not in context.cache:
            embedded = context.inputs_visual, context.inputs_text
            context.cache["recording"] = Recording(
                _numbers(text_relevance(*embedded)),
                *(_numbers(tokens) if self.hidden else None for tokens in embedded),
            )
            self.samples.append(context.cache["recording"])
        rows = context.attention_rows(torch.arange(context.num_text, device=context.visual.device))
        stage = RecordedStage(
            layer=context.layer,
            attention_layer=context.layer + (self.inner.scored_layer == "next"),
            source=context.source.cpu().numpy().copy(),
            rows=_numbers(rows),
            hidden=_numbers(context.visual) if self.hidden else None,
        )
        context.cache["recording"].stages.append(stage)

    def own_stages(self, trace: SampleTrace) -> SampleTrace:
        """The trace without the stages where nothing was pruned, only looked."""
        stages = [stage for stage in trace.stages if self.inner.prunes_after(stage.layer)]
        return replace(trace, stages=stages)


def _numbers(values: Tensor) -> np.ndarray:
    # A copy: the model goes on to write into its tensors.
    return values.detach().float().cpu().numpy().copy()
