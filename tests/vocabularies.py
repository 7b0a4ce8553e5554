"""The real vocabularies, and folders with the tokenizer files that the real repositories have.

`vocabulary/` holds Llama's 32,000 pieces and Qwen2's 151,387 merges, both in order; everything else
follows from them. NOTICE says where they come from. Special tokens and settings are those of the
conversions in transformers (LLaVA, Video-LLaVA) and of the releases' own files (MGM, Qwen2-VL).
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

HERE = Path(__file__).parent / "vocabulary"
SPACE = "▁"
BYTES = range(3, 259)  # of Llama's pieces; before them <unk>, <s> and </s>
RARELY = -1e9  # score of Llama's pieces that are nothing but spaces

LLAVA = {"<image>": 32000, "<pad>": 32001}
VIDEO_LLAVA = {"<image>": 32000, "<video>": 32001, "<pad>": 32002}
QWEN_MARKS = (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start "
    "quad_end vision_start vision_end vision_pad image_pad video_pad"
)
QWEN = {f"<|{mark}|>": 151643 + n for n, mark in enumerate(QWEN_MARKS.split())}

QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# --- Vocabularies ---------------------------------------------------------------------------------


@cache
def llama_vocabulary() -> dict[str, int]:
    """Llama's 32,000 pieces and their ids."""
    return {piece: number for number, piece in enumerate(_lines("llama_pieces"))}


def llama_score(piece: str) -> float:
    """What sentencepiece merges by: an earlier piece first, runs of spaces last of all."""
    number = llama_vocabulary()[piece]
    if number <= BYTES[-1]:
        return 0.0
    return RARELY if len(piece) > 1 and not piece.strip(SPACE) else float(BYTES.stop - number)


@cache
def llama_merges() -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, in the order of Llama's tokenizer.json."""
    ids, found = llama_vocabulary(), []
    for piece in list(ids)[BYTES.stop :]:
        halves = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        found += [(a, b) for a, b in halves if a in ids and b in ids]
    return sorted(found, key=lambda pair: (-llama_score("".join(pair)), *(ids[p] for p in pair)))


@cache
def qwen_merges() -> list[tuple[str, str]]:
    """Qwen2's merges in order."""
    return [tuple(line.split(" ")) for line in _lines("qwen_merges")]


@cache
def qwen_vocabulary() -> dict[str, int]:
    """Qwen2's 151,643 tokens without the special ones: all bytes, then what the merges make."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100)]
    hidden = sorted(set(ByteLevel.alphabet()) - set(map(chr, visible)))
    tokens = [*map(chr, visible), *hidden, *map("".join, qwen_merges())]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _lines(name: str) -> list[str]:
    return lzma.decompress((HERE / f"{name}.txt.xz").read_bytes()).decode().split("\n")


# --- Folders --------------------------------------------------------------------------------------


def write_llava(folder: Path, legacy: bool = False, old_normalizer: bool = False) -> None:
    """The tokenizer of llava-hf/llava-1.5-7b-hf, -13b-hf and llava-v1.6-vicuna-7b-hf."""
    _write_vicuna(folder, LLAVA, "LlavaProcessor", legacy, old_normalizer)


def write_video_llava(folder: Path, legacy: bool = False, old_normalizer: bool = False) -> None:
    """The tokenizer of LanguageBind/Video-LLaVA-7B-hf."""
    _write_vicuna(folder, VIDEO_LLAVA, "VideoLlavaProcessor", legacy, old_normalizer)


def write_mgm(folder: Path, legacy: bool = False) -> None:
    """The tokenizer of YanweiLi/MGM-7B: tokenizer.model, and no tokenizer.json."""
    write_sentencepiece(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>", "unk_token": "<unk>"}
    _json(folder / "special_tokens_map.json", special)
    settings = {"legacy": legacy, "model_max_length": 2048, "padding_side": "right"}
    _json(folder / "tokenizer_config.json", _llama_config({}, special, settings))


def write_qwen2_vl(folder: Path) -> None:
    """The tokenizer of Qwen/Qwen2-VL-7B-Instruct."""
    words = {"type": "Split", "pattern": {"Regex": QWEN_WORDS}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    level["use_regex"] = False
    _json(folder / "vocab.json", qwen_vocabulary())
    merges = "\n".join(map(" ".join, qwen_merges()))
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    _json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, **_added(token)} for token, number in QWEN.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**words, "invert": False}, level]},
        "post_processor": level, "decoder": level,
        "model": _bpe(qwen_vocabulary(), qwen_merges(), fuse_unk=False, byte_fallback=False,
                      continuing_subword_prefix="", end_of_word_suffix=""),
    })  # fmt: skip
    _json(folder / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(number): _added(token) for token, number in QWEN.items()},
        "additional_special_tokens": list(QWEN)[1:], "bos_token": None,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "model_max_length": 32768, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None, "padding_side": "left",
    })  # fmt: skip


WRITERS = {
    "llava": write_llava,
    "llava_next": write_llava,
    "video_llava": write_video_llava,
    "mini_gemini": write_mgm,
    "qwen2_vl": write_qwen2_vl,
}


def write_sentencepiece(folder: Path) -> None:
    """Llama's tokenizer.model."""
    from sentencepiece import sentencepiece_model_pb2 as spm

    kind = spm.ModelProto.SentencePiece
    model = spm.ModelProto()
    for number, piece in enumerate(llama_vocabulary()):
        of = kind.UNKNOWN if not number else kind.CONTROL if number < 3 else kind.NORMAL
        of = kind.BYTE if number in BYTES else of
        model.pieces.add(piece=piece, score=llama_score(piece), type=of)
    model.trainer_spec.model_type = spm.TrainerSpec.BPE
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.byte_fallback = model.trainer_spec.split_digits = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())


