"""Several questions about the same images, each pruned anew or answered with what survived."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from sparsevlm.evaluation.answer import Answer, generated, inputs_on
from sparsevlm.evaluation.shared_prefix import SharedPrefix
from sparsevlm.runtime.adapter import find_adapter, unwrap
from sparsevlm.runtime.prune import prune

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from sparsevlm.core.interface import Pruner
    from sparsevlm.models.prompt_builder import PromptBuilder
    from sparsevlm.runtime.trace import Trace


class Conversation:
    """Questions about the same images, one after the other, in a with block.

    The images are encoded once, for the first question: inside the block the vision tower and the
    projector answer the same pixels from memory, bit for bit.

    Parameters
    ----------
    model, builder
        As for `evaluation.answer.answer`.
    pruner
        The method, e.g. from `make_pruner`.
    images
        None, one, the frames of a video, or several as `Images`.
    again
        What a further question is answered with. ``"afresh"``: the whole conversation is a new
        prompt, pruned for the last question, whose words alone rate. ``"survivors"``: what the
        first question left, on the kept cache; that costs no prompt, and answers worse.

    Attributes
    ----------
    answers : list of Answer
        So far. What survived for a question is in its ``trace`` (``traces``, of several images).

    Raises
    ------
    ValueError
        Another ``again``; at a question, what `prune` and the builder refuse.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        builder: PromptBuilder,
        pruner: Pruner,
        images: Sequence[Image],
        *,
        again: Literal["afresh", "survivors"] = "afresh",
    ) -> None:
        if again not in ("afresh", "survivors"):
            raise ValueError(f'again must be "afresh" or "survivors", got {again!r}')
        self.answers: list[Answer] = []
        self._model, self._builder, self._pruner = unwrap(model), builder, pruner
        self._images, self._again = images, again
        self._stack = ExitStack()
        self._open = False
        self._trace: Trace | None = None  # of the block that "survivors" keeps open

    def __enter__(self) -> Conversation:
        self._stack.enter_context(SharedPrefix(0)).install(self._model)
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._stack.close()

    @torch.inference_mode()
    def ask(self, question: str, **generation: object) -> Answer:
        """Ask one more question.

        Parameters
        ----------
        question
            Plain text.
        **generation
            Arguments of `generate`; greedy without.
        """
        if not self._open:
            raise RuntimeError(
                "ask inside its block: with Conversation(...) as chat: chat.ask(...)"
            )

        # 1. The first question brings the images; a further one stands behind all that was said.
        builder, asked = self._builder, None
        if not self.answers:
            self._first = inputs_on(self._model, builder, [question], [self._images])
            self._visual = find_adapter(self._model).visual_mask(self._first)
            self._cache = DynamicCache(config=self._model.get_decoder().config)
            inputs, prompt = self._first, builder.prompt_of(question, self._images)
        else:
            last, (text, new) = self.answers[-1], builder.further(question)
            inputs = self._behind([*last.input_ids, *builder.ended(last.token_ids), *new])
            prompt, asked = f"{last.prompt}{last.text}{builder.template.end}{text}", len(new)
        visual = pad(self._visual, (0, inputs["input_ids"].shape[1] - self._visual.shape[1]))
        survivors = self._again == "survivors"
        if survivors:
            generation = {**generation, "past_key_values": self._cache}
        if survivors and self.answers:  # the cache has the images
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}

        # 2. A block of its own, or the one of the first question.
        with ExitStack() as block:
            trace = self._trace
            if trace is None:
                how = {"questions": [question], "question_tokens": asked}
                trace = block.enter_context(prune(self._model, self._pruner, **how))
            told = (self._model, builder, inputs, visual, [prompt], trace)
            (found,) = generated(*told, **generation)
            if survivors:
                self._trace = trace
                self._stack.enter_context(block.pop_all())
        self.answers.append(found)
        return found

    def _behind(self, ids: list[int]) -> dict[str, torch.Tensor]:
        """The inputs of a longer prompt about the same images."""
        before, inputs = self._first["input_ids"], dict(self._first)
        for name, value in self._first.items():
            if value.shape == before.shape:  # and of Qwen the kinds of tokens: all text
                inputs[name] = pad(value, (0, len(ids) - before.shape[1]))
        inputs["input_ids"] = before.new_tensor([ids])
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return inputs
