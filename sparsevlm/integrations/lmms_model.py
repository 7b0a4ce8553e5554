"""The class behind ``lmms-eval --model sparsevlm``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import fmean

from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from loguru import logger
from tqdm import tqdm

from sparsevlm.integrations.answering import (
    Answerer,
    cut_at,
    generation_of,
    media_of,
    size_of,
)
from sparsevlm.models.images import ImageError

ANSWERS_BY_TEXT = "this model answers by text only; take a task of the kind generate_until"


class PrunedModel(lmms):
    """A pruned model, asked as the paper's scripts ask it.

    Parameters
    ----------
    pretrained
        Checkpoint (name, short name or folder), or "mini-llava"; see `Answerer`.
    method, tokens, **options
        Method of `methods.METHODS`, its budget, and further fields of it.
    device
        Under ``accelerate launch`` every process takes the GPU of its number.
    batch_size
        Texts are padded on the left. Numbers to compare are made with 1.
    max_batch_size
        Given by lmms-eval and not used: the size is not searched for.
    dtype, attn_implementation, quantization
        See `checkpoints.loading.load`.

    Difference from lmms-eval's own models: a failure while answering ends the run. `llava_hf` takes
    it for an empty answer, which a scorer counts as wrong.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str = "llava-7b",
        method: str = "sparsevlm",
        tokens: int | None = None,
        device: str = "cuda",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        dtype: str | None = None,
        attn_implementation: str = "sdpa",
        quantization: str | None = None,
        **options: object,
    ) -> None:
        super().__init__()
        self.accelerator = Accelerator()
        self._rank = self.accelerator.process_index
        self._world_size = self.accelerator.num_processes
        if self._world_size > 1 and device == "cuda":
            device = f"cuda:{self.accelerator.local_process_index}"
        self.batch_size = size_of(batch_size)
        self.answerer = Answerer(
            pretrained, method=method, tokens=tokens, device=device, dtype=dtype,
            attention=attn_implementation, quantization=quantization, **options,
        )  # fmt: skip

    @property
    def device(self):
        """Of the model; lmms-eval gathers counts there."""
        return self.answerer.model.device

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Return the answers in the order of the requests."""
        answers: list[str] = []
        with tqdm(total=len(requests), disable=self.rank != 0, desc="Answering") as bar:
            for settings, batch in self._batches([request.args for request in requests]):
                asked = [(text, self._media(text, *rest)) for text, _, *rest in batch]
                texts = self.answerer.answer(*zip(*asked, strict=True), **generation_of(settings))
                answers += [cut_at(text, settings.get("until")) for text in texts]
                bar.update(len(batch))
        self._report()
        return answers

    def _batches(self, arguments: Sequence[tuple]) -> Iterator[tuple[dict, list[tuple]]]:
        for _, same in groupby(arguments, key=lambda one: (one[1], one[4], one[5])):
            run = list(same)
            for start in range(0, len(run), self.batch_size):
                yield run[start][1], run[start : start + self.batch_size]

    def _media(self, text: str, to_visual, number: int, task: str, split: str) -> Sequence:
        name = f"of question {number} of {task}"
        try:
            visuals = to_visual(self.task_dict[task][split][number]) or []
        except Exception as error:  # a broken picture makes Pillow raise anything
            raise ImageError(f"the image {name} cannot be opened ({error})") from error
        return media_of(visuals, text, name)

    def _report(self) -> None:
        """Say what pruning left: nothing in the results of lmms-eval would show it."""
        if counts := self.answerer.counts:
            before, after = (fmean(column) for column in zip(*counts, strict=True))
            logger.warning(
                f"{type(self.answerer.pruner).__name__}: {after:.2f} of {before:.2f} visual tokens "
                f"left, mean over layers and {len(counts)} answers"
            )

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Refused: pruning happens while a prompt is read, and no table of the paper scores so."""
        raise NotImplementedError(ANSWERS_BY_TEXT)

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Refused: what a first question dropped, the second could need."""
        raise NotImplementedError(ANSWERS_BY_TEXT)
