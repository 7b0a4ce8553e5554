"""A pruned model that answers questions about pictures, for a harness that brings both.

Prompt, padding of pictures and numbers of tokens are those of the paper's scripts
(`models.prompts`), whatever the harness would do for a checkpoint of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sparsevlm.evaluation.backends import CheckpointBackend, MiniatureBackend
from sparsevlm.miniature.registry import MINIATURES
from sparsevlm.miniature.weights import load_miniature
from sparsevlm.models.checkpoints.loading import load
from sparsevlm.runtime.prune import prune

if TYPE_CHECKING:
    from PIL.Image import Image

# Miniatures that take one picture of any kind.
SINGLE = tuple(name for name, spec in MINIATURES.items() if spec.architecture == "llava")


class Answerer:
    """A checkpoint, or a bundled miniature, under one method and budget.

    Parameters
    ----------
    name
        What `checkpoints.loading.load` takes: a name or short name of the paper's checkpoints, or
        a folder; or a miniature of `SINGLE`, for a try without any download.
    method
        A key of `baselines.METHODS`.
    tokens
        Its budget; ``None`` for "dense".
    device, dtype, attention, quantization
        See `checkpoints.loading.load`. A miniature is always float32 in eager or sdpa attention.
    **options
        Further fields of the method; see `make_pruner`.

    Attributes
    ----------
    counts : list of (int, float)
        Of every answer: visual tokens of the prompt, and their mean over the layers after pruning
        (equivalent tokens as the paper counts them). Questions without a picture are left out.

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
        is_miniature = name in MINIATURES
        if is_miniature and name not in SINGLE:
            known = ", ".join(SINGLE)
            raise ValueError(f"of the miniatures a harness can ask {known}; got {name!r}")
        shape = (MiniatureBackend() if is_miniature else CheckpointBackend()).shape(name)
        self.pruner = shape.pruner(method, tokens, **options)  # before 14 GB are read
        if is_miniature:
            model, self.builder = load_miniature(name)
            self.model = model.to(device)
        else:
            self.model, self.builder = load(
                name, dtype=dtype, device=device, attention=attention, quantization=quantization
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
            For each question its pictures: none, one, or the frames of a video.
        **generation
            As `generate` takes them. Without any: greedy, as long as the model's own limit.
        """
        inputs = self.builder.inputs(questions, media)
        inputs = {
            key: value.to(
                self.model.device, self.model.dtype if value.is_floating_point() else None
            )
            for key, value in inputs.items()
        }
        with torch.inference_mode(), prune(self.model, self.pruner) as trace:
            output = self.model.generate(**inputs, **{"do_sample": False, **generation})
        seen = [sample for sample in trace.samples if sample.num_visual]
        self.counts += [(one.num_visual, _mean(one.tokens_out)) for one in seen]
        return self.builder.decode(output[:, inputs["input_ids"].shape[1] :])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def pictures_of(visual: object) -> list[Image]:
    """Return one visual of a task as pictures: itself, or eight frames of the video at a path.

    Raises
    ------
    TypeError
        It is neither.
    DataError
        The video cannot be read.
    """
    from PIL.Image import Image as Picture

    from sparsevlm.benchmarks.loaders.frames import read_frames

    if isinstance(visual, Picture):
        return [visual.convert("RGB")]
    if isinstance(visual, (str, Path)):
        return read_frames(Path(visual))
    raise TypeError(f"a task's visual must be a picture or the path of a video, got {type(visual)}")
