"""From a question about an image to an answer, pruned or not.

The only place that builds a model's inputs, prunes, generates and decodes. Tables, figures, the
explorer, lmms-eval and the cards of the miniatures all use it. What a result depends on is
computed from the imports of this module (`digests`), so it imports only what can change a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from sparsevlm.runtime.adapter import find_adapter, unwrap
from sparsevlm.runtime.prune import prune

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from sparsevlm.core.interface import Pruner
    from sparsevlm.models.prompt_builder import PromptBuilder
    from sparsevlm.runtime.trace import SampleTrace, Trace


class InputError(ValueError):
    """The inputs of a batch cannot be made: an image is missing or damaged, a question is odd."""


@dataclass(frozen=True)
class Answer:
    """What a model said to one question, and what became of the visual tokens.

    Attributes
    ----------
    text : str
        The decoded answer, stripped, without special tokens.
    prompt : str
        What the model was given, with one placeholder in place of the visual tokens.
    input_ids : tuple of int
        Of the prompt without padding, visual placeholders repeated.
    token_ids : tuple of int
        Of the answer, as generated, special tokens included.
    probabilities : tuple of float
        Of each of `token_ids`, where they were asked for.
    num_text : int
        Text tokens of the prompt.
    num_before : int
        Those before the first visual token; all where there is none.
    words : tuple of str
        Tokens of the prompt after the last visual one, as a reader would write them: what may rate.
    traces : tuple of SampleTrace
        Survivors, groups and counts, layer by layer, of every image or of the video; one without
        visual tokens where there is none.
    """

    text: str
    prompt: str
    input_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]
    num_text: int
    num_before: int
    words: tuple[str, ...]
    traces: tuple[SampleTrace, ...]

    @property
    def trace(self) -> SampleTrace:
        """The first of `traces`."""
        return self.traces[0]


def answer(
    model: PreTrainedModel,
    builder: PromptBuilder,
    questions: Sequence[str],
    media: Sequence[Sequence[Image]],
    pruner: Pruner,
    *,
    max_new_tokens: int | None = None,
    forced: Sequence[int] | None = None,
    probabilities: bool = False,
    **generation: object,
) -> list[Answer]:
    """Answer a batch of questions under a pruner, greedily unless told otherwise.

    Parameters
    ----------
    model, builder
        From `backends.load`; the builder is the model's own.
    questions
        Plain texts, instructions included.
    media
        For each question its images: none, one, the frames of a video in order, or several as
        `Images`.
    pruner
        `sparsevlm.core.sparsevlm.Dense` for the model as it is.
    max_new_tokens
        Longest answer; None for the model's own limit. 1 is the prefill alone.
    forced
        Token ids that are answered whatever the model would say (one question only), to get the
        probabilities that it gives them.
    probabilities
        Keep the probability of every token of the answer.
    **generation
        Further arguments of `generate`; they go before greedy decoding.

    Returns
    -------
    list of Answer
        In the order of the questions.

    Raises
    ------
    InputError
        The inputs of some question cannot be made.
    """
    # 1. Questions and images become tensors, padded on the left, on the model's device.
    model = unwrap(model)
    inputs = inputs_on(model, builder, questions, media)

    prompts = list(map(builder.prompt_of, questions, media))

    # 2. The pruned model generates, and token ids become text.
    settings = {**generation, "forced": forced, "probabilities": probabilities}
    with torch.inference_mode(), prune(model, pruner, questions=questions) as trace:
        visual = find_adapter(model).visual_mask(inputs)
        return generated(
            model, builder, inputs, visual, prompts, trace,
            max_new_tokens=max_new_tokens, **settings,
        )  # fmt: skip


def generated(
    model: PreTrainedModel,
    builder: PromptBuilder,
    inputs: dict,
    visual: torch.Tensor,
    prompts: Sequence[str],
    trace: Trace,
    *,
    max_new_tokens: int | None = None,
    forced: Sequence[int] | None = None,
    probabilities: bool = False,
    **generation: object,
) -> list[Answer]:
    """Generate inside a block of `prune`.

    Parameters
    ----------
    model, builder
        See `answer`.
    inputs
        Of the model.
    visual
        ``[batch, tokens]`` bool, its visual tokens.
    prompts
        Of every row, see `Answer.prompt`.
    trace
        Of the block.
    max_new_tokens, forced, probabilities, **generation
        See `answer`.
    """
    settings: dict = {"do_sample": False, "pad_token_id": builder.tokenizer.pad_token_id or 0}
    if max_new_tokens is not None:
        settings["max_new_tokens"] = max_new_tokens
    if forced is not None:
        settings["max_new_tokens"] = len(forced)
        settings["logits_processor"] = LogitsProcessorList([_Dictate(forced)])
    settings |= generation
    output = model.generate(
        **inputs, **settings, return_dict_in_generate=True, output_logits=probabilities
    )
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    texts, ids = builder.decode(new), new.tolist()
    if len(ids) != len(prompts):
        raise ValueError(
            f"{len(prompts)} questions got {len(ids)} answers; leave num_return_sequences out"
        )
    chances = _probabilities(output, new) if probabilities else [()] * len(ids)
    shown: list[list[SampleTrace]] = [[] for _ in range(trace.samples[-1].sample + 1)]
    for one in trace.samples:
        shown[one.sample].append(one)
    known = _prompts(visual, inputs, builder.tokenizer)
    return [
        Answer(
            text=texts[row],
            prompt=prompts[row],
            token_ids=tuple(ids[row]),
            probabilities=chances[row],
            traces=tuple(shown[row * len(shown) // len(ids)]),  # beams repeat every row
            **known[row],
        )
        for row in range(len(ids))
    ]


def inputs_on(
    model: PreTrainedModel,
    builder: PromptBuilder,
    questions: Sequence[str],
    media: Sequence[Sequence[Image]],
) -> dict[str, torch.Tensor]:
    """Return the inputs of a batch on the model's device, pixels in its dtype.

    Raises
    ------
    InputError
        They cannot be made; the message is that of the builder.
    """
    try:
        made = builder.inputs(questions, media)
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from error
    return {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
        for name, tensor in made.items()
    }


def _prompts(visual: torch.Tensor, inputs: dict, tokenizer) -> list[dict]:
    """Ids, counts and words of every prompt, without its padding."""
    found = []
    rows = zip(inputs["input_ids"], inputs["attention_mask"].bool(), visual, strict=True)
    for ids, real, is_visual in rows:
        ids, is_visual = ids[real].tolist(), is_visual[real].tolist()
        places = [place for place, flag in enumerate(is_visual) if flag]
        first, last = (places[0], places[-1]) if places else (len(ids), -1)
        words = tokenizer.convert_ids_to_tokens(ids[last + 1 :])
        found.append(
            {
                "input_ids": tuple(ids),
                "num_text": len(ids) - len(places),
                "num_before": first,
                "words": tuple(map(readable, words)),
            }
        )
    return found


def readable(token: str | None) -> str:
    """Return a token of a sentence-piece or byte-level tokenizer as a reader would write it.

    A model may answer with an id that its tokenizer has no token for: ``None``.
    """
    text = (token or "\ufffd").replace("▁", " ").replace("Ġ", " ").replace("<0x0A>", "⏎")
    text = text.replace("Ċ", "⏎").replace("\n", "⏎")
    return text.strip() or "␣"


def _probabilities(output, generated: torch.Tensor) -> list[tuple[float, ...]]:
    """Probability of every generated token under the model's own logits, row by row."""
    steps = torch.stack([logits.float().softmax(-1) for logits in output.logits], dim=1)
    chosen = steps.gather(2, generated[:, : steps.shape[1], None]).squeeze(2)
    return [tuple(row) for row in chosen.tolist()]


class _Dictate(LogitsProcessor):
    """Forces an answer token by token; `output_logits` keeps the logits of the model itself."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._token_ids, self._step = token_ids, 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self._token_ids[self._step]] = 0
        self._step += 1
        return forced
