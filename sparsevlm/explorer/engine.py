"""Ask a model: the dense and the pruned answer, and what became of every visual token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sparsevlm.evaluation.profiles import Profile
from sparsevlm.explorer.adjust import Adjusted
from sparsevlm.explorer.models import Loaded, load_model
from sparsevlm.explorer.recording import Watched
from sparsevlm.explorer.run import AnswerToken, Ask, Model, Run
from sparsevlm.explorer.samples import Picture
from sparsevlm.explorer.view.geometry import Geometry

if TYPE_CHECKING:
    from torch import Tensor

    from sparsevlm.core.interface import StagedPruner

# Methods whose settings have the option `positions`.


class Engine:
    """A loaded model that answers.

    Parameters
    ----------
    loaded
        From `models.load_model`.

    Difference
    ----------
    SparseVLM+ averages 14 heads of any model, half of those of Qwen2-VL-7B; in a model with fewer
    it averages half of them here. With M-RoPE every method keeps the original positions.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._dense: dict = {}

    @classmethod
    def of(cls, profile: Profile, model: str = "") -> Engine:
        """Load the model of a profile, or another checkpoint; see `models.load_model`."""
        return cls(load_model(profile, model))

    @property
    def model(self) -> Model:
        """For records."""
        return self.loaded.description

    def ask(self, picture: Picture, ask: Ask) -> tuple[Run, Geometry]:
        """Answer a question with the dense model and under a method.

        Parameters
        ----------
        picture
            As `Loaded.seen` gives it.
        ask
            Question, method, and the user's changes.

        Returns
        -------
        Run, Geometry
            What came of it, and where the visual tokens lie.

        Raises
        ------
        ValueError
            For an empty question, an impossible budget, or changes that cannot be made.
        """
        if not ask.question.strip():
            raise ValueError("the question is empty; type one, or choose one of the suggestions")
        inputs = self.loaded.inputs(picture, ask.question)
        key = (id(picture), ask.question)
        if key not in self._dense:
            # The picture is kept so that its id stays its own.
            self._dense = {key: (picture, self._greedy(inputs, _dense())[0])}
        dense = self._dense[key][1]
        watched = Watched(self._pruner(ask, inputs), self.model.sizes.layers)
        pruned, sample = self._greedy(inputs, watched)
        words, num_text = self._words(inputs)
        sample = watched.own_cuts(sample)
        run = Run(
            ask,
            watched.to_json(),
            words,
            tuple(watched.seen["relevance"]),
            sample,
            num_text,
            self._compared(dense, pruned, inputs, watched.inner),
            self._compared(pruned, dense, inputs, _dense()),
            watched.attention(sample.stages[0].raters if sample.stages else []),
        )
        grid = sample.grid or (1, sample.num_visual)
        return run, self.loaded.place(picture, grid, sample.num_visual)

    def unknown_words(self, question: str) -> list[str]:
        """Words of a question that the tokenizer does not know, for a word-level vocabulary."""
        unknown, tokenizer = self.loaded.tokenizer.unk_token_id, self.loaded.tokenizer
        if unknown is None:
            return []
        words = question.lower().split()
        return [word for word in words if unknown in tokenizer(word)["input_ids"]]

    def _pruner(self, ask: Ask, inputs: dict) -> Adjusted:
        sizes = replace(self.model.sizes, num_visual=int(self._visual(inputs).sum()))
        inner = sizes.pruner(ask.method, None if ask.method == "dense" else ask.tokens)
        return Adjusted(inner, ask.keep, ask.drop, ask.raters)

    def _visual(self, inputs: dict) -> Tensor:
        """True at the visual tokens, ``[tokens]``."""
        from sparsevlm.runtime.adapter import find_adapter

        return find_adapter(self.loaded.model).visual_mask(inputs)[0]

    def _words(self, inputs: dict) -> tuple[tuple[str, ...], int]:
        """The text after the image, and the number of all text tokens."""
        visual = self._visual(inputs)
        last = int(visual.nonzero().max())
        ids = inputs["input_ids"][0, last + 1 :].tolist()
        words = self.loaded.tokenizer.convert_ids_to_tokens(ids)
        return tuple(map(readable, words)), int((~visual).sum())

    def _greedy(self, inputs: dict, pruner: object, follow: Sequence[int] | None = None) -> tuple:
        """Greedy answer as (ids, texts, probabilities), or those of a given answer; the trace."""
        import torch
        from transformers import LogitsProcessorList

        from sparsevlm.runtime.prune import prune

        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        length = len(follow) if follow is not None else self.loaded.max_new_tokens
        processors = LogitsProcessorList([_Follow(follow)] if follow is not None else [])
        start = inputs["input_ids"].shape[1]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        with torch.inference_mode(), prune(model, pruner) as trace:
            output = model.generate(
                **inputs, max_new_tokens=length, do_sample=False, num_beams=1, temperature=None,
                top_p=None, top_k=None, pad_token_id=pad, logits_processor=processors,
                output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
        ids = output.sequences[0, start:].tolist()
        found = [step[0].float().softmax(-1) for step in output.logits]
        probabilities = [float(step[token]) for step, token in zip(found, ids, strict=True)]
        return (ids, probabilities), trace.samples[0]

    def _compared(
        self, own: tuple, other: tuple, inputs: dict, other_pruner: object
    ) -> tuple[AnswerToken, ...]:
        """An answer with what the other model gives to each of its tokens."""
        ids, probabilities = own
        shared = ids == other[0]
        others = other[1] if shared else self._greedy(inputs, other_pruner, ids)[0][1]
        tokenizer = self.loaded.tokenizer
        rows = zip(ids, probabilities, others, strict=True)
        special = set(tokenizer.all_special_ids)
        return tuple(
            AnswerToken(tokenizer.decode([token]).strip(), own_p, other_p)
            for token, own_p, other_p in rows
            if token not in special
        )


class _Follow:
    """A logits processor that dictates an answer; the logits it is given stay on record."""

    def __init__(self, answer: Sequence[int]) -> None:
        self.answer, self.step = answer, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        import torch

        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.answer[self.step]] = 0
        self.step += 1
        return forced


def _dense() -> StagedPruner:
    from sparsevlm.core.sparsevlm import Dense

    return Dense()


def readable(token: str) -> str:
    """A token of a sentence-piece or byte-level tokenizer as a reader would write it."""
    text = token.replace("▁", " ").replace("Ġ", " ").replace("<0x0A>", "⏎")
    text = text.replace("Ċ", "⏎").replace("\n", "⏎")
    return text.strip() or "␣"
