"""Load the bundled miniatures: Hugging Face files in half precision, with checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path

from transformers import PreTrainedModel

from sparsevlm.miniature.registry import get_miniature
from sparsevlm.models.placement import no_progress_bar
from sparsevlm.models.prompt_builder import PromptBuilder

DATA = Path(__file__).resolve().parents[2] / "data" / "miniature"
CHECKSUMS = "SHA256SUMS"


class MissingAssetError(FileNotFoundError):
    """A file that the suite needs is not there, or is not the file that was shipped."""


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
    for line in listing.read_text("utf-8").splitlines():
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


def load_miniature(
    name: str = "mini-llava", folder: Path | None = None
) -> tuple[PreTrainedModel, PromptBuilder]:
    """The trained miniature in float32 evaluation mode, and its prompt builder.

    Raises
    ------
    ValueError
        Unknown name.
    MissingAssetError
        Weights missing or damaged.
    """
    spec = get_miniature(name)
    place = folder or DATA / name
    verify(place)
    with no_progress_bar():
        model = spec.load(place)
    return model, spec.builder(model.config)
