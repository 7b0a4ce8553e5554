"""The tokenizer of a checkpoint; its vocabulary must be there, whole, and fit the model.

transformers makes a tokenizer of three tokens out of a folder without a vocabulary, says nothing of
merges that were cut off, and merges the pieces of a tokenizer.model in the order of their ids where
SentencePiece goes by their scores.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsevlm.models.checkpoints.places import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

FILES = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
MOST_UNUSED = 512  # rows of an embedding that no token has: 407 in Qwen2-VL, up to 64 in LLaVA


def check_vocabulary(where: Path) -> None:
    """Refuse a folder without a vocabulary.

    Raises
    ------
    CheckpointError
        None of the three forms is there, or an empty file.
    """
    known = ", or ".join(" with ".join(names) for names in FILES)
    whole = [names for names in FILES if all((where / name).is_file() for name in names)]
    if not whole:
        raise CheckpointError(
            f"{where} lacks the vocabulary of its tokenizer ({known}); fetch or copy it again"
        )
    if empty := [name for names in whole for name in names if not (where / name).stat().st_size]:
        raise CheckpointError(f"{where / empty[0]} is empty; fetch or copy it again")


def tokenizer_of(where: Path, config: PreTrainedConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint's folder.

    Parameters
    ----------
    where
        The folder.
    config
        Of the model.

    Raises
    ------
    CheckpointError
        Its files are missing, damaged, or those of another model; or a package that reads them is.
    """
    from transformers import AutoTokenizer

    check_vocabulary(where)
    scores = None if (where / "tokenizer.json").is_file() else _scores(where / "tokenizer.model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            where, config=config, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # tokenizers raises nothing more special
        raise _unreadable(where, error) from error
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if scores and model["type"] == "BPE":
        _merge_by_score(tokenizer, model, scores)
    _check_size(len(tokenizer), config.get_text_config().vocab_size, where)
    _check_merges(model, where)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token  # as Vicuna has it
    return tokenizer


def _unreadable(where: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0]
    return CheckpointError(
        f"the tokenizer in {where} cannot be read ({reason}); fetch or copy its files again"
    )


def _scores(path: Path) -> dict[str, float] | None:
    """Score of every piece of a tokenizer.model; None if there is none."""
    if not path.is_file():
        return None
    try:
        import_module("google.protobuf")  # transformers reads the file with it
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise CheckpointError(
            f"the tokenizer in {path.parent} is a tokenizer.model ({error}): "
            "pip install 'sparsevlm-repro[a100]'"
        ) from error
    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except Exception as error:  # RuntimeError or OSError, by what is wrong
        raise _unreadable(path.parent, error) from error
    return {pieces.id_to_piece(n): pieces.get_score(n) for n in range(pieces.get_piece_size())}


def _merge_by_score(
    tokenizer: PreTrainedTokenizerBase, model: dict[str, Any], scores: dict[str, float]
) -> None:
    """Merge as SentencePiece does: Llama's runs of spaces have low ids and the lowest scores."""
    from tokenizers.models import BPE

    merges = sorted(map(tuple, model["merges"]), key=lambda pair: -scores["".join(pair)])
    tokenizer.backend_tokenizer.model = BPE(
        model["vocab"], merges, unk_token=model["unk_token"], fuse_unk=model["fuse_unk"],
        byte_fallback=model["byte_fallback"],
    )  # fmt: skip


def _check_size(size: int, rows: int, where: Path) -> None:
    if not rows - MOST_UNUSED < size <= rows:
        raise CheckpointError(
            f"the tokenizer in {where} has {size} tokens and the model has {rows}: its files are "
            "cut off or those of another model; fetch or copy them again"
        )


def _check_merges(model: dict[str, Any], where: Path) -> None:
    """Every token of a byte-pair encoding is a character, a byte, special, or made by a merge."""
    if model["type"] != "BPE":
        return
    made = {"".join(pair) for pair in model["merges"]}
    apart = [token for token in model["vocab"] if len(token) > 1 and token not in made]
    if apart := [token for token in apart if not (token[0] == "<" and token[-1] == ">")]:
        raise CheckpointError(
            f"the merges of the tokenizer in {where} are cut off: {len(apart)} tokens such as "
            f"{apart[-1]!r} cannot be made; fetch or copy its files again"
        )
