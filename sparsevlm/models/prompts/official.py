"""Are the prompts those of the official scripts, token for token?

``official_ids.json`` holds a prompt or more of every benchmark for the models that the paper asks
it of, and the ids that the scripts of LLaVA, Video-LLaVA and MGM and the chat template of Qwen2-VL
give it. They were derived apart from this package (`tests/official_prompts.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import zip_longest
from typing import Any

from sparsevlm.models.prompt_builder import PromptBuilder

VISUAL = -200  # stands for all visual tokens of a prompt in the file


@dataclass(frozen=True)
class PromptDifference:
    """The first token in which a prompt differs from the official one.

    Attributes
    ----------
    benchmark, question : str
        Which prompt.
    index : int
        Of the token; the visual tokens count as one.
    ours, official : str
        The tokens, by id and text; "the end" after the last one.
    """

    benchmark: str
    question: str
    index: int
    ours: str
    official: str

    def __str__(self) -> str:
        return (
            f"token {self.index} of the prompt of {self.benchmark} with {self.question!r} is "
            f"{self.ours}, officially {self.official}"
        )


def prompts_of(family: str) -> list[dict[str, Any]]:
    """Return the recorded prompts of a family: benchmark, images, question, ids."""
    text = files(__package__).joinpath("official_ids.json").read_text(encoding="utf-8")
    return [prompt for prompt in json.loads(text) if prompt["family"] == family]


def differences(family: str, builder: PromptBuilder) -> Iterator[PromptDifference]:
    """Yield the recorded prompts that the builder, with the user's own tokenizer, makes otherwise.

    Raises
    ------
    ValueError
        The builder makes no prompt, for want of a placeholder.
    """
    config, tokenizer = builder.config, builder.tokenizer
    visual = {config.image_token_id, getattr(config, "video_token_id", None)}

    def shown(token: int | None) -> str:
        if token is None or token == VISUAL:
            return "the end" if token is None else "the picture"
        return f"{token} ({tokenizer.convert_ids_to_tokens(token)!r})"

    for prompt in prompts_of(family):
        ids = builder.ids(prompt["question"], prompt["images"])
        found = [VISUAL if token in visual else token for token in ids]
        for index, (ours, official) in enumerate(zip_longest(found, prompt["ids"])):
            if ours != official:
                yield PromptDifference(
                    prompt["benchmark"], prompt["question"], index, shown(ours), shown(official)
                )
                break
