"""A pruned model that answers questions about images, for a harness that brings both.

Prompt, padding of images and numbers of tokens are those of the paper's scripts (`models.prompts`),
whatever the harness would do for a checkpoint of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from sparsevlm.evaluation.answer import answer
from sparsevlm.evaluation.backends import CheckpointBackend, backend_of

if TYPE_CHECKING:
    from PIL.Image import Image


class Answerer:
    """A checkpoint, or a bundled miniature, under one method and budget.

    Parameters
    ----------
    name
        A name or short name of the paper's checkpoints, a folder, or a miniature, for a try
        without any download.
    method
        A key of `sparsevlm.METHODS`.
    tokens
        Its budget; ``None`` for "dense".
    device, dtype, attention, quantization
        See `checkpoints.loading.load`; the default dtype is that of the table of checkpoints.
    **options
        Further fields of the method; see `make_pruner`.

    Attributes
    ----------
    counts : list of (int, float)
        Of every answer: visual tokens of the prompt, and their mean over the layers after pruning
        (equivalent tokens as the paper counts them). Questions without an image are left out.

    Raises
    ------
    ValueError, CheckpointError
        An unknown name, method, option or impossible budget; files that are not there.
    """

    def __init__(
        self,
        name: str,
        *,
        method: str = "sparsevlm",
        tokens: int | None = None,
        device: str = "cuda",
        dtype: str | None = None,
        attention: str = "sdpa",
        quantization: str | None = None,
        **options: object,
    ) -> None:
        if method != "dense" and tokens is None:
            raise ValueError(f"name the budget of {method!r}: tokens=192, say")
        backend = backend_of(name)
        if isinstance(backend, CheckpointBackend):
            backend = replace(backend, quantization=quantization)
        elif quantization is not None:
            raise ValueError(f"{name} is small enough as it is; leave quantization out")
        self.pruner = backend.sizes(name).pruner(method, tokens, **options)  # before 14 GB are read
        self.model, self.builder = backend.load(
            name, dtype=dtype, attention=attention, device=device
        )
        self.counts: list[tuple[int, float]] = []

    def answer(
        self, questions: Sequence[str], media: Sequence[Sequence[Image]], **generation: object
    ) -> list[str]:
        """Return the answers, in the order of the questions.

        Parameters
        ----------
        questions
            Plain texts, instructions included.
        media
            For each question its images: none, one, or the frames of a video.
        **generation
            As `generate` takes them. Without any: greedy, as long as the model's own limit.
        """
        said = answer(self.model, self.builder, questions, media, self.pruner, **generation)
        seen = [one.trace for one in said if one.trace.num_visual]
        self.counts += [(trace.num_visual, fmean(trace.tokens_out)) for trace in seen]
        return [one.text for one in said]


def pictures_of(visual: object, name: str = "") -> list[Image]:
    """Return one visual of a task as images: itself, or eight frames of the video at a path.

    Opened the official way (`load_image`), as the harness's own models do; an error calls a
    picture by `name`.

    Raises
    ------
    TypeError
        It is neither.
    ImageError, DataError
        The picture or the video cannot be read.
    """
    from PIL.Image import Image as Picture

    from sparsevlm.benchmarks.loaders.frames import read_frames
    from sparsevlm.models.images import load_image

    if isinstance(visual, Picture):
        return [load_image(visual, "official", name)]
    if isinstance(visual, (str, Path)):
        return read_frames(Path(visual))
    raise TypeError(f"a task's visual must be a picture or the path of a video, got {type(visual)}")
