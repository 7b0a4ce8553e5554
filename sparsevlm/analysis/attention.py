"""Where every word of the text looks in the dense model, by layer and head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sparsevlm.analysis.examples import Example
from sparsevlm.analysis.observe import AskedExample, ask_example
from sparsevlm.core.raters import select_raters, text_relevance
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.answer import inputs_on
from sparsevlm.evaluation.loaded import LoadedModel


@dataclass(frozen=True)
class AttentionMaps(AskedExample):
    """Where the dense model looked; `answer` is its first token, `rated` are words that would rate.

    Attributes
    ----------
    rows : ndarray
        Softmax attention of the text tokens after the image, ``[layers, heads, num_text,
        tokens]``; columns are those before the image, the visual tokens, the text.
    """

    relevance: np.ndarray
    rated: tuple[int, ...]
    rows: np.ndarray

    @property
    def raters(self) -> list[int]:
        """Words that would rate."""
        return list(self.rated)

    @property
    def visual(self) -> np.ndarray:
        """The columns of the visual tokens, ``[layers, heads, num_text, num_visual]``."""
        return self.rows[..., self.answer.num_before : -len(self.words)]

    def positions(self, words: str) -> list[int]:
        """Return the positions of the named words, each as often as it is there.

        A word that the tokenizer splits stands for all of its pieces.

        Raises
        ------
        ValueError
            A word that is not in the text; the message lists those that are.
        """
        found: set[int] = set()
        for word in words.split():
            spans = [
                range(start, end)
                for start in range(len(self.words))
                for end in range(start + 1, len(self.words) + 1)
                if "".join(self.words[start:end]).casefold() == word.casefold()
            ]
            if not spans:
                raise ValueError(f"no word {word!r} in the text; known: {', '.join(self.words)}")
            found.update(*spans)
        return sorted(found)

    def layers(self, chosen: list[int]) -> list[int]:
        """Return the chosen layers; all for none.

        Raises
        ------
        ValueError
            A layer that the model does not have.
        """
        count = len(self.rows)
        if wrong := [layer for layer in chosen if not 0 <= layer < count]:
            raise ValueError(f"layers must be from 0 to {count - 1}, got {wrong}")
        return list(chosen) or list(range(count))


def look(loaded: LoadedModel, example: Example) -> AttentionMaps:
    """Ask the dense model and keep the attention of the text in every layer and head.

    The kernel is "eager" for one forward pass, because no other hands out its weights. Errors as
    in `ask_example`.
    """
    asked = ask_example(loaded, example, Dense(), max_new_tokens=1)
    model = loaded.model
    inputs = inputs_on(model, loaded.builder, [example.question], [[example.image]])
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            output = model(**inputs, output_attentions=True, output_hidden_states=True)
    finally:
        model.set_attn_implementation(usual)
    text = slice(-len(asked.words), None)
    rows = [layer[0, :, text].float().cpu() for layer in output.attentions]
    embedded = output.hidden_states[0][0]
    visual, words = embedded[asked.answer.num_before : -len(asked.words)], embedded[text]
    return AttentionMaps(
        **vars(asked),
        relevance=text_relevance(visual, words).cpu().numpy(),
        rated=tuple(select_raters(visual, words).tolist()),
        rows=torch.stack(rows).numpy(),
    )
