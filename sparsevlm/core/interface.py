"""The Pruner contract: what a method sees, and what it answers.

A pruner is a small frozen dataclass. It decides, from a read-only context of one sample, which
visual tokens stay; the package `runtime` acts on the decision. This module imports without torch,
so that settings can be built, compared and hashed quickly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from sparsevlm.core.schedule import PruningStage, check_stages, plain

if TYPE_CHECKING:
    from torch import Tensor

POSITIONS = ("renumbered", "original")
TEXTS = ("after_image", "whole_prompt")


@dataclass(frozen=True)
class PruningContext:
    """What a pruner may look at: one image of a sample at one stage, or of some. Read-only.

    For a pruner that is `batched` all tensors here, and those of its `Selection`, may have one more
    dimension in front, ``[batch]``: samples with equal parts and grids, decided for at once.

    Attributes
    ----------
    layer
        The stage comes after this 0-based layer (-1: before layer 0).
    num_layers
        Decoder layers of the model.
    visual, text
        Hidden states of the current visual tokens ``[num_current, hidden]`` and of the prompt's
        text tokens ``[num_text, hidden]``: those after the image, or all (`Pruner.text`).
    source
        ``[num_current]`` int64: the original index of a visual token, or ``num_visual + j`` for
        the j-th recycled token of this sample.
    num_visual
        Visual tokens of the image before any stage.
    grid
        (rows, columns), or (frames, rows, columns) of a video, of the original visual tokens,
        where known.
    inputs_visual, inputs_text
        The same tokens at the input of layer 0, before any stage.
    attention_rows
        Function of ``[num_rows]`` positions in the text (of several samples also ``[batch,
        num_rows]``); returns the attention of these rows to the current visual tokens, ``[heads,
        num_rows, num_current]``, softmax over all tokens.
    prompt_key
        Function without arguments; an integer that depends on the prompt's ids and pixels only
        (a list of them for several samples).
    rotary_visual, rotary_text
        Cosines and sines, each ``[tokens, head_dim]``, by which the layer looked at rotates the
        current visual tokens and the text.
    attention_mean
        Function without arguments; the attention of all tokens of the prompt to each current visual
        token, mean over heads and tokens, ``[num_current]``.
    cache
        Dictionary that lives for one prefill of one image.
    static
        Whether no shape may depend on values and no value may be read by the host, where the method
        can do without.
    seen
        What few methods look at: keys, vision tower, tiles, question; see `runtime.context.Sights`.
        Of one sample only: not for a pruner that is `batched`.
    """

    layer: int
    num_layers: int
    visual: Tensor
    text: Tensor
    source: Tensor
    num_visual: int
    grid: tuple[int, ...] | None
    inputs_visual: Tensor
    inputs_text: Tensor
    attention_rows: Callable[[Tensor], Tensor]
    prompt_key: Callable[[], int | list[int]]
    rotary_visual: tuple[Tensor, Tensor]
    rotary_text: tuple[Tensor, Tensor]
    attention_mean: Callable[[], Tensor]
    cache: dict = field(default_factory=dict)
    static: bool = False
    seen: Any = None

    @property
    def num_current(self) -> int:
        """Number of visual tokens before this stage."""
        return self.visual.shape[-2]

    @property
    def num_text(self) -> int:
        """Number of text tokens looked at."""
        return self.text.shape[-2]


@dataclass(frozen=True)
class Groups:
    """Which tokens are merged with which.

    Attributes
    ----------
    members
        ``[n]`` int64 indices into the current visual tokens.
    labels
        ``[n]`` int64 group of each member: a row of `Selection.vectors`.
    alone
        ``[num_groups]`` bool: has one member, which goes on as itself. ``None``: none does.
    """

    members: Tensor
    labels: Tensor
    alone: Tensor | None = None


@dataclass(frozen=True)
class Selection:
    """The decision of a pruner for one image of a sample at one stage.

    Attributes
    ----------
    keep
        ``[num_kept]`` int64, ascending, into the current visual tokens.
    groups, vectors
        Merged tokens: who is in them, and ``[num_groups, hidden]``.
    anchors
        ``[num_groups]`` index of the token whose place in the sequence (and original position)
        each vector takes. ``None``: the vectors follow the kept tokens, or ``order`` sorts both,
        ``[num_kept + num_groups]``, where positions are renumbered.
    scores
        ``[num_current]``, for the trace. Higher = keep.
    raters
        ``[num_raters]`` positions in the text, for the trace; -1 stands for none.
    """

    keep: Tensor
    groups: Groups | None = None
    vectors: Tensor | None = None
    anchors: Tensor | None = None
    scores: Tensor | None = None
    raters: Tensor | None = None
    order: Tensor | None = None

    def without_vectors(self) -> Selection:
        """What a trace needs of it: the merged states are part of the model's row by then."""
        return Selection(self.keep, self.groups, None, self.anchors, self.scores, self.raters)


