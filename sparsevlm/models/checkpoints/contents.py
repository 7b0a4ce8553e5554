"""Sizes and contents of a checkpoint, known without loading its weights."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparsevlm.models.checkpoints.declared import declared, find
from sparsevlm.models.checkpoints.places import (
    CheckpointError,
    content_digest,
    default_folder,
    locate,
    read_lock,
)
from sparsevlm.models.checkpoints.tokenizer import check_vocabulary
from sparsevlm.models.sizes import ModelSizes

NOMINAL_QWEN = find("qwen2-vl-7b").sizes.num_visual

# model_type in config.json to (family, class in transformers; None: models/mini_gemini).
KINDS = {
    "llava": ("llava", "LlavaForConditionalGeneration"),
    "llava_next": ("llava_next", "LlavaNextForConditionalGeneration"),
    "video_llava": ("video_llava", "VideoLlavaForConditionalGeneration"),
    "qwen2_vl": ("qwen2_vl", "Qwen2VLForConditionalGeneration"),
    "qwen2_5_vl": ("qwen2_vl", "Qwen2_5_VLForConditionalGeneration"),
    "mgm": ("mini_gemini", None),
    "mini_gemini": ("mini_gemini", None),
}


def sizes_of(name: str, folder: Path | None = None) -> ModelSizes:
    """Return the sizes of a checkpoint: from the table, or from a folder's config.json.

    Raises
    ------
    ValueError
        The name is neither in the table nor a folder.
    CheckpointError
        The folder holds no checkpoint that can be loaded.
    """
    if known := declared(name):
        return known.sizes
    family, config = family_and_config(name, folder)
    text = config.get_text_config().to_dict()
    return ModelSizes.from_text_config(text, _visual(family, config))


def _visual(family: str, config: Any) -> int:
    """Visual tokens of the nominal image or video."""
    if family == "qwen2_vl":
        return NOMINAL_QWEN
    if family == "mini_gemini":
        return config.num_visual
    if family == "video_llava":
        return config.video_seq_length
    if family == "llava_next":
        from sparsevlm.models.llava_next import num_tokens

        return num_tokens((1000, 1000), config)  # any square that is no smaller than its tiles
    side = config.vision_config.image_size // config.vision_config.patch_size
    return side * side + (config.vision_feature_select_strategy == "full")


def family_and_config(name: str, folder: Path | None = None) -> tuple[str, Any]:
    """Return the family (see `prompts.prompt_builder`) and configuration of a checkpoint.

    Raises
    ------
    ValueError, CheckpointError
        As `files_of`, `check_files` and `config_of`.
    """
    where, _, _ = files_of(name, folder)
    return config_of(where, check_files(where))


def files_of(name: str | Path, folder: Path | None = None) -> tuple[Path, Path | None, str]:
    """Return where the files of a checkpoint are, those of its second tower, and its dtype.

    Raises
    ------
    ValueError
        The name is neither in the table nor a folder.
    CheckpointError
        It is in the table, and not fetched or not complete.
    """
    if not declared(str(name)) and Path(name).is_dir():
        return Path(name), None, "float16"
    checkpoint = find(str(name))
    folder = folder or default_folder()
    main, *towers = checkpoint.repositories
    aux = None
    for tower in towers:
        try:
            aux = locate(tower, folder)
        except CheckpointError:
            if tower.required:
                raise
    return locate(main, folder), aux, checkpoint.dtype


def check_files(where: Path) -> dict:
    """Return the contents of config.json, or refuse what would not be loaded as it should.

    Raises
    ------
    CheckpointError
        No config.json, an architecture that is not loaded here, code to be run, weights that are
        pickled, shards that are missing, or no vocabulary.
    """
    raw = _json(where / "config.json")
    if raw is None:
        raise CheckpointError(f"no config.json in {where}; give the folder of a checkpoint")
    if str(raw.get("model_type")) not in KINDS:
        raise CheckpointError(
            f"{where} is a model of type {raw.get('model_type')!r}; loaded here: {', '.join(KINDS)}"
        )
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        if "auto_map" in (_json(where / name) or {}):
            raise CheckpointError(
                f"{where / name} asks to run code that comes with the checkpoint (auto_map); that "
                "is not done here. Use the conversion that transformers has a class for"
            )
    _check_weights(where)
    check_vocabulary(where)
    return raw


def config_of(where: Path, raw: dict) -> tuple[str, Any]:
    """Return the family (see `prompts.prompt_builder`) and configuration of a checkpoint.

    Parameters
    ----------
    where, raw
        The folder, and the contents of its config.json (`check_files`).

    Raises
    ------
    CheckpointError
        A field has a value that it cannot have.
    """
    family, kind = KINDS[raw["model_type"]]
    try:
        if kind is None:
            from sparsevlm.models.mini_gemini.checkpoint import official_config
            from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig

            flat = "text_config" not in raw
            return family, official_config(raw) if flat else MiniGeminiConfig(**raw)
        from transformers import AutoConfig

        return family, AutoConfig.from_pretrained(
            where, trust_remote_code=False, local_files_only=True
        )
    except CheckpointError:
        raise
    except Exception as error:  # huggingface_hub's own errors of fields, and others by the class
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{where / 'config.json'} cannot be used ({reason}); fetch or copy it again"
        ) from error


def _check_weights(where: Path) -> None:
    index = _json(where / "model.safetensors.index.json") or {}
    wanted = sorted(set(index.get("weight_map", {}).values()))
    if lacking := [name for name in wanted if not (where / name).is_file()]:
        raise CheckpointError(
            f"{len(lacking)} of {len(wanted)} files of weights are missing in {where}: "
            f"{', '.join(lacking[:3])}; fetch or copy them again"
        )
    if not any(where.glob("*.safetensors")):
        pickled = any(where.glob("*.bin"))
        raise CheckpointError(
            f"no safetensors in {where}"
            + (
                ": only pickled weights (.bin), which can run any code when they are opened and "
                "are not loaded. Convert a copy that you trust with save_pretrained"
                if pickled
                else "; copy the weights there"
            )
        )


def _json(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); fetch or copy it again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object; fetch or copy it again")
    return values


def identity(name: str, folder: Path | None = None, quantization: str | None = None) -> str:
    """Return a digest of all files that a checkpoint is loaded from, and how it is quantised.

    Fetched checkpoints are known by the digests in the lock file; the files of a local folder are
    read (about ten seconds for 14 GB), once per process.

    Returns
    -------
    str
        Sixteen hexadecimal digits, and "+4bit" where the weights are quantised.

    Raises
    ------
    ValueError, CheckpointError
        As `files_of`.
    """
    where, aux, _ = files_of(name, folder)
    if known := declared(name):
        locks = read_lock(folder or default_folder())
        used = [r for r in known.repositories if r.required or aux is not None]
        parts = [[r.id, [[f.name, f.digest] for f in locks[r.id].files]] for r in used]
    else:
        parts = _folder_digests(where)
    text = json.dumps(parts, sort_keys=True)
    suffix = f"+{quantization}" if quantization else ""
    return hashlib.sha256(text.encode()).hexdigest()[:16] + suffix


@lru_cache(maxsize=4)
def _folder_digests(where: Path) -> list:
    kinds = (".safetensors", ".json", ".model")
    files = sorted(p for p in where.iterdir() if p.suffix in kinds or p.name == "merges.txt")
    return [[path.name, content_digest(path, "sha256")] for path in files]
