"""From questions and images to what a model takes, and from token ids back to text.

One subclass of `PromptBuilder` per architecture lies in `models/prompts/`. A miniature and the
checkpoint that it is named after share the class; they differ in the template of the conversation
and in the transform of the image.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import BatchFeature

Media = Sequence[Image]  # of one question: none, one image, or the frames of a video in order
Fit = Literal["pad", "crop", "stretch"]


@dataclass(frozen=True)
class Template:
    """How a conversation of one question is written.

    Attributes
    ----------
    before, after : str
        What stands around the question.
    image, video : str or None
        Placeholder and separator ahead of the question; None where the model takes no such input.
    text_only : bool
        Whether a question may come without an image.
    word_mark : str
        What SentencePiece puts before the words of this language model, and before the first one of
        every text; "" where it does not, or where the tokenizer is another one.
    """

    before: str
    after: str
    image: str | None = "<image>\n"
    video: str | None = None
    text_only: bool = True
    word_mark: str = ""

    def lead(self, num_images: int) -> str:
        """Return what stands between `before` and the question.

        Raises
        ------
        ValueError
            The model does not take so many images.
        """
        nothing = "" if self.text_only else None
        lead = self.video if num_images > 1 else self.image if num_images else nothing
        if lead is None:
            kinds = {
                "no image": nothing, "one image": self.image, "the frames of a video": self.video
            }  # fmt: skip
            known = " or ".join(kind for kind, text in kinds.items() if text is not None)
            raise ValueError(f"this model takes {known} with a question, got {num_images} images")
        return lead


@dataclass(frozen=True)
class PromptBuilder(ABC):
    """Turns questions about images into what one architecture takes, and token ids into text.

    Attributes
    ----------
    config
        Of the model.
    tokenizer
        Of the model. Where only `prompt` is needed it may be None.
    template : Template
        How a question is asked.
    fit : str
        How an image lies under the grid of visual tokens: the longer side fits and the rest is
        padded ("pad"), the middle is cut out ("crop"), or both sides fit ("stretch").
    """

    config: Any
    tokenizer: Any
    template: Template
    fit: Fit

    def prompt(self, question: str, num_images: int = 1) -> str:
        """Return the text of a prompt, with one placeholder for the image or video.

        Parameters
        ----------
        question
            Plain text.
        num_images
            None, one, or the frames of a video.

        Raises
        ------
        ValueError
            A question that is empty, no text or text without a UTF-8 form, one with special tokens
            in it, or a number of images that the model does not take.
        """
        if not isinstance(question, str):
            raise ValueError(f"a question must be text, got {question!r}")
        question.encode()  # half a surrogate pair is no text to a tokenizer; raises a ValueError
        if not question.strip():
            raise ValueError("the question is empty; ask something such as 'what color is it ?'")
        if found := self._reserved(question):
            raise ValueError(
                f"the question contains {', '.join(map(repr, found))}, which the tokenizer of this "
                "model reads as a mark of its own (an image, the end of a turn, ...) and not as "
                "text; write it otherwise, say with spaces inside"
            )
        before, lead = self.template.before, self.template.lead(num_images)
        return f"{before}{lead}{question}{self.template.after}"

    def inputs(self, questions: Sequence[str], media: Sequence[Media]) -> BatchFeature:
        """Return what `generate` takes, padded on the left.

        Parameters
        ----------
        questions
            Plain texts.
        media
            For each question its images: none, one, or the frames of a video in order. An image
            in memory of mode RGB is taken as it is, any other as `load_image` reads it.

        Returns
        -------
        BatchFeature
            ``input_ids`` and ``attention_mask`` ``[batch, tokens]`` int64, and the architecture's
            own tensors of pixels, on the CPU in float32. ``.to(device, dtype)`` changes the type
            of the pixels only.

        Raises
        ------
        ValueError
            Different numbers of questions and media, none at all, media that are no lists, that the
            model does not take or that cannot be opened (`ImageError`), a batch to pad without a
            padding token, or what `prompt` refuses.
        """
        if len(questions) != len(media) or not questions:
            raise ValueError(
                f"give the media of each question, got {len(questions)} questions and "
                f"{len(media)} lists of media"
            )
        if odd := [one for one in media if not hasattr(one, "__len__")]:
            raise ValueError(f"each question needs a list of media: [[image]]; got {odd[0]!r}")
        prompts = [self.prompt(q, len(images)) for q, images in zip(questions, media, strict=True)]
        counts, pixels = self._visual(media)
        rows = [
            self._ids(prompt, len(images), count)
            for prompt, images, count in zip(prompts, media, counts, strict=True)
        ]
        return BatchFeature({**pad_batch(self.tokenizer, rows), **pixels})

    def frames(self, images: Media) -> Media:
        """Return those of the frames of a video that the model looks at: all, unless overridden."""
        return images

    def seen(self, images: Media) -> Media:
        """Return the images of a question at the size at which the model sees them.

        `inputs` makes the same of these as of the images: bit for bit where the model's input has
        one size. Where it follows the image's own, they are the images as they are.
        """
        return self.frames(images)

    def decode(self, ids: Tensor) -> list[str]:
        """Return the text of every row ``[batch, tokens]``, without special tokens and stripped."""
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def ids(self, question: str, num_images: int = 1) -> list[int]:
        """Return the token ids of a prompt, one placeholder standing for all visual tokens.

        Raises
        ------
        ValueError
            What `prompt` refuses, or a tokenizer that lacks the placeholder.
        """
        return self._ids(self.prompt(question, num_images), num_images, 1)

    @abstractmethod
    def _visual(self, media: Sequence[Media]) -> tuple[list[int], dict[str, Tensor]]:
        """Number of visual tokens of every sample, and the tensors of all pixels."""

    def _reserved(self, question: str) -> list[str]:
        """Marks of the template and special tokens that would be found in a question."""
        template = self.template
        written = f"{template.before}{template.image}{template.video}{template.after}"
        found = {mark for mark in re.findall(r"<[^<>\s]+>", written) if mark in question}
        if self.tokenizer is not None:
            added = self.tokenizer.added_tokens_decoder.items()
            special = {number: token.content for number, token in added if token.special}
            # Also as the tokenizer sees the text: it may turn capitals into small letters first.
            ids = set(self.tokenizer(question, add_special_tokens=False)["input_ids"])
            ids.discard(self.tokenizer.unk_token_id)
            found |= {name for n, name in special.items() if n in ids or name in question}
        return sorted(found)

    def _ids(self, prompt: str, num_images: int, count: int) -> list[int]:
        """Token ids of a prompt, its placeholder repeated ``count`` times.

        The text before and the text after the placeholder are tokenized on their own, as LLaVA's
        `tokenizer_image_token` does: SentencePiece begins each of them with its word mark.
        """
        if not num_images:
            return self._ids_of_text(prompt)
        token = self.config.video_token_id if num_images > 1 else self.config.image_token_id
        placeholder = self._placeholder(token)
        pieces = prompt.split(placeholder)
        if len(pieces) != 2:
            raise ValueError(
                f"expected the placeholder {placeholder} once in the prompt, found it "
                f"{len(pieces) - 1} times in {prompt!r}; give one image or video a question"
            )
        before, after = map(self._ids_of_text, pieces)
        if after and after[0] == self.tokenizer.bos_token_id:
            after = after[1:]
        return [*before, *[token] * count, *after]

    def _placeholder(self, token: int) -> str:
        """What stands in a prompt for an image or video: the text of its token."""
        added = self.tokenizer.added_tokens_decoder.get(token)
        if added is None:
            raise ValueError(
                f"the tokenizer has no placeholder with the id {token}, which the model's config "
                "names: it must be the model's own"
            )
        return added.content

    def _ids_of_text(self, text: str) -> list[int]:
        """Token ids of a text without placeholders, after that of the beginning of a sequence.

        Where the language model has SentencePiece, it is followed by hand: when transformers puts
        the word mark depends on the files of a tokenizer and on its option ``legacy``.
        """
        mark, backend = self.template.word_mark, self.tokenizer.backend_tokenizer
        if not mark or backend.token_to_id(mark) is None:
            return list(self.tokenizer(text)["input_ids"])
        words = backend.model.tokenize(mark + text.replace(" ", mark))
        return [self.tokenizer.bos_token_id, *(word.id for word in words)]


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
