"""A pruned model that answers questions about images, for a harness that brings both.

Prompt, padding of images and numbers of tokens are those of the paper's scripts (`models.prompts`),
whatever the harness would do for a checkpoint of that name. Nothing here needs lmms-eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from PIL.Image import Image

from sparsevlm.benchmarks.loaders.frames import read_frames
from sparsevlm.evaluation.answer import answer
from sparsevlm.evaluation.backends import CheckpointBackend, backend_of
from sparsevlm.models.images import load_image
from sparsevlm.models.template import IMAGE, Images

# lmms-eval puts this stop string into every task that names none; long answers have paragraphs.
BLANKET = "\n\n"


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
        Of every answer: visual tokens of the prompt, of all its images, and their mean over the
        layers after pruning (equivalent tokens as the paper counts them). Questions without an
        image are left out.

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

        Questions are plain texts, instructions included; each has its images: none, one, the
        frames of a video, or several as `Images`. `generation` is as `generate` takes it; without
        any: greedy, as long as the model's own limit.
        """
        said = answer(self.model, self.builder, questions, media, self.pruner, **generation)
        for shown in (one.traces for one in said if one.trace.num_visual):
            left = fmean(map(sum, zip(*(trace.tokens_out for trace in shown), strict=True)))
            self.counts.append((sum(trace.num_visual for trace in shown), left))
        return [one.text for one in said]


def media_of(visuals: Sequence[object], question: str, name: str = "") -> Sequence[Image]:
    """Return the visuals of a question: its pictures, or eight frames of the video at a path.

    Pictures are opened the official way (`load_image`), as the harness's own models do; an error
    calls one by `name`. Several are `Images`, and so is one with a place in the question.

    Raises
    ------
    ValueError
        A video and something else.
    TypeError
        One is neither.
    ImageError, DataError
        A picture or the video cannot be read.
    """
    for one in visuals:
        if not isinstance(one, (Image, str, Path)):
            raise TypeError(
                f"a task's visual must be a picture or the path of a video, got {type(one)}"
            )
    videos = [one for one in visuals if not isinstance(one, Image)]
    if videos and len(visuals) > 1:
        raise ValueError(
            f"the images {name} are {len(videos)} videos and {len(visuals) - len(videos)} pictures;"
            " a question takes one video, or pictures"
        )
    if videos:
        return read_frames(Path(videos[0]))
    pictures = [load_image(one, "official", name) for one in visuals]
    return Images(pictures) if len(pictures) > 1 or IMAGE in question else pictures


def size_of(batch_size: int | str) -> int:
    """Return the size of a batch, which lmms-eval gives as a text.

    Raises
    ------
    ValueError
        It is no positive number; "auto" is not searched for.
    """
    if not str(batch_size).isdigit() or int(batch_size) < 1:
        raise ValueError(f"batch_size must be a positive number, got {batch_size!r}")
    return int(batch_size)


def generation_of(settings: dict) -> dict:
    """Return a task's settings as `generate` takes them: greedy unless it wants sampling.

    Where a task names no length it is 1024 tokens, as in lmms-eval's own `llava_hf`. Difference
    from that: a temperature samples only where the task does not say ``do_sample: false``, as
    MM-Vet's does.
    """
    temperature = settings.get("temperature") or 0
    chosen = {"max_new_tokens": settings.get("max_new_tokens", 1024)}
    chosen["num_beams"] = settings.get("num_beams", 1)
    if temperature > 0 and settings.get("do_sample", True):
        chosen |= {"do_sample": True, "temperature": temperature}
        chosen |= {"top_p": settings["top_p"]} if settings.get("top_p") else {}
    return chosen


def cut_at(text: str, until: str | Sequence[str] | None) -> str:
    """Return the text before the first stop string of the task, without blanks around it."""
    for stop in [until] if isinstance(until, str) else until or []:
        if stop and stop != BLANKET:
            text = text.split(stop)[0]
    return text.strip()
