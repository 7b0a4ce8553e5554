"""Random: the control that any method must beat at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from zlib import crc32

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.methods.bases import ControlPruner

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Random(ControlPruner):
    """Keep a uniformly random subset; another draw at every stage.

    Parameters
    ----------
    seed
        The draw depends on it, the layer and the prompt (text and pixels), and on nothing else:
        not on the batch, the order of the samples or earlier draws.
    """

    seed: int = 0

    name: ClassVar[str] = "random"
    batched = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.seed) is not int:
            raise ValueError(f"seed must be an integer, got {self.seed!r}")

    def select(self, context: PruningContext) -> Selection:
        """Draw one number per token, keep the largest."""
        import torch

        from sparsevlm.core.recycling import select_top

        kept = min(self.keep_at(context.layer), context.num_current)
        if "prompt" not in context.cache:
            context.cache["prompt"] = context.prompt_key()  # reads ids and pixels

        def draw(prompt: int) -> Tensor:
            seed = crc32(f"{self.seed} {context.layer} {prompt}".encode())
            return torch.rand(context.num_current, generator=torch.Generator().manual_seed(seed))

        prompt = context.cache["prompt"]
        drawn = torch.stack(list(map(draw, prompt))) if type(prompt) is list else draw(prompt)
        keep, _ = select_top(drawn, kept, 0)
        return Selection(keep.to(context.visual.device))
