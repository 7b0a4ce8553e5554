"""From pictures and questions to what a checkpoint takes, as the paper's scripts asked it.

LLaVA-1.5 and Mini-Gemini: prompt "vicuna_v1" with its system sentence, the picture padded to a
square with CLIP's mean colour. Video-LLaVA: prompt "llava_v1". Qwen2-VL: its chat template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from torch import Tensor
from transformers import BatchFeature

from sparsevlm.models.inputs import Sample, llava_inputs, qwen_vl_inputs, video_llava_inputs
from sparsevlm.models.inputs.samples import QWEN_SYSTEM, VICUNA_SYSTEM, qwen_prompt, vicuna_prompt
from sparsevlm.models.mini_gemini import prepare
from sparsevlm.models.mini_gemini.processing import prompt as mini_gemini_prompt

# Conversation "llava_v1", with which Video-LLaVA was trained and evaluated: a human, not a user.
LLAVA_V1_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
# The mean numbers of visual tokens that the paper's Table 2 prints (1311 to 1326) are out of reach
# with limits of 4 to 1280 (`qwen_vl_inputs`) and far above what pictures of COCO give without a
# lower one; they fit these, the ones of this model in VLMEvalKit (inferred; the paper says "the
# original settings").
QWEN_TOKENS = (1280, 16384)
IMAGE_AT = 35  # where LLaVA-1.5's own scripts see the first visual token

Media = Sequence[Image]


@dataclass(frozen=True)
class Asker:
    """Makes the inputs of one checkpoint, and text of what it answers.

    Attributes
    ----------
    family : str
        Key of `ASKERS`.
    config
        Of the model.
    tokenizer
        Of the model.
    """

    family: str
    config: Any
    tokenizer: Any

    def prompt(self, question: str, media: int = 1) -> str:
        """Return the text of a prompt, with one placeholder for the picture or video.

        Parameters
        ----------
        question
            Plain text.
        media
            Number of pictures: none, one, or the frames of a video.
        """
        return ASKERS[self.family].prompt(self, question, media)

    def inputs(self, questions: Sequence[str], media: Sequence[Media]) -> BatchFeature:
        """Return what `generate` takes, padded on the left.

        Parameters
        ----------
        questions
            Plain texts.
        media
            For each question its pictures: none, one, or the frames of a video in order.

        Returns
        -------
        BatchFeature
            On the CPU in float32; ``.to(device, dtype)`` changes the type of the pixels only.

        Raises
        ------
        ValueError
            For different numbers of questions and media, a placeholder in a question, or media
            that the model does not take.
        """
        if len(questions) != len(media):
            raise ValueError(
                f"give the media of each question, got {len(questions)} questions and "
                f"{len(media)} lists of media"
            )
        return BatchFeature(ASKERS[self.family].inputs(self, questions, media))

    def batch_decode(self, ids: Tensor, skip_special_tokens: bool = True) -> list[str]:
        """Return the text of every row ``[batch, tokens]``."""
        return self.tokenizer.batch_decode(ids, skip_special_tokens=skip_special_tokens)


@dataclass(frozen=True)
class _Kind:
    prompt: Callable[[Asker, str, int], str]
    inputs: Callable[[Asker, Sequence[str], Sequence[Media]], dict]


def _samples(questions: Sequence[str], media: Sequence[Media]) -> list[Sample]:
    return [_sample(q, m) for q, m in zip(questions, media, strict=True)]


def _sample(question: str, pictures: Media) -> Sample:
    if len(pictures) > 1:
        return Sample(question, video=pictures)
    return Sample(question, image=pictures[0] if pictures else None)


def _lead(media: int, image: str, video: str) -> str:
    return "" if media == 0 else image if media == 1 else video


def _llava_prompt(asker: Asker, question: str, media: int) -> str:
    return vicuna_prompt([(question, None)], _lead(media, "<image>\n", ""), VICUNA_SYSTEM)


def _llava(asker: Asker, questions: Sequence[str], media: Sequence[Media]) -> dict:
    return llava_inputs(asker.config, asker.tokenizer, _samples(questions, media))


def _video_llava_prompt(asker: Asker, question: str, media: int) -> str:
    lead = _lead(media, "<image>\n", "<video>\n")
    return vicuna_prompt([(question, None)], lead, LLAVA_V1_SYSTEM)


def _video_llava(asker: Asker, questions: Sequence[str], media: Sequence[Media]) -> dict:
    vision = asker.config.vision_config
    of_frame = (vision.image_size // vision.patch_size) ** 2 + 1
    return video_llava_inputs(
        asker.config,
        asker.tokenizer,
        _samples(questions, media),
        system=LLAVA_V1_SYSTEM,
        num_frames=asker.config.video_seq_length // of_frame,
    )


def _qwen_prompt(asker: Asker, question: str, media: int) -> str:
    lead = _lead(media, "image", "video")
    lead = f"<|vision_start|><|{lead}_pad|><|vision_end|>" if lead else ""
    return qwen_prompt([(question, None)], lead, QWEN_SYSTEM)


def _qwen(asker: Asker, questions: Sequence[str], media: Sequence[Media]) -> dict:
    vision = asker.config.vision_config
    area = (vision.patch_size * vision.spatial_merge_size) ** 2  # pixels of one visual token
    least, most = (tokens * area for tokens in QWEN_TOKENS)
    samples = _samples(questions, media)
    return qwen_vl_inputs(asker.config, asker.tokenizer, samples, image_pixels=(least, most))


def _mini_gemini_prompt(asker: Asker, question: str, media: int) -> str:
    return mini_gemini_prompt(question, asker.config)


def _mini_gemini(asker: Asker, questions: Sequence[str], media: Sequence[Media]) -> dict:
    if any(len(pictures) != 1 for pictures in media):
        raise ValueError("Mini-Gemini takes exactly one picture with every question")
    return prepare(asker.tokenizer, [m[0] for m in media], questions, asker.config)


ASKERS = {
    "llava": _Kind(_llava_prompt, _llava),
    "video_llava": _Kind(_video_llava_prompt, _video_llava),
    "qwen2_vl": _Kind(_qwen_prompt, _qwen),
    "mini_gemini": _Kind(_mini_gemini_prompt, _mini_gemini),
}


def image_position(asker: Asker) -> int:
    """Return the index of the first visual token after the system sentence.

    With the real tokenizer it is 35 for LLaVA-1.5 and Mini-Gemini (`IMAGE_AT`); another number says
    that tokenizer or prompt are not those of the paper.

    Raises
    ------
    ValueError
        The placeholder is not a token of the tokenizer.
    """
    before = asker.prompt("?").partition("<image>")[0]
    if asker.family == "mini_gemini":  # cut into pieces by `prepare`; no placeholder is tokenised
        return len(asker.tokenizer(before)["input_ids"])
    ids = asker.tokenizer(f"{before}<image>")["input_ids"]
    if asker.config.image_token_id not in ids:
        raise ValueError(
            f"the tokenizer does not know the placeholder <image> as token "
            f"{asker.config.image_token_id}; the files are not those of the checkpoint"
        )
    return ids.index(asker.config.image_token_id)
