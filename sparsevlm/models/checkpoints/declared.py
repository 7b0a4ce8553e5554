"""The table of the paper's checkpoints: revisions, licences, sizes.

Revisions were found in public projects that load the same checkpoints, at least two independent
ones for each; where none was found the revision is "main", and the first fetch writes the commit
that it got into the lock file (places.py), which later fetches and loads keep to. Sizes are those
that the hub shows for the weights, or, where we have not seen that page, the number of parameters
of the architecture times two bytes; `fetch` asks the hub for the exact ones before it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

from sparsevlm.models.sizes import ModelSizes

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Repository:
    """One repository on the hub or on GitHub, and what is fetched of it.

    Attributes
    ----------
    id, revision : str
        "organisation/name"; a commit, or its first digits, or "main" where none is known: the first
        fetch pins what it gets.
    licence : str
        As the repository states it, in short.
    about_bytes : int
        Size of what is fetched.
    required : bool
        Whether the checkpoint can be used without it.
    kind
        "model" or "dataset" of the hub, or "github".
    files : tuple of str
        Patterns of the files that are fetched; () for weights and the texts beside them.
    sha256 : str
        Of the one file, whoever serves it; "" where the hub's word is taken.
    mirrors : tuple of (str, str)
        Other repositories, with revisions, that have the same file.
    strip : str
        What the names of GitHub's files lose.
    """

    id: str
    revision: str
    licence: str
    about_bytes: int
    required: bool = True
    kind: Literal["model", "dataset", "github"] = "model"
    files: tuple[str, ...] = ()
    sha256: str = ""
    mirrors: tuple[tuple[str, str], ...] = ()
    strip: str = ""

    @property
    def pinned(self) -> bool:
        """True if the revision is a commit, or the first digits of one."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def key(self) -> str:
        """Its name in the lock file; a data set may come in parts, each at a commit of its own."""
        return self.id if self.kind == "model" else f"{self.id} {' '.join(self.files)}"

    def accepts(self, commit: str) -> bool:
        """Return whether a commit is the declared one."""
        return not self.pinned or commit.startswith(self.revision)

    def served(self) -> Iterator[Repository]:
        """Yield itself, then the same from each of its mirrors."""
        yield self
        for name, revision in self.mirrors:
            yield replace(self, id=name, revision=revision, mirrors=())


@dataclass(frozen=True)
class Checkpoint:
    """A model that the paper reports numbers of.

    Attributes
    ----------
    name : str
        The id of its repository, which is also its name in profiles and records.
    short : str
        A name to type.
    family : str
        Of architectures; see `prompts.prompt_builder`.
    dtype : str
        What the paper (LLaVA, Video-LLaVA, MGM) or the release (Qwen2-VL) computes in.
    parameters : int
        Counted on the architecture, vision towers included.
    sizes : ModelSizes
        So that planning and estimates need no file. Visual tokens are exact for all but Qwen2-VL,
        where they are the mean over the three benchmarks of the paper's Table 2 (1323, 1311, 1326).
    repositories : tuple of Repository
        The model's own first; for Mini-Gemini its towers after it.
    """

    name: str
    short: str
    family: str
    dtype: str
    parameters: int
    sizes: ModelSizes
    repositories: tuple[Repository, ...]


LLAMA2 = "Llama 2 Community License"
_VICUNA_7B = ModelSizes(layers=32, hidden=4096, intermediate=11008, heads=32)

CHECKPOINTS: tuple[Checkpoint, ...] = (
    Checkpoint(
        "llava-hf/llava-1.5-7b-hf", "llava-7b", "llava", "float16", 7_063_427_072,
        _VICUNA_7B,
        (Repository("llava-hf/llava-1.5-7b-hf", "b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
                    LLAMA2, 14_130_000_000),),
    ),
    Checkpoint(
        "llava-hf/llava-1.5-13b-hf", "llava-13b", "llava", "float16", 13_351_494_656,
        ModelSizes(layers=40, hidden=5120, intermediate=13824, heads=40),
        (Repository("llava-hf/llava-1.5-13b-hf", "5dda2880bda009266dda7c4baff660b95ca64540",
                    LLAMA2, 26_700_000_000),),
    ),
    Checkpoint(
        "Qwen/Qwen2-VL-7B-Instruct", "qwen2-vl-7b", "qwen2_vl", "bfloat16", 8_291_375_616,
        ModelSizes(layers=28, hidden=3584, intermediate=18944, heads=28, kv_heads=4,
                   vocabulary=152064, num_visual=1320, has_mrope=True),
        (Repository("Qwen/Qwen2-VL-7B-Instruct", "eed13092ef92e448dd6875b2a00151bd3f7db0ac",
                    "Apache 2.0", 16_600_000_000),),
    ),
    Checkpoint(
        "LanguageBind/Video-LLaVA-7B-hf", "video-llava-7b", "video_llava", "float16", 7_366_279_168,
        replace(_VICUNA_7B, num_visual=2056),  # 8 frames of 257: the class token of each is kept
        (Repository("LanguageBind/Video-LLaVA-7B-hf", "4cf9d8cfc76a54f46a4cb43be5368b46b7f0d736",
                    "Apache 2.0; research preview for non-commercial use, under LLaMA's terms",
                    14_740_000_000),),
    ),
    Checkpoint(
        "YanweiLi/MGM-7B", "mgm-7b", "mini_gemini", "float16", 7_266_093_504,
        replace(_VICUNA_7B, vocabulary=32000),
        (
            Repository("YanweiLi/MGM-7B", "main",
                       f"{LLAMA2}; weights CC BY-NC 4.0, research use only",
                       14_540_000_000),
            # The official loader takes ConvNeXt from here. The release holds the same weights,
            # rounded to bfloat16, and CLIP too; CLIP's own repository has only pickled weights.
            Repository("laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
                       "39918dfbdf69ccd2172e6510a430e92337ee23e1",
                       "MIT", 1_410_000_000, required=False),
        ),
    ),
)  # fmt: skip


def find(name: str) -> Checkpoint:
    """Return the checkpoint of this name or short name, or that a repository belongs to.

    Raises
    ------
    ValueError
        It is not in the table; the message lists the names.
    """
    for checkpoint in CHECKPOINTS:
        ids = (repository.id for repository in checkpoint.repositories)
        if name in (checkpoint.short, *ids):
            return checkpoint
    known = ", ".join(f"{c.name} ({c.short})" for c in CHECKPOINTS)
    raise ValueError(f"unknown checkpoint {name!r}; known: {known}; or give a local folder")


def declared(name: str) -> Checkpoint | None:
    """Return the checkpoint of this name or short name, None for a folder."""
    return next((c for c in CHECKPOINTS if name in (c.name, c.short)), None)
