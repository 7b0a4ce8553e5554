"""One question put to the miniature, with all that the model and the method looked at on the way.

`observe` runs a pruned model and notes what every cut saw; `look` runs the dense model and keeps
where every word of the text looked. Figures and the tour are drawn from these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparsevlm.analysis.ask import (
    answered,
    inputs_of,
    layout_of,
    miniature,
    scene_of,
    shape,
    target_of,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from sparsevlm.core.interface import Pruner, PruningContext, Selection
    from sparsevlm.miniature.scenes import Scene
    from sparsevlm.runtime.trace import SampleTrace


@dataclass(frozen=True)
class Seen:
    """What one cut looked at, before it was made.

    Attributes
    ----------
    layer : int
    source : ndarray
        ``[n]`` original index of every visual token, or ``num_visual + j`` for a recycled one.
    rows : ndarray
        Attention of every text token to the visual tokens, ``[heads, num_text, n]``.
    hidden : ndarray
        Hidden states of the visual tokens, ``[n, hidden]``.
    """

    layer: int
    source: np.ndarray
    rows: np.ndarray
    hidden: np.ndarray


@dataclass(frozen=True)
class Observation:
    """One question under one method.

    Attributes
    ----------
    scene_seed : int
    question : str
    words : tuple of str
        The text after the image, as the raters index it.
    relevance : ndarray
        Of every word to the image, ``[num_text]``, sums to 1.
    before : int
        Tokens before the image.
    seen : tuple of Seen
        One per cut.
    sample : SampleTrace
    answer : str
    """

    scene_seed: int
    question: str
    words: tuple[str, ...]
    relevance: np.ndarray
    before: int
    seen: tuple[Seen, ...]
    sample: SampleTrace
    answer: str

    @property
    def scene(self) -> Scene:
        """The scene that was shown."""
        return scene_of(self.scene_seed)

    @property
    def image(self) -> Image:
        """Its picture."""
        return self.scene.image

    @property
    def raters(self) -> list[int]:
        """Words that rated; none for a method without raters."""
        return list(self.sample.stages[0].raters)

    @property
    def target(self) -> list[int]:
        """Patches of what the question names."""
        return target_of(self.scene_seed, self.question)

    def rating(self, cut: int) -> np.ndarray:
        """The matrix P of a cut, ``[raters, n]``: mean over heads of the rater rows."""
        return self.seen[cut].rows.mean(0)[self.raters]


@dataclass(frozen=True)
class Look:
    """Where the dense model looked.

    Attributes
    ----------
    scene_seed, question, words, relevance, before
        As in `Observation`.
    raters : list of int
        Words that would rate.
    rows : ndarray
        Softmax attention of the text tokens after the image, ``[layers, heads, num_text,
        tokens]``; columns are ``before``, then the visual tokens, then the text.
    first_word : str
        Of the answer.
    """

    scene_seed: int
    question: str
    words: tuple[str, ...]
    relevance: np.ndarray
    raters: list[int]
    before: int
    rows: np.ndarray
    first_word: str

    @property
    def visual(self) -> np.ndarray:
        """The columns of the visual tokens, ``[layers, heads, num_text, num_visual]``."""
        return self.rows[..., self.before : -len(self.words)]

    @property
    def text(self) -> np.ndarray:
        """The columns of the text after the image, ``[layers, heads, num_text, num_text]``."""
        return self.rows[..., -len(self.words) :]

    @property
    def target(self) -> list[int]:
        """Patches of what the question names."""
        return target_of(self.scene_seed, self.question)


class Noting:
    """A pruner that decides as another does and notes what it was shown.

    Parameters
    ----------
    inner : Pruner
    """

    needs_attention = True

    def __init__(self, inner: Pruner) -> None:
        self.inner, self.stages = inner, inner.stages
        self.scored_layer, self.counted_layer = inner.scored_layer, inner.counted_layer
        self.positions = inner.positions
        self.prunes_after, self.to_json = inner.prunes_after, inner.to_json
        self.seen: list[Seen] = []
        self.relevance: np.ndarray | None = None

    def select(self, context: PruningContext) -> Selection:
        """Note the context, then the decision of the pruner inside."""
        import torch

        from sparsevlm.core.raters import text_relevance

        if self.relevance is None:
            self.relevance = text_relevance(context.inputs_visual, context.inputs_text).numpy()
        rows = context.attention_rows(torch.arange(context.num_text)).numpy()
        seen = Seen(
            context.layer, context.source.numpy().copy(), rows, context.visual.numpy().copy()
        )
        self.seen.append(seen)
        return self.inner.select(context)


def observe(
    profile: str, scene_seed: int, question: str, tokens: int = 64, **options: object
) -> Observation:
    """Ask one question under SparseVLM and note what every cut saw.

    Parameters
    ----------
    profile : str
        Its model has to be a bundled miniature.
    scene_seed : int
    question : str
    tokens : int
        The budget.
    **options
        Of the pruner, e.g. ``raters="all_text"``.

    Raises
    ------
    ValueError
        Unknown profile or option, impossible budget.
    NotImplementedError
        A profile that cannot run yet.
    """
    from sparsevlm.methods import make_pruner

    pruner = Noting(make_pruner("sparsevlm", tokens=tokens, **shape(profile), **options))
    words, before, answer, trace = answered(profile, scene_seed, question, pruner)
    return Observation(
        scene_seed, question, words, pruner.relevance, before, tuple(pruner.seen),
        trace.samples[0], answer,
    )  # fmt: skip


def look(profile: str, scene_seed: int, question: str) -> Look:
    """Ask the dense model and keep the attention of the text in every layer and head.

    Errors as in `observe`. The kernel is "eager" for this one forward pass, because no other
    hands out its weights.
    """
    import torch

    from sparsevlm.core.raters import select_raters, text_relevance

    model, builder = miniature(profile)
    inputs = inputs_of(profile, scene_seed, question)
    words, before = layout_of(profile, inputs)
    text = slice(-len(words), None)
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            output = model(**inputs, output_attentions=True, output_hidden_states=True)
    finally:
        model.set_attn_implementation(usual)
    rows = torch.stack([layer[0, :, text] for layer in output.attentions]).numpy()
    first = builder.tokenizer.decode(output.logits[0, -1].argmax())
    embedded = output.hidden_states[0][0]
    visual, asked = embedded[before : -len(words)], embedded[text]
    return Look(
        scene_seed, question, words, text_relevance(visual, asked).numpy(),
        select_raters(visual, asked).tolist(), before, rows, first,
    )  # fmt: skip
