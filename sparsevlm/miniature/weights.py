"""Ship and load the trained miniature: Hugging Face files, half precision, with checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import logging

from sparsevlm.miniature.registry import NAMES, get_kit
from sparsevlm.miniature.vocabulary import BOS, EOS, PAD

DATA = Path(__file__).resolve().parents[2] / "data" / "miniature"
CHECKSUMS = "SHA256SUMS"


class MissingAssetError(FileNotFoundError):
    """A file that the suite needs is not there, or is not the file that was shipped."""


def export(model: PreTrainedModel, folder: Path, name: str = "mini-llava") -> None:
    """Write a trained model as float16 safetensors with its processor and checksums.

    ``name`` decides the processor. The folder appears whole or not at all: everything is written
    beside it and renamed.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, do_sample=False, max_new_tokens=8
    )
    model.half().save_pretrained(partial)
    get_kit(name).build_processor().save_pretrained(partial)
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(partial.iterdir())]
    (partial / CHECKSUMS).write_text("".join(lines))
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify(folder: Path) -> str:
    """Check every file of a shipped model; returns the digest of its weights.

    Raises
    ------
    MissingAssetError
        The folder or a file is missing, or a file differs from the one that was shipped.
    """
    remedy = (
        "restore it with 'git checkout -- data/miniature' or train it anew (make train; another "
        "size: python -m training.train --name NAME, then training.card)"
    )
    listing = folder / CHECKSUMS
    if not listing.exists():
        raise MissingAssetError(f"no miniature in {folder} ({CHECKSUMS} is missing); {remedy}")
    digests = {}
    for line in listing.read_text().splitlines():
        wanted, name = line.split(maxsplit=1)
        path = folder / name
        if not path.exists():
            raise MissingAssetError(f"{path} is missing; {remedy}")
        digests[name] = sha256(path)
        if digests[name] != wanted:
            raise MissingAssetError(
                f"{path} fails its checksum (expected {wanted[:12]}, got {digests[name][:12]}): "
                f"the file is damaged or was changed; {remedy}"
            )
    return digests["model.safetensors"]


def miniature_folder(name: str, folder: Path | None = None) -> Path:
    """Where a miniature lives; an unknown name raises ValueError with the known ones."""
    if name not in NAMES:
        raise ValueError(f"unknown miniature {name!r}; choose from {', '.join(NAMES)}")
    return folder or DATA / name


def load_miniature(
    name: str = "mini-llava", folder: Path | None = None
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The trained miniature in float32 evaluation mode, and its processor.

    Raises
    ------
    ValueError
        Unknown name.
    MissingAssetError
        Weights missing or damaged.
    """
    place = miniature_folder(name, folder)
    verify(place)
    kit = get_kit(name)
    with _quiet():
        return kit.load(place), kit.build_processor()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar for a load of milliseconds; the user's setting comes back afterwards."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
