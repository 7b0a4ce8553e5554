"""Ask a model: the dense and the pruned answer, and what became of every visual token."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from sparsevlm.core.interface import Pruner
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.answer import Answer
from sparsevlm.evaluation.loaded import LoadedModel, load_model
from sparsevlm.evaluation.profiles import Profile
from sparsevlm.evaluation.recording import RecordingPruner
from sparsevlm.explorer.adjust import AdjustedPruner
from sparsevlm.explorer.attention import WordAttention
from sparsevlm.explorer.exploration import AnswerToken, Exploration, ModelInfo, Query
from sparsevlm.explorer.geometry import Geometry
from sparsevlm.explorer.images import ImageInput

MAX_NEW_TOKENS = 24  # where the profile sets no limit


class Engine:
    """A loaded model that answers."""

    def __init__(self, loaded: LoadedModel, max_new_tokens: int = MAX_NEW_TOKENS) -> None:
        self.loaded, self.max_new_tokens = loaded, max_new_tokens
        # A folder of this machine is no name for a record that is shared.
        name = Path(loaded.name).name if Path(loaded.name).is_dir() else loaded.name
        size = torch.finfo(loaded.model.dtype).bits // 8
        self.info = ModelInfo(name, loaded.revision, loaded.marker, loaded.sizes, size)
        self._last_dense: tuple[ImageInput, str, Answer] | None = None

    @classmethod
    def of(cls, profile: Profile) -> Engine:
        """Load the model of a profile; errors as in `load_model`."""
        return cls(load_model(profile), profile.max_new_tokens or MAX_NEW_TOKENS)

    def explore(self, image: ImageInput, query: Query) -> tuple[Exploration, Geometry]:
        """Answer a question about an image (as `seen` gives it), dense and under a method.

        Raises
        ------
        ValueError
            For an empty question, an image that the model does not take, an impossible budget, or
            changes that cannot be made.
        """
        question = self._spelled(query.question)

        # 1. The dense model answers, and tells how many visual tokens this image has.
        dense = self._dense(image, question)

        # 2. The method answers with the user's changes; every layer is looked into.
        sizes = replace(self.loaded.sizes, num_visual=dense.trace.num_visual)
        method = sizes.pruner(query.method, None if query.method == "dense" else query.tokens)
        adjusted = AdjustedPruner(method, query.keep, query.drop, query.raters)
        recorder = RecordingPruner(adjusted, range(sizes.layers - 1))
        pruned = self._ask(image, question, recorder)
        recording, trace = recorder.samples[0], recorder.own_stages(pruned.trace)

        # 3. Each model says what it thinks of the other's answer.
        found = Exploration(
            query,
            recorder.to_json(),
            pruned.words,
            tuple(recording.relevance.tolist()),
            trace,
            pruned.num_text,
            self._compared(image, question, dense, pruned, adjusted),
            self._compared(image, question, pruned, dense, Dense()),
            WordAttention.of(recording, trace.stages[0].raters if trace.stages else ()),
        )
        if trace.grid is None:
            raise ValueError(
                f"{self.loaded.name} sees the image in several tiles, and the explorer draws one "
                "grid; choose a model that sees one view of an image"
            )
        fit = self.loaded.builder.fit
        return found, Geometry.of(fit, image.size, trace.grid, trace.num_visual)

    def seen(self, image: ImageInput) -> ImageInput:
        """The frames of a video that the model looks at, and how it sees them.

        Raises
        ------
        ImageError
            For an image that it cannot see.
        """
        if image.asked:
            return image
        builder = self.loaded.builder
        frames = tuple(builder.frames(image.frames))
        return replace(image, frames=frames, asked=tuple(builder.seen(frames)))

    def unknown_words(self, question: str) -> list[str]:
        """Words of a question that a word-level vocabulary lacks, each once."""
        return [w for w in dict.fromkeys(self._spelled(question).split()) if self._is_unknown(w)]

    def known_words(self) -> list[str]:
        """Words and letters of a word-level vocabulary, in the order in which it has them."""
        tokenizer = self.loaded.builder.tokenizer
        words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
        return [word for word in words if word.isalnum() and (len(word) == 1 or word.islower())]

    def _spelled(self, question: str) -> str:
        """The question as a word-level vocabulary has it; others take every word as it is typed.

        Punctuation is split off its word, and left out where the vocabulary has none of its kind.
        A word that is unknown is tried in lower case and in the singular.
        """
        if not self._is_unknown(question):
            return question
        parts = re.findall(r"'s\b|\w+|[^\w\s]", question.replace("’", "'"))
        words = [self._known_form(part) for part in parts]
        if words[0] == "A":
            words[0] = "a"  # the article, not the option of this name
        return " ".join(word for word in words if word[0].isalnum() or not self._is_unknown(word))

    def _known_form(self, word: str) -> str:
        lower = word.lower()
        forms = [word, lower, {"'s": "is", "colour": "color", "colours": "color"}.get(lower, lower)]
        forms += [lower[: -len(end)] for end in ("s", "es") if lower.endswith(end)]
        return next((form for form in forms if form and not self._is_unknown(form)), word)

    def _is_unknown(self, word: str) -> bool:
        tokenizer = self.loaded.builder.tokenizer
        unknown = tokenizer.unk_token_id
        return unknown is not None and unknown in tokenizer(word)["input_ids"]

    def _dense(self, image: ImageInput, question: str) -> Answer:
        """The dense model's answer; the last one is kept, because the method changes most often."""
        last = self._last_dense
        if last is None or last[0] is not image or last[1] != question:
            last = image, question, self._ask(image, question, Dense())
            self._last_dense = last
        return last[2]

    def _ask(self, image: ImageInput, question: str, pruner: Pruner, **how: object) -> Answer:
        how = {"max_new_tokens": self.max_new_tokens, "probabilities": True, **how}
        return self.loaded.ask(question, image.asked or image.frames, pruner, **how)

    def _compared(
        self, image: ImageInput, question: str, own: Answer, other: Answer, other_pruner: Pruner
    ) -> tuple[AnswerToken, ...]:
        """An answer with what the other model gives to each of its tokens."""
        if own.token_ids != other.token_ids:
            other = self._ask(image, question, other_pruner, forced=own.token_ids)
        tokenizer = self.loaded.builder.tokenizer
        rows = zip(own.token_ids, own.probabilities, other.probabilities, strict=True)
        return tuple(
            AnswerToken(tokenizer.decode([token]).strip(), own_p, other_p)
            for token, own_p, other_p in rows
            if token not in tokenizer.all_special_ids
        )
