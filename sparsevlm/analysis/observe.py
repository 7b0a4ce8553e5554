"""One question under a method, with all that the model and the method looked at on the way.

`ask_example` answers, `record` answers and keeps what every pruning stage saw. The figures are
drawn from these and from `attention.look`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import ImageOps
from PIL.Image import Image

from sparsevlm.analysis.examples import Example
from sparsevlm.core.interface import Pruner
from sparsevlm.core.sparsity import numerical_rank
from sparsevlm.evaluation.answer import Answer
from sparsevlm.evaluation.loaded import LoadedModel
from sparsevlm.evaluation.recording import RecordedStage, Recording, RecordingPruner
from sparsevlm.models.prompt_builder import PromptBuilder
from sparsevlm.models.prompts.clip import pad_to_square
from sparsevlm.runtime.trace import SampleTrace

MOST_PIXELS = 4096  # on a side
MAX_NEW_TOKENS = 16  # there is no room for more in a figure


@dataclass(frozen=True)
class AskedExample:
    """An example and what a model answered.

    Attributes
    ----------
    image : PIL image
        What lies under the grid of visual tokens: padded or cropped as the model saw it.
    asked : range
        Which of `words` are the question; those around it belong to the prompt's template.
    """

    example: Example
    answer: Answer
    image: Image
    asked: range

    @property
    def words(self) -> tuple[str, ...]:
        """The text tokens after the image, as the raters index them."""
        return self.answer.words

    @property
    def sample(self) -> SampleTrace:
        """What became of every visual token."""
        return self.answer.trace

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of visual tokens."""
        return self.sample.grid

    @property
    def raters(self) -> list[int]:
        """Words that rated; none for a method without raters."""
        return next((list(stage.raters) for stage in self.sample.stages if stage.raters), [])

    @property
    def target(self) -> tuple[int, ...] | None:
        """Visual tokens of what the question names; None where they are not marked."""
        return self.example.target

    def kept_of_target(self, stage: int = -1) -> int:
        """How many visual tokens of the target are there as themselves after a stage."""
        return len(set(self.sample.stages[stage].kept) & set(self.target or ()))


@dataclass(frozen=True)
class StageBreakdown:
    """One pruning stage taken apart; every array is about the visual tokens before it.

    Attributes
    ----------
    source : ndarray
        ``[n]`` original index, or ``num_visual + j`` of a recycled token.
    rating : ndarray
        The matrix P, ``[raters, n]``: mean over heads of the attention of the raters; `rank` is its
        numerical rank.
    scores : ndarray
        ``[n]``, as the trace has them.
    status : ndarray
        ``[n]``: 0 kept, 1 recycled, 2 dropped.
    lam : float
        The paper's lambda that would drop as many: dropped / (n - rank).
    """

    layer: int
    source: np.ndarray
    rating: np.ndarray
    rank: int
    scores: np.ndarray
    status: np.ndarray
    lam: float


@dataclass(frozen=True)
class RecordedExample(AskedExample):
    """An answered example with what every stage of SparseVLM saw."""

    recording: Recording

    @property
    def relevance(self) -> np.ndarray:
        """Of every word to the image, ``[num_text]``, sums to 1."""
        return self.recording.relevance

    @property
    def stages(self) -> list[RecordedStage]:
        """What every stage was shown."""
        return self.recording.stages

    @cached_property
    def breakdowns(self) -> list[StageBreakdown]:
        """Every stage taken apart."""
        return [self._taken_apart(number) for number in range(len(self.stages))]

    def _taken_apart(self, number: int) -> StageBreakdown:
        seen, traced = self.stages[number], self.sample.stages[number]
        rating = seen.rows.mean(0)[self.raters]
        rank = numerical_rank(torch.from_numpy(rating))
        alive, before = {*traced.kept, *traced.group_ids}, set(seen.source.tolist())
        # Groups of this stage; a recycled token that only stays is a kept one.
        new = [group for identity, group in zip(traced.group_ids, traced.groups, strict=True)
               if identity not in before]  # fmt: skip
        merged = {index for group in new for index in group}
        status = [0 if i in alive else 1 if self._members(number, i) <= merged else 2
                  for i in seen.source.tolist()]  # fmt: skip
        gone = sum(code > 0 for code in status)
        return StageBreakdown(
            traced.layer, seen.source, rating, rank, np.array(traced.scores), np.array(status),
            gone / max(1, len(status) - rank),
        )  # fmt: skip

    def _members(self, number: int, identity: int) -> set[int]:
        """Original tokens behind a token that is there before a stage."""
        for stage in self.sample.stages[:number]:
            if identity in stage.group_ids:
                return set(stage.groups[stage.group_ids.index(identity)])
        return {identity}

    def on_grid(self, number: int, values: np.ndarray) -> np.ndarray:
        """Values of the tokens before a stage on the patches they stand for; NaN for dropped."""
        grid = np.full(self.sample.num_visual, np.nan)
        for identity, value in zip(self.stages[number].source.tolist(), values, strict=True):
            grid[list(self._members(number, identity))] = value
        return grid


