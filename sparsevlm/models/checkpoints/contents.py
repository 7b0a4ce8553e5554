"""Sizes and contents of a checkpoint, known without loading its weights."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparsevlm.models.checkpoints.declared import declared, find
from sparsevlm.models.checkpoints.loading import KINDS, check_files, files_of
from sparsevlm.models.checkpoints.places import content_digest, default_folder, read_lock
from sparsevlm.models.sizes import ModelSizes

NOMINAL_QWEN = find("qwen2-vl-7b").sizes.num_visual


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
    side = config.vision_config.image_size // config.vision_config.patch_size
    return side * side + (config.vision_feature_select_strategy == "full")


def family_and_config(name: str, folder: Path | None = None) -> tuple[str, Any]:
    """Return the family (see `prompts.prompt_builder`) and configuration of a checkpoint.

    Raises
    ------
    ValueError, CheckpointError
        As `loading.files_of` and `loading.check_files`.
    """
    where, _, _ = files_of(name, folder)
    raw = check_files(where)
    family, kind = KINDS[raw["model_type"]]
    if kind is None:
        from sparsevlm.models.mini_gemini.checkpoint import official_config
        from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig

        return family, MiniGeminiConfig(**raw) if "text_config" in raw else official_config(raw)
    from transformers import AutoConfig

    return family, AutoConfig.from_pretrained(where, trust_remote_code=False, local_files_only=True)


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
        As `loading.files_of`.
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