def _write_vicuna(
    folder: Path, added: dict[str, int], processor: str, legacy: bool, old_normalizer: bool
) -> None:
    write_sentencepiece(folder)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _json(folder / "added_tokens.json", added)
    _json(folder / "special_tokens_map.json", special)
    settings = {"legacy": legacy, "model_max_length": 10**30, "padding_side": "left"}
    settings |= {"processor_class": processor}
    _json(folder / "tokenizer_config.json", _llama_config(added, special, settings))
    _json(folder / "tokenizer.json", _llama_json(added, legacy, old_normalizer))


def _llama_config(added: dict[str, int], special: dict[str, str], settings: dict) -> dict:
    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2, **added}
    return {
        "add_bos_token": True, "add_eos_token": False, "add_prefix_space": None,
        "added_tokens_decoder": {str(number): _added(token) for token, number in tokens.items()},
        "clean_up_tokenization_spaces": False, "sp_model_kwargs": {},
        "spaces_between_special_tokens": False, "tokenizer_class": "LlamaTokenizer",
        "use_default_system_prompt": False, **special, **settings,
    }  # fmt: skip


def _llama_json(added: dict[str, int], legacy: bool, old_normalizer: bool) -> dict:
    """As transformers wrote it: up to 4.40 with a normalizer, later with a pre-tokenizer."""
    tokens = {"<unk>": 0, "<s>": 1, "</s>": 2, **added}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepend = {"type": "Prepend", "prepend": SPACE}
    metaspace = {"type": "Metaspace", "replacement": SPACE, "split": False}
    metaspace["prepend_scheme"] = "always" if legacy else "first"
    start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    again = {"SpecialToken": {"id": "<s>", "type_id": 1}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, **_added(token)} for token, number in tokens.items()],
        "normalizer": {"type": "Sequence", "normalizers": [prepend, space]}
        if old_normalizer else None,
        "pre_tokenizer": None if old_normalizer else metaspace,
        "post_processor": {
            "type": "TemplateProcessing", "single": [start, first],
            "pair": [start, first, again, second],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": _bpe(llama_vocabulary(), llama_merges(), fuse_unk=True, byte_fallback=True,
                      unk_token="<unk>"),
    }  # fmt: skip


def _bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]], **settings: object) -> dict:
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, **settings,
        "vocab": vocabulary, "merges": list(map(" ".join, merges)),
    }  # fmt: skip


def _added(token: str) -> dict:
    return {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True}  # fmt: skip


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
