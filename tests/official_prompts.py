"""Token ids as the official scripts make them, written apart from the package.

`python tests/official_prompts.py` writes sparsevlm/models/prompts/official_ids.json anew: questions
as the loaders write them, and their ids by sentencepiece (LLaVA, Video-LLaVA, MGM) and by a plain
byte-pair encoding (Qwen2-VL).
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import regex
import vocabularies
from sentencepiece import SentencePieceProcessor

DATA = Path(__file__).parents[1] / "sparsevlm" / "models" / "prompts" / "official_ids.json"
FROZEN = Path(__file__).parent / "loaders" / "prompts"
VISUAL = -200
BOS = 1

SYSTEM = (
    "A chat between a curious {0} and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the {0}'s questions. USER: "
)
LEAD = "<image>\n"
CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "<|vision_start|><|image_pad|><|vision_end|>{0}<|im_end|>\n<|im_start|>assistant\n"
)

# Benchmark: which of its frozen prompts; the second one of ScienceQA has no image.
IMAGES = {
    "gqa": [0], "mmbench": [0, 2], "mme": [1], "pope": [1], "scienceqa": [0, 1], "seed": [0],
    "textvqa": [0, 1], "mmvet": [0, 1],
}  # fmt: skip
VIDEOS = {
    "tgif": "how many times does the woman in white shake her hips ?",
    "msvd": "what is a man doing?",
    "msrvtt": "who is singing on a stage with Björk's band?",
    "activitynet": "is the person in the video wearing 2 different-colored socks",
}
OF = {
    "llava": tuple(IMAGES),
    "mini_gemini": ("pope", "textvqa", "gqa", "mme"),
    "qwen2_vl": ("mmbench", "pope", "textvqa"),
    "video_llava": tuple(VIDEOS),
}


# --- LLaVA, MGM and Video-LLaVA -------------------------------------------------------------------


@cache
def sentencepiece() -> SentencePieceProcessor:
    """Llama's."""
    with TemporaryDirectory() as folder:
        vocabularies.write_sentencepiece(Path(folder))
        return SentencePieceProcessor(model_file=f"{folder}/tokenizer.model")


def llava_ids(prompt: str) -> list[int]:
    """Cut at every <image>, encode each piece with a beginning of its own, keep the first one."""
    pieces = [[BOS, *sentencepiece().encode(piece)] for piece in prompt.split("<image>")]
    ids = [BOS]
    for number, piece in enumerate(pieces):
        ids += [VISUAL] * (number > 0) + piece[1:]
    return ids


def vicuna_ids(question: str, images: int = 1) -> list[int]:
    """As LLaVA's and MGM's scripts."""
    return llava_ids(f"{SYSTEM.format('user')}{LEAD * images}{question} ASSISTANT:")


def video_ids(question: str) -> list[int]:
    """As Video-LLaVA's scripts, whose eight <image>, one a frame, stand here for one video."""
    ids = llava_ids(f"{SYSTEM.format('human')}{'<image>' * 8}\n{question} ASSISTANT:")
    start = ids.index(VISUAL)
    assert ids[start : start + 8] == [VISUAL] * 8 and ids.count(VISUAL) == 8
    return ids[: start + 1] + ids[start + 8 :]


# --- Qwen2-VL -------------------------------------------------------------------------------------


@cache
def _ranks() -> dict[tuple[str, str], int]:
    return {pair: rank for rank, pair in enumerate(vocabularies.qwen_merges())}


@cache
def _letters() -> dict[int, str]:
    """What stands for each byte: itself where it can be seen, else the next letter from 256 on."""
    seen = [b for b in range(256) if chr(b).isprintable() and chr(b) != " " and b != 0xAD]
    others = (b for b in range(256) if b not in seen)
    return {**{b: chr(b) for b in seen}, **{b: chr(256 + n) for n, b in enumerate(others)}}


def _word(word: str) -> list[int]:
    """Merge the pair that was learned first, until none is left."""
    parts, ranks = [_letters()[byte] for byte in word.encode()], _ranks()
    while len(parts) > 1:
        pairs = list(zip(parts, parts[1:], strict=False))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        where = pairs.index(best)
        parts[where : where + 2] = ["".join(best)]
    return [vocabularies.qwen_vocabulary()[part] for part in parts]


def qwen_ids(question: str) -> list[int]:
    """The chat template of the release around one image; only marks are taken out of the text."""
    ids = []
    for part in regex.split(r"(<\|[a-z_]+\|>)", CHAT.format(question)):
        if part in vocabularies.QWEN:
            ids.append(VISUAL if part == "<|image_pad|>" else vocabularies.QWEN[part])
        else:
            words = regex.finditer(vocabularies.QWEN_WORDS, unicodedata.normalize("NFC", part))
            ids += [number for word in words for number in _word(word.group())]
    return ids


# --- The file -------------------------------------------------------------------------------------


def questions(benchmark: str) -> list[tuple[str, int]]:
    """Questions as the loader of a benchmark writes them, and their numbers of images."""
    if benchmark in VIDEOS:
        return [(VIDEOS[benchmark], 8)]
    frozen = (FROZEN / f"{benchmark}.txt").read_text(encoding="utf-8")[:-1].split("\n-----\n")
    picked = [frozen[number] for number in IMAGES[benchmark]]
    without = picked[1:] if benchmark == "scienceqa" else []
    return [(text, int(text not in without)) for text in picked]


def official(family: str, question: str, images: int) -> list[int]:
    """Ids of a prompt; -200 stands for all visual tokens."""
    if family == "qwen2_vl":
        return qwen_ids(question)
    return video_ids(question) if family == "video_llava" else vicuna_ids(question, images)


def every() -> list[dict]:
    """What the file holds."""
    return [
        {"family": family, "benchmark": benchmark, "images": images, "question": question,
         "ids": official(family, question, images)}
        for family, benchmarks in OF.items() for benchmark in benchmarks
        for question, images in questions(benchmark)
    ]  # fmt: skip


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(prompt, ensure_ascii=False) for prompt in every())
    DATA.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
