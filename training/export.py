"""Ship a trained miniature: Hugging Face files in half precision, with checksums."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from transformers import GenerationConfig, PreTrainedModel

from sparsevlm.miniature.registry import get_miniature
from sparsevlm.miniature.vocabulary import BOS, EOS, PAD
from sparsevlm.miniature.weights import CHECKSUMS, sha256


def export(model: PreTrainedModel, folder: Path, name: str = "mini-llava") -> None:
    """Write a trained model as float16 safetensors with its tokenizer and checksums.

    ``name`` decides the tokenizer. The folder appears whole or not at all: everything is written
    beside it and renamed.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, do_sample=False, max_new_tokens=8
    )
    model.half().save_pretrained(partial)
    get_miniature(name).builder(model.config).tokenizer.save_pretrained(partial)
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(partial.iterdir())]
    (partial / CHECKSUMS).write_text("".join(lines))
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)
