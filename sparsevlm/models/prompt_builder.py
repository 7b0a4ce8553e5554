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
from torch import Tensor
from transformers import BatchFeature

from sparsevlm.models.template import IMAGE, Images, Media, Template, is_video

Fit = Literal["pad", "crop", "stretch"]


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

    def prompt(self, question: str, num_images: int = 1, several: bool = False) -> str:
        """Return the text of a prompt, with one placeholder for each image, or for the video.

        Parameters
        ----------
        question
            Plain text.
        num_images
            None, one, or the frames of a video.
        several
            Whether the images are `Images`, and ``<image>`` in the question is the place of one.

        Raises
        ------
        ValueError
            A question that is empty, no text or text without a UTF-8 form, one with special tokens
            in it, a number of images that the model does not take, or has no places for.
        """
        parts = question.split(IMAGE) if several and isinstance(question, str) else [question]
        self._check(" ".join(parts) if len(parts) > 1 else question)
        lead = self.template.lead(num_images, several)
        if len(parts) > 1:
            if len(parts) != num_images + 1:
                raise ValueError(
                    f"the question says {IMAGE} {len(parts) - 1} times and comes with {num_images} "
                    f"images: write {IMAGE} once for each, or leave it out, and they stand in front"
                )
            lead, question = "", self.template.mark.join(parts)
        return f"{self.template.before}{lead}{question}{self.template.after}"

    def prompt_of(self, question: str, images: Media) -> str:
        """Return the `prompt` of a question about these images."""
        return self.prompt(question, len(images), isinstance(images, Images))

    def further(self, question: str) -> tuple[str, list[int]]:
        """Return the text of a further question behind the end of an answer, and its token ids.

        Raises
        ------
        ValueError
            As `prompt`.
        """
        self._check(question)
        text = f"{self.template.again}{question}{self.template.after}"
        return text, self._without_beginning(self._ids_of_text(text))

    def ended(self, answer: Sequence[int]) -> list[int]:
        """Return the ids of an answer as a conversation goes on behind it: with its one end."""
        end, ids = self.tokenizer.convert_tokens_to_ids(self.template.end), list(answer)
        while ids and ids[-1] in (end, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id):
            ids.pop()
        return [*ids, end]

    def inputs(self, questions: Sequence[str], media: Sequence[Media]) -> BatchFeature:
        """Return what `generate` takes, padded on the left.

        Parameters
        ----------
        questions
            Plain texts.
        media
            For each question its images: none, one, the frames of a video in order, or several
            as `Images`. One in memory of mode RGB is taken as it is, any other as `load_image`
            reads it.

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
        prompts = list(map(self.prompt_of, questions, media))
        counts, pixels = self._visual(media)
        rows = [
            self._ids(prompt, "video" if is_video(images) else "image", count)
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

    def ids(self, question: str, num_images: int = 1, several: bool = False) -> list[int]:
        """Return the token ids of a prompt, with one placeholder for each image, or for the video.

        Raises
        ------
        ValueError
            What `prompt` refuses, or a tokenizer that lacks the placeholder.
        """
        word = "video" if num_images > 1 and not several else "image"
        number = num_images if several else min(num_images, 1)
        return self._ids(self.prompt(question, num_images, several), word, [1] * number)

    @abstractmethod
    def _visual(self, media: Sequence[Media]) -> tuple[list[list[int]], dict[str, Tensor]]:
        """Visual tokens of every image, or of the video, of every sample; all pixels."""

    def _check(self, question: object) -> None:
        """Refuse what is no question; see `prompt`."""
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

    def _ids(self, prompt: str, word: str, counts: Sequence[int]) -> list[int]:
        """Token ids of a prompt, each placeholder of a ``word`` repeated as often as it counts.

        The texts before, between and after placeholders are tokenized on their own, as LLaVA's
        `tokenizer_image_token` does: SentencePiece begins each of them with its word mark.
        """
        if not counts:
            return self._ids_of_text(prompt)
        token = getattr(self.config, f"{word}_token_id")
        placeholder = self._placeholder(token)
        first, *pieces = prompt.split(placeholder)
        if len(pieces) != len(counts):
            raise ValueError(
                f"expected the placeholder {placeholder} {len(counts)} times in the prompt, found "
                f"it {len(pieces)} times in {prompt!r}; a question has one for each image or video"
            )
        ids = self._ids_of_text(first)
        for count, piece in zip(counts, map(self._ids_of_text, pieces), strict=True):
            ids += [*[token] * count, *self._without_beginning(piece)]
        return ids

    def _without_beginning(self, ids: list[int]) -> list[int]:
        return ids[1:] if ids and ids[0] == self.tokenizer.bos_token_id else ids

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
