"""One sample, its prompt text, and the padded batch of token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

Picture = str | Path | Image.Image
Turns = Sequence[tuple[str, str | None]]

# The system sentence of Vicuna 1.1, with which LLaVA-1.5 was trained (conversation "vicuna_v1").
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
QWEN_SYSTEM = "You are a helpful assistant."


@dataclass(frozen=True)
class Sample:
    """What is asked about which picture or video.

    Attributes
    ----------
    turns
        One question, or ``[(question, answer), ..., (question, None)]``.
    image
        Path or PIL image, of any mode.
    video
        Frames in order, each a path or PIL image; exclusive with ``image``.
    fps
        Frames per second of ``video``; only Qwen2.5-VL looks at it.

    Raises
    ------
    ValueError
        If it has an image and a video, no frames, a question without text, or turns that do not
        end with an open question.
    """

    turns: str | Turns
    image: Picture | None = None
    video: Sequence[Picture] | None = None
    fps: float = 2.0

    def __post_init__(self) -> None:
        if self.image is not None and self.video is not None:
            raise ValueError("a sample has an image or a video; got both, give each its own sample")
        if self.video is not None and len(self.video) == 0:
            raise ValueError("the video has no frames; give at least one")
        if self.fps <= 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        turns = self.conversation
        if not turns or turns[-1][1] is not None or any(a is None for _, a in turns[:-1]):
            raise ValueError(
                "turns are (question, answer) pairs, and only the last answer is None; "
                f"got {self.turns!r}"
            )
        if not all(question.strip() for question, _ in turns):
            raise ValueError(f"every turn needs a question; got {self.turns!r}")

    @property
    def conversation(self) -> Turns:
        """The turns as pairs."""
        return [(self.turns, None)] if isinstance(self.turns, str) else list(self.turns)

    @property
    def kind(self) -> str | None:
        """``"image"``, ``"video"``, or ``None`` for a question alone."""
        return "image" if self.image is not None else "video" if self.video is not None else None


def vicuna_prompt(turns: Turns, lead: str, system: str) -> str:
    """Prompt of Vicuna 1.1: an answer ends with ``</s>`` and the next turn follows directly.

    Parameters
    ----------
    turns
        See `Sample`.
    lead
        Placeholder and line break that go ahead of the first question, or "".
    system
        Sentence ahead of all, or "".
    """
    text = f"{system} " if system else ""
    for number, (question, answer) in enumerate(turns):
        text += f"USER: {lead if number == 0 else ''}{question} ASSISTANT:"
        text += "" if answer is None else f" {answer}</s>"
    return text


def qwen_prompt(turns: Turns, lead: str, system: str) -> str:
    """Prompt of the Qwen-VL chat models: marked turns of system, user and assistant.

    Parameters
    ----------
    turns, lead, system
        See `vicuna_prompt`. With ``system=""`` there is no system turn.
    """

    def turn(role: str, text: str) -> str:
        return f"<|im_start|>{role}\n{text}<|im_end|>\n"

    prompt = turn("system", system) if system else ""
    for number, (question, answer) in enumerate(turns):
        prompt += turn("user", (lead if number == 0 else "") + question)
        prompt += "<|im_start|>assistant\n" if answer is None else turn("assistant", answer)
    return prompt


def expand(
    tokenizer: Callable[[str], Any], text: str, placeholder: int | None, count: int
) -> list[int]:
    """Token ids of a prompt, its one placeholder repeated ``count`` times.

    Parameters
    ----------
    tokenizer
        Of the model.
    text
        The prompt.
    placeholder
        Token id; ``None`` for a prompt without an image.
    count
        Visual tokens of the image or video.

    Raises
    ------
    ValueError
        If the placeholder is not exactly once in the ids.
    """
    ids = list(tokenizer(text)["input_ids"])
    if placeholder is None:
        return ids
    if ids.count(placeholder) != 1:
        raise ValueError(
            f"expected the placeholder id {placeholder} once in the prompt, found it "
            f"{ids.count(placeholder)} times: the question must not contain the placeholder, and "
            "the tokenizer must be the model's own"
        )
    where = ids.index(placeholder)
    return ids[:where] + [placeholder] * count + ids[where + 1 :]


def pad_batch(tokenizer: Any, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask`` ``[batch, tokens]`` int64, padded on the left.

    Raises
    ------
    ValueError
        If padding is needed and the tokenizer has no padding token.
    """
    longest = max(map(len, rows))
    pad = tokenizer.pad_token_id
    if pad is None:
        if any(len(row) < longest for row in rows):
            raise ValueError(
                "prompts of different length need padding and the tokenizer has no padding token; "
                "set tokenizer.pad_token, e.g. to its unk_token"
            )
        pad = 0
    ids = [[pad] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
