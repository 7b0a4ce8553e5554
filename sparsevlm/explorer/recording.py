"""A pruner that looks over another's shoulder: the attention of every layer, in one prefill."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.explorer.adjust import Adjusted, Around
from sparsevlm.explorer.view.heads import Attention, LayerRows, encode
from sparsevlm.runtime.trace import SampleTrace

if TYPE_CHECKING:
    from torch import Tensor

# A token is a sink where words that do not rate attend to it this many times the mean.
SINK_FACTOR = 10.0


@dataclass(frozen=True)
class Watched(Around):
    """Decides as `inner` does, and writes down what every layer attended to.

    It "stages" after every layer but keeps everything where `inner` has no cut, so the tokens that
    the model computes with are those of `inner` alone.

    Parameters
    ----------
    inner
        The pruner.
    num_layers
        Decoder layers of the model.
    seen
        Filled while the model runs: (layer, source, rows ``[heads, text, columns]``), and under
        ``relevance`` the relevance of every text token.
    """

    inner: Adjusted
    num_layers: int
    seen: dict = field(default_factory=dict, compare=False, repr=False)

    needs_attention = True

    def prunes_after(self, layer: int) -> bool:
        """After every layer but the last, and where the method does."""
        return 0 <= layer < self.num_layers - 1 or self.inner.prunes_after(layer)

    def to_json(self) -> dict:
        """That of the pruner inside: watching changes nothing."""
        return self.inner.to_json()

    def select(self, context: PruningContext) -> Selection:
        """Note the rows of the text; then the method's decision, or keep everything."""
        import torch

        self._note(context)
        if self.inner.prunes_after(context.layer):
            return self.inner.select(context)
        return Selection(torch.arange(context.num_current, device=context.visual.device))

    def _note(self, context: PruningContext) -> None:
        import torch

        from sparsevlm.core.raters import text_relevance

        if "relevance" not in self.seen:
            relevance = text_relevance(context.inputs_visual, context.inputs_text)
            self.seen["relevance"] = relevance.tolist()
        rows = context.attention_rows(torch.arange(context.num_text, device=context.visual.device))
        layer = context.layer + (self.scored_layer == "next")
        self.seen.setdefault("layers", []).append((layer, context.source, rows))

    def own_cuts(self, sample: SampleTrace) -> SampleTrace:
        """The trace without the entries where only this pruner "cut"."""
        stages = [stage for stage in sample.stages if self.inner.prunes_after(stage.layer)]
        return replace(sample, stages=stages)

    def attention(self, raters: list[int]) -> Attention:
        """What was seen, for the rows of some words.

        Parameters
        ----------
        raters
            Positions in the text; without any, the last word, from which the answer is read.
        """
        layers, sinks, num_text = [], [], len(self.seen["relevance"])
        words = tuple(raters) or (num_text - 1,)
        others = [index for index in range(num_text) if index not in words]
        for layer, source, rows in self.seen["layers"]:
            ids, values = source.tolist(), _numbers(rows)
            layers.append(LayerRows(layer, tuple(ids), encode(values[:, list(words)])))
            mean = values[:, others or list(words)].mean((0, 1))
            wanted = mean > SINK_FACTOR * mean.mean()
            sinks.append(tuple(int(i) for i in np.asarray(ids)[wanted]))
        return Attention(words, tuple(layers), tuple(sinks), single_heads=True)


def _numbers(rows: Tensor) -> np.ndarray:
    return rows.float().cpu().numpy()
