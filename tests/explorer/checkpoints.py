"""Tiny checkpoints on disk, with tokenizers of one character per token, for loading by name."""

from __future__ import annotations

from dataclasses import replace

import tiny
import tiny_qwen_vl as qwen
import tiny_video_llava as video
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sparsevlm.evaluation.profiles import get_profile

PROFILE = replace(get_profile("a100"), device="cpu", dtype="float32")
BUILD = {
    "llava": (tiny.tiny_llava, ["<pad>", "<s>", "</s>", "<unk>", "<image>"]),
    "video_llava": (
        video.tiny_video_llava, ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<video>"]
    ),
    "qwen2_vl": (
        qwen.tiny_qwen2_vl,
        ["<pad>", "<s>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>",
         "<|vision_start|>", "<|vision_end|>", "<unk>"],
    ),
}  # fmt: skip


def save_checkpoint(name: str, folder) -> str:
    """Write model and tokenizer; returns the folder as text."""
    build, special = BUILD[name]
    build().save_pretrained(folder)
    letters = [chr(code) for code in (10, *range(32, 127))]
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(folder)
    return str(folder)