def ask_example(
    loaded: LoadedModel, example: Example, pruner: Pruner, max_new_tokens: int = MAX_NEW_TOKENS
) -> AskedExample:
    """Answer an example under a pruner; 1 new token is the prefill alone.

    Raises
    ------
    InputError
        The inputs cannot be made.
    ValueError
        The visual tokens do not lie on one grid: a video, or an image in several views.
    """
    answer = loaded.ask(example.question, [example.image], pruner, max_new_tokens=max_new_tokens)
    grid = answer.trace.grid
    if grid is None or len(grid) != 2:
        raise ValueError(
            f"{loaded.name} sees the image as a grid of {grid}; the figures need rows and columns, "
            "so choose a model that sees one view of an image"
        )
    image = image_as_seen(example.image, loaded.builder)
    return AskedExample(example, answer, image, question_span(answer.words, loaded.builder))


def record(
    loaded: LoadedModel,
    example: Example,
    tokens: int | None,
    method: str = "sparsevlm",
    look_after: Sequence[int] = (),
    **options: object,
) -> RecordedExample:
    """Answer an example under a method and keep what every stage saw.

    After the layers of `look_after` there are stages too where the method does not prune:
    everything is kept there. Options are those of the method, for example ``raters="all_text"``.

    Raises
    ------
    ValueError
        Unknown method or option, impossible budget; and see `ask_example`.
    """
    inner = loaded.sizes.pruner(method, tokens, **options)
    pruner = RecordingPruner(inner, look_after, hidden=True)
    asked = ask_example(loaded, example, pruner)
    (recording,) = pruner.samples
    return RecordedExample(**vars(asked), recording=recording)


def image_as_seen(image: Image, builder: PromptBuilder) -> Image:
    """Return what of an image lies under the grid of visual tokens, at its own resolution.

    A side of more pixels than a figure can show is made shorter: a panorama on a square is large.
    """
    if max(image.size) > MOST_PIXELS:
        image = image.copy()
        image.thumbnail((MOST_PIXELS, MOST_PIXELS))
    if builder.fit == "pad":
        return pad_to_square(image)
    if builder.fit == "crop":
        return ImageOps.fit(image, (min(image.size),) * 2)
    return image


def question_span(words: tuple[str, ...], builder: PromptBuilder) -> range:
    """Return which of the text tokens after the image are the question.

    The others are the template's: special tokens and line ends ahead of it, and at the end those
    that spell the template's last part.
    """
    blank = ("⏎", "␣")
    special = {*builder.tokenizer.all_special_tokens} - {builder.tokenizer.unk_token}
    rest = "".join(builder.template.after.split())
    first, last = 0, len(words)
    while first < last and (words[first] in blank or words[first] in special):
        first += 1
    while last > first and (rest or words[last - 1] in blank):
        last -= 1
        rest = rest[: max(0, len(rest) - len(words[last].strip("".join(blank))))]
    return range(first, last)
