"""The tour: one image, one question, and a sentence for every intermediate result.

`measure` runs the model. The notebook computes each step again with `sparsevlm.core` from what
enters it; `say` puts into words what came out (`tour.md.j2`) and compares it with the model's run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, Markdown
from torch import Tensor

from sparsevlm.analysis.examples import choose_examples, examples_of
from sparsevlm.analysis.observe import MAX_NEW_TOKENS, AskedExample, RecordedExample, record
from sparsevlm.analysis.panels import RATERS
from sparsevlm.analysis.report import templates
from sparsevlm.analysis.survivors import rgb
from sparsevlm.core.sparsevlm import SparseVLM
from sparsevlm.evaluation.conversation import Conversation
from sparsevlm.evaluation.loaded import LoadedModel, load_model
from sparsevlm.evaluation.profiles import Profile, as_profile
from sparsevlm.models.sizes import ModelSizes, kv_bytes, prefill_flops
from sparsevlm.paper.figures import figure_2, figure_3

AGREES = 0.99  # of the tokens: in half precision rounding may swap some of equal score
NAMED = 6  # words that a sentence names


@dataclass(frozen=True)
class TourData:
    """One question under SparseVLM at a budget, with the inputs of its first stage.

    `about` is what the reader has to know of the image.
    """

    about: str
    run: RecordedExample
    pruner: SparseVLM
    tokens: int
    sizes: ModelSizes

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the method is given: embeddings, and what the layer before the first stage made.

        Returns
        -------
        visual, text
            At the input of layer 0, ``[visual tokens, hidden]`` and ``[words, hidden]``.
        attention, hidden
            Of the words to the picture, ``[heads, words, visual tokens]``; of the picture,
            ``[visual tokens, hidden]``.
        """
        seen, first = self.run.recording, self.run.stages[0]
        return tuple(map(torch.from_numpy, (seen.visual, seen.text, first.rows, first.hidden)))

    @property
    def keep(self) -> int:
        """How many tokens the budget leaves at the first stage, merged ones not counted."""
        return self.pruner.keep_at(self.run.stages[0].layer)

    def table(self) -> pd.DataFrame:
        """Every visual token before the first stage, see `figure_2.table`."""
        return figure_2.table(figure_2.Figure2Data(self.about, self.run, 0))

    def listed(self, places: Sequence[int]) -> str:
        """Words after the picture, the first `NAMED` of them, for a sentence."""
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        return ", ".join(f"“{plain(self.run.words[i])}”" for i in places[:NAMED]) + more

    def costs(self, pruned: AskedExample) -> list[float]:
        """Operations and KV cache of the prefill over those of the dense model, text included."""
        text = pruned.answer.num_text
        less = [n + text for n in pruned.sample.tokens_in]
        full = [pruned.sample.num_visual + text] * len(less)
        return [cost(less, self.sizes) / cost(full, self.sizes)
                for cost in (prefill_flops, kv_bytes)]  # fmt: skip


def measure(
    profile: Profile | str, tokens: int = 64, image: str = "", question: str = ""
) -> TourData:
    """Ask one question under SparseVLM and keep what every stage saw.

    `image` and `question` are the user's own, see `choose_examples`.
    """
    loaded = load_model(as_profile(profile))
    examples = examples_of(loaded)
    (example,) = choose_examples(examples, figure_3.ASKED[:1], image, question)
    run = record(loaded, example, tokens)
    pruner = loaded.sizes.pruner("sparsevlm", tokens)
    return TourData(examples.about([example]), run, pruner, tokens, loaded.sizes)


def converse(loaded: LoadedModel, data: TourData, image: str = "") -> list[AskedExample]:
    """Ask the question, then the shortest other known one about its picture, in a conversation.

    `image` is the user's own, about which no other one may be known: then there is one answer.
    """
    run, asked = data.run, []
    known = examples_of(loaded).of_image(image or run.example.name)
    others = [one for one in known if one.question not in ("", run.example.question)]
    with Conversation(loaded.model, loaded.builder, data.pruner, [run.example.image]) as chat:
        for example in (run.example, *sorted(others, key=lambda one: len(one.question))[:1]):
            found = chat.ask(example.question, max_new_tokens=MAX_NEW_TOKENS)
            asked.append(AskedExample(example, found, run.image, range(len(found.words))))
    return asked


def say(step: str, data: TourData, *returned: object) -> Markdown:
    """Put into words what a step returned: a macro of `tour.md.j2`.

    Raises
    ------
    AssertionError
        The model's own run has something else: the page does not show what the model does.
    """
    made = templates(Path(__file__).parent)
    made.filters |= {"percent": percent, "plain": plain}
    made.globals |= {"same": same, "close": close, "members": members}
    return Markdown(getattr(made.get_template("tour.md.j2").module, step)(data, *returned))


def shaded_words(data: TourData, relevance: Tensor, rating: Tensor) -> HTML:
    """The words after the picture on their relevance; raters are framed, the prompt's own pale."""
    boxes, most = [], float(relevance.max())
    for place, (word, value) in enumerate(zip(data.run.words, relevance.tolist(), strict=True)):
        own = "" if place in data.run.asked else "; font-style:italic; opacity:0.7"
        tint = ",".join(f"{255 - (255 - part) * 0.75 * value / most:.0f}" for part in rgb(RATERS))
        boxes.append(
            '<span style="display:inline-block; text-align:center; margin:3px; padding:3px 8px; '
            f"border-radius:5px; border:2px solid {RATERS if place in rating else 'transparent'}; "
            f'background:rgb({tint}); color:#111{own}"><b>{plain(word)}</b><br>'
            f'<span style="font-size:12px">{percent(value)}</span></span>'
        )
    style = "font:18px sans-serif; line-height:1.35; max-width:900px"
    return HTML(f'<div class="tex2jax_ignore" style="{style}">{"".join(boxes)}</div>')


def members(tokens: Tensor, labels: Tensor) -> list[list[int]]:
    """The tokens of every group, ascending."""
    return [sorted(tokens[labels == group].tolist()) for group in range(int(labels.max()) + 1)]


def same(here: Sequence, there: Sequence, least: float = AGREES) -> str:
    """Say how many of the model's own choices are the same here; fewer than `least` is an error."""
    share = sum(one in here for one in there) / max(1, len(there))
    assert share >= least, f"only {percent(share)} is the same in the model's own run"
    return _tick("" if share == 1 else f"{100 * share:.1f} % ")


def close(here: Tensor, there: Sequence[float]) -> str:
    """Say that the model's own scores are these, up to the rounding of half precision."""
    share = np.isclose(here.numpy(), there, rtol=0.02, atol=1e-6).mean()
    assert share >= AGREES, f"only {percent(share)} of the scores are the model's own"
    return _tick("")


def _tick(share: str) -> str:
    return f"**✓ {share}the same in the model's own run.**"


def percent(share: float) -> str:
    """Write a share with sensible digits: "43 %", "6.2 %", "0.031 %"."""
    value = 100 * float(share)
    if 0 < value < 0.01:
        return "&lt; 0.01 %"
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.2g} %"


def plain(text: str) -> str:
    """Text that is neither HTML nor Markdown nor a formula."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text) or "nothing"
