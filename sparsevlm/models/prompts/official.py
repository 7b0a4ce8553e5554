"""Are the prompts those of the official scripts, token for token?

``official_ids.json`` holds a prompt or more of every benchmark for the models that the paper asks
it of, and the ids that the scripts of LLaVA, Video-LLaVA and MGM and the chat template of Qwen2-VL
give it. They were derived apart from this package (`tests/official_prompts.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import zip_longest
from typing import Any

from sparsevlm.models.prompt_builder import PromptBuilder

VISUAL = -200  # stands for all visual tokens of a prompt in the file


def prompts_of(family: str) -> list[dict[str, Any]]:
    """Return the recorded prompts of a family: benchmark, images, question, ids.

    LLaVA-NeXT around a Vicuna is asked by the same scripts as LLaVA-1.5.
    """
    family = "llava" if family == "llava_next" else family
    text = files(__package__).joinpath("official_ids.json").read_text(encoding="utf-8")
    return [prompt for prompt in json.loads(text) if prompt["family"] == family]


def differences(family: str, builder: PromptBuilder) -> Iterator[str]:
    """Yield the first other token of the prompts that the builder makes otherwise, in words.

    The builder has the user's own tokenizer. The visual tokens count as one.

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
                yield (
                    f"token {index} of the prompt of {prompt['benchmark']} with "
                    f"{prompt['question']!r} is {shown(ours)}, officially {shown(official)}"
                )
                break
