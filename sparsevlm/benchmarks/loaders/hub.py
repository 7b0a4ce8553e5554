"""Copies of the data on the Hugging Face hub, and how each differs from the official files.

`parquet` reads five of them. The others have other questions than the paper's, or lack what the
official prompt needs; the table says what, for whoever compares with results made from the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubCopy:
    """A copy of a benchmark on the hub.

    Attributes
    ----------
    id : str
        Of the data set since the move of 30 July 2026; lmms-lab/NAME, its name before, redirects.
    config, split : str
        As `datasets.load_dataset` takes them; several configurations are joined by " + ".
    licence : str
        As far as known; the terms on the source's own page hold.
    differs : str
        From what LLaVA's scripts read; "" where no difference is known.
    """

    id: str
    config: str
    split: str
    licence: str
    differs: str = ""


# No revision could be checked from here; pin what you download.
HUB = {
    "gqa": HubCopy(
        "lmms-lab-encoder/GQA",
        "testdev_balanced_instructions + testdev_balanced_images",
        "testdev",
        "CC BY 4.0; images of Visual Genome",
    ),
    "mmbench": HubCopy(
        "lmms-lab-encoder/MMBench",
        "en",
        "dev",
        "Apache-2.0 (repository)",
        "another version of the table, with other rows than mmbench_dev_20230712.tsv",
    ),
    "mme": HubCopy("lmms-lab-encoder/MME", "default", "test", "academic research only"),
    "pope": HubCopy(
        "lmms-lab-encoder/POPE",
        "default",
        "test",
        "MIT (questions); COCO images under Flickr's terms",
        "9,000 rows: 3,000 random ones where LLaVA has 2,910",
    ),
    "scienceqa": HubCopy(
        "lmms-lab-encoder/ScienceQA",
        "ScienceQA-IMG",
        "test",
        "CC BY-NC-SA 4.0",
        "only the questions with an image; the total needs the others too",
    ),
    "seed": HubCopy(
        "lmms-lab-encoder/SEED-Bench",
        "default",
        "test",
        "CC BY-NC 4.0",
        "fewer videos than LLaVA's questions, and eight frames of each in place of the middle one",
    ),
    "textvqa": HubCopy(
        "lmms-lab-encoder/textvqa",
        "default",
        "validation",
        "CC BY 4.0; images of Open Images",
        "OCR tokens are in a column; lmms-eval leaves them out of the prompt by default",
    ),
    "mmvet": HubCopy(
        "lmms-lab-encoder/MMVet", "default", "test", "non-commercial research and education only"
    ),
}


def about_parquet(name: str, folder: Path) -> str:
    """Return what to say of parquet files in a folder, "" where there are none."""
    if name not in HUB or not folder.is_dir() or not any(folder.rglob("*.parquet")):
        return ""
    copy = HUB[name]
    why = copy.differs or f"files of {copy.split} are not among them"
    return f"{folder} holds parquet files of the hub ({copy.id}), which are not read: {why}"