@runtime_checkable
class Pruner(Protocol):
    """What `prune` needs from a method.

    Attributes
    ----------
    scored_layer
        ``"this"``: the attention of the layer just run is looked at; ``"next"``: that of the layer
        about to run, at whose entry tokens are then dropped.
    counted_layer
        Whose tokens a stage reduces in the accounting (`schedule.tokens_per_layer`): ``"this"`` or
        ``"next"``.
    needs_attention
        Whether `PruningContext.attention_rows`, or a layer's keys, are used; ``needs_tower``:
        whether the vision tower is looked at (not by a pruner that does not say so).
    positions
        ``"renumbered"``: contiguous positions after every stage, and decoding at each layer's own
        cache length. ``"original"``: survivors keep theirs, decoding at the true position.
    text
        ``"after_image"``: the words after the image are the text. ``"whole_prompt"``: those before
        it too; causal attention hides the image from them, so `PruningContext.attention_rows` is
        the attention that they would give without the causal mask.
    """

    scored_layer: str
    counted_layer: str
    needs_attention: bool
    positions: str
    text: str

    def prunes_after(self, layer: int) -> bool:
        """Whether there is a stage after this 0-based layer."""

    def select(self, context: PruningContext) -> Selection:
        """Decide for one sample, or for some at once."""

    def to_json(self) -> dict:
        """Name and fields, canonical, for ids and records."""


@dataclass(frozen=True)
class StagedPruner:
    """Base of the pruners whose stages come after a fixed tuple of layers.

    Parameters
    ----------
    stages
        After which layers, and how many tokens stay.

    Attributes
    ----------
    batched
        Whether `select` decides for several samples at once (see `PruningContext`): it then keeps
        and merges as many tokens of each. If not, a batch is pruned sample by sample.
    """

    stages: tuple[PruningStage, ...] = ()

    name: ClassVar[str]
    # Without a type they are no fields; a method that leaves one of them to the user adds the type.
    scored_layer = "this"
    counted_layer = "this"
    needs_attention = True
    needs_tower = False
    positions = "original"
    text = "after_image"
    batched = False

    def __post_init__(self) -> None:
        for f in fields(self):
            # NumPy's and torch's numbers: equal settings have equal ids.
            object.__setattr__(self, f.name, plain(getattr(self, f.name)))
        object.__setattr__(self, "stages", check_stages(self.stages))
        for option, known in (("positions", POSITIONS), ("text", TEXTS)):
            if (got := getattr(self, option)) not in known:
                raise ValueError(f"{option} must be one of {', '.join(known)}; got {got!r}")
        self._check_sparsity()

    @classmethod
    def for_budget(cls, tokens: Any, num_layers: int, num_visual: int) -> StagedPruner:
        """The method with stages that leave ``tokens`` on average over the layers."""
        raise NotImplementedError(f"{cls.__name__} has no for_budget")

    def _check_sparsity(self) -> None:
        if any(stage.keep is None for stage in self.stages):
            raise ValueError(f"{self.name} needs a keep count in every stage, got {self.stages}")

    def prunes_after(self, layer: int) -> bool:
        """Whether there is a stage after this 0-based layer."""
        return any(stage.layer == layer for stage in self.stages)

    def keep_at(self, layer: int) -> int:
        """How many tokens the stage after this layer keeps, where the schedule says it."""
        keep = next(stage.keep for stage in self.stages if stage.layer == layer)
        assert keep is not None, f"{self.name} decides the count at run time"
        return keep

    def to_json(self) -> dict:
        """Name and fields, canonical, for ids and records."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["stages"] = [[stage.layer, stage.keep] for stage in self.stages]
        return {"name": self.name, **values}


# Where an account of pruning's own time is open (`runtime.timing`), the phases report to it.
CURRENT_ACCOUNT: ContextVar = ContextVar("sparsevlm_account", default=None)


def phase(name: str) -> Callable[[Callable], Callable]:
    """Decorator: the time of a function counts as this phase while time is measured."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def timed(*args: object, **kwargs: object) -> object:
            current = CURRENT_ACCOUNT.get()
            if current is None:
                return function(*args, **kwargs)
            current.begin(name)
            try:
                return function(*args, **kwargs)
            finally:
                current.end()

        return timed

    return decorate
