"""A method of your own: a function that scores visual tokens, made a pruner and given a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsevlm.core.budget import schedule_for
from sparsevlm.core.interface import PruningContext, Selection, StagedPruner
from sparsevlm.methods.registry import METHODS, Method

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[["Tensor", "Tensor", str], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class ScorePruner(StagedPruner):
    """Keep the visual tokens to which a function gives the highest scores.

    Survivors keep their positions and nothing is recycled.

    Parameters
    ----------
    stages
        After which layers, and how many tokens stay.
    score
        ``score(visual, attention, question)``, asked at every stage for one sample. ``visual``:
        hidden states of the current visual tokens, ``[num_current, hidden]``; ``attention``: what
        the text tokens after the image give them in the layer just run, ``[heads, num_text,
        num_current]`` float32; ``question``: the text given to ``prune(..., questions=)``. Returns
        one finite number per visual token, ``[num_current]``; higher = keep.
    name
        For traces.

    Raises
    ------
    TypeError
        ``score`` is no function.
    ValueError
        While the model runs: its scores have another shape, or are not finite.
    """

    score: Score | None = None
    name: str = "yours"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.score):
            raise TypeError(
                "score must be a function score(visual, attention, question) that returns a tensor "
                f"with one number per visual token, got {self.score!r}"
            )

    def select(self, context: PruningContext) -> Selection:
        """Score, then keep the best."""
        import torch

        from sparsevlm.core.recycling import select_top

        text = torch.arange(context.num_text, device=context.visual.device)
        found = self.score(context.visual, context.attention_rows(text), context.seen.question())
        scores = self._checked(found, context).to(context.visual.device)
        keep, _ = select_top(scores, min(self.keep_at(context.layer), context.num_current), 0)
        return Selection(keep, scores=scores)

    def _checked(self, found: object, context: PruningContext) -> Tensor:
        import torch

        wanted = (
            f"the score function of {self.name!r} must return one finite number per visual token, "
            f"a tensor of shape ({context.num_current},) after layer {context.layer}"
        )
        if not isinstance(found, torch.Tensor):
            raise ValueError(f"{wanted}; it returned a {type(found).__name__}: return a tensor")
        if found.shape != (context.num_current,):
            raise ValueError(
                f"{wanted}; its shape is {tuple(found.shape)}: average or sum over the others"
            )
        scores = found.detach().float()
        if odd := int((~scores.isfinite()).sum()):
            raise ValueError(f"{wanted}; {odd} are nan or infinite: look for a division by zero")
        return scores

    def to_json(self) -> dict:
        """Name, stages and where the function lies: no other process has a result of this id."""
        stages = [[stage.layer, stage.keep] for stage in self.stages]
        return {"name": self.name, "stages": stages, "score": f"in memory at {id(self.score):#x}"}


def own_method(score: Score, name: str = "yours", label: str = "Yours") -> Method:
    """Make a scoring function a method that `make_pruner` knows by name, in this process.

    It has SparseVLM's layers, and its counts without recycling. Called again, it replaces the
    function.

    Parameters
    ----------
    score
        See `ScorePruner`.
    name, label
        For calls and for readers.

    Returns
    -------
    Method
        Now also in `METHODS`.

    Raises
    ------
    TypeError
        ``score`` is no function.
    ValueError
        Another method has this name.
    """

    def build(
        tokens: int, num_layers: int, num_visual: int, layers: Sequence[int] | None = None,
        **options: Any,
    ) -> ScorePruner:  # fmt: skip
        stages = schedule_for(tokens, num_layers, num_visual, recycle=0, layers=layers)
        return ScorePruner(stages, **{"score": score, "name": name, **options})

    if name in METHODS and METHODS[name].kind is not ScorePruner:
        raise ValueError(f"{name!r} is a method of the package; give yours another name")
    ScorePruner(score=score, name=name)  # what is no function is refused now
    METHODS[name] = Method(name, label, ScorePruner, build)
    return METHODS[name]
