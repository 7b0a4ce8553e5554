"""Tiny random checkpoints on the disk, as a fetch leaves them: weights, config and tokenizer.

Their tokenizer knows single ASCII characters, so the vocabulary fits that of the tiny models.
"""

from __future__ import annotations

import string
from pathlib import Path

import tiny
import tiny_llava_next
import tiny_qwen_vl
import tiny_video_llava
from PIL import Image
from tiny_mini_gemini import tiny_mini_gemini
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from sparsevlm.models.checkpoints import find
from sparsevlm.models.checkpoints.places import FileEntry, Locked, content_digest, place, write_lock

VICUNA = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<video>"]
QWEN = ["<pad>", "<s>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>",
        "<|vision_start|>", "<|vision_end|>"]  # fmt: skip
FAMILIES = {
    "llava": (tiny.tiny_llava, VICUNA),
    "llava_next": (tiny_llava_next.tiny_llava_next, VICUNA),
    "video_llava": (tiny_video_llava.tiny_video_llava, VICUNA),
    "qwen2_vl": (tiny_qwen_vl.tiny_qwen2_vl, QWEN),
    "mini_gemini": (tiny_mini_gemini, VICUNA[:4]),
}


def letters_tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    """One token per ASCII character; Vicuna's also begins with a token of its own."""
    letters = [*special, *string.printable[:-5], "\n"]
    base = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, merges=[]))
    base.decoder = decoders.Fuse()
    base.add_special_tokens(special)
    if special[2] == "</s>":
        base.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    unknown = {"unk_token": "<unk>"} if "<unk>" in special else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=base, pad_token="<pad>", bos_token="<s>", **unknown
    )


# The pieces into which Llama's tokenizer cuts the prompt before the picture ("_" for its mark).
PIECES = (
    "_A _chat _between _a _curious _user _and _an _artificial _intelligence _assistant . _The "
    "_assistant _gives _helpful , _detailed , _and _pol ite _answers _to _the _user ' s _questions "
    ". _US ER : _"
)


def pieces_tokenizer() -> PreTrainedTokenizerFast:
    """Llama's own cutting of the Vicuna prompt: words as above, else single characters."""
    words = dict.fromkeys(PIECES.replace("_", "▁").split())
    letters = [c for c in string.printable if c not in words and not c.isspace()]
    scores = [*[(token, 0.0) for token in VICUNA], *[(word, -1.0) for word in words],
              *[(letter, -9.0) for letter in [*letters, "\n"]]]  # fmt: skip
    base = Tokenizer(models.Unigram(scores, unk_id=3))
    base.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    base.add_special_tokens(VICUNA)
    base.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=base, pad_token="<pad>", bos_token="<s>", unk_token="<unk>"
    )


def save_every(tmp_path_factory):
    """A tiny checkpoint of every family: its folder, and its model."""
    made = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        made[family] = folder, save_tiny(family, folder)
    return made


def save_tiny(family: str, folder: Path):
    """Write a tiny checkpoint of a family; returns its model."""
    build, special = FAMILIES[family]
    model = build()
    model.save_pretrained(folder)
    letters_tokenizer(special).save_pretrained(folder)
    return model


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of coloured bands."""
    image = Image.linear_gradient("L").resize((width, height)).rotate(seed * 7)
    return Image.merge("RGB", (image, image.rotate(180), image.rotate(90)))


def as_fetched(short: str, source: Path, folder: Path) -> Path:
    """Files of a tiny checkpoint where those of a real one would be, with their lock."""
    locks = {}
    for repository in find(short).repositories:
        if repository.required:
            commit = repository.revision if repository.pinned else "a" * 40
            here = place(repository, commit, folder)
            here.parent.mkdir(parents=True)
            here.symlink_to(source, target_is_directory=True)
            files = [
                FileEntry(p.name, p.stat().st_size, "sha256", content_digest(p, "sha256"))
                for p in sorted(source.iterdir())
            ]
            locks[repository.id] = Locked(commit, tuple(files))
    write_lock(folder, locks)
    return folder
