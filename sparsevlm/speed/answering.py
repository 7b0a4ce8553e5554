"""A whole answer: vision tower, first token, further tokens, answers per second.

TTFT is the time from pixels and words to the first token: the paper's "latency" is the same span
(encoder, cache and prefill of one image). TPOT is the time of every token after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from sparsevlm.core.interface import StagedPruner
from sparsevlm.runtime.timing import Clock
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import clock_of, interleaved, spread, watched
from sparsevlm.speed.options import Options
from sparsevlm.speed.random_models import IMAGE, VIDEO

TOWERS = ("vision_tower", "visual", "image_tower", "video_tower", "vision_tower_aux")


class _TokenMarks(StoppingCriteria):
    """Marks the time of every token, and stops nothing."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.marks = clock, []

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        self.marks.append(self.clock.mark())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def answer(case: Case, pruner: StagedPruner | None, new_tokens: int) -> dict[str, float]:
    """Seconds of one answer.

    Returns
    -------
    dict
        ``ttft``, ``tpot`` (mean over the tokens after the first), ``prefill`` of the decoder, and
        ``vision`` where there is a tower.

    Raises
    ------
    ValueError
        For fewer than two tokens.
    """
    if new_tokens < 2:
        raise ValueError(f"new_tokens must be at least 2 for a time per token, got {new_tokens}")
    clock = clock_of(case.device)
    tokens = _TokenMarks(clock)
    towers = {name: tower for name in TOWERS
              if (tower := getattr(case.model.model, name, None)) is not None}  # fmt: skip
    parts = {**towers, "prefill": case.decoder}
    with case.pruned(pruner), watched(parts, clock) as seconds:
        start = clock.mark()
        case.model.generate(
            **case.inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False,
            suppress_tokens=[IMAGE, VIDEO], stopping_criteria=StoppingCriteriaList([tokens]),
        )  # fmt: skip
    marks = tokens.marks
    found = {
        "ttft": clock.seconds(start, marks[0]),
        "tpot": clock.seconds(marks[0], marks[-1]) / (len(marks) - 1),
    }
    seen = seconds()
    found["prefill"] = seen.pop("prefill")
    return {**found, "vision": sum(seen.values())} if seen else found


def measure_answers(
    case: Case, jobs: Mapping[str, StagedPruner | None], options: Options
) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds of answers: median and quartiles by job (``None``: the dense model) and by part."""
    runs = {
        name: lambda pruner=pruner: answer(case, pruner, options.new_tokens)
        for name, pruner in jobs.items()
    }
    return {
        name: {part: spread([one[part] for one in of]) for part in of[0]}
        for name, of in interleaved(runs, options.rounds, options.seed).items()
    }


def to_dense(answers: Mapping[str, dict]) -> dict[str, dict[str, float]]:
    """Medians over those of the dense model, by job and by part."""
    return {name: _over(of, answers["dense"]) for name, of in answers.items()}


def shares(answers: Mapping[str, dict]) -> dict[str, dict[str, float]]:
    """What vision tower, prefill and one further token take, as parts of the time to the first."""
    return {name: _over(of, dict.fromkeys(of, of["ttft"])) for name, of in answers.items()}


def _over(of: Mapping[str, dict], base: Mapping[str, dict]) -> dict[str, float]:
    return {part: round(of[part]["median"] / base[part]["median"], 4) for part in of}


def measure_throughput(
    case: Case, jobs: Mapping[str, StagedPruner | None], options: Options
) -> dict[str, dict[str, float | None]]:
    """Answers per second, by batch and by job; a batch that does not fit the device has none."""
    found: dict[str, dict[str, float | None]] = {}
    further = options.new_tokens - 1
    for batch in options.batches:
        try:
            answers = measure_answers(case.with_batch(batch), jobs, options)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            found[str(batch)] = dict.fromkeys(jobs)
            continue
        found[str(batch)] = {
            name: round(batch / (of["ttft"]["median"] + further * of["tpot"]["median"]), 4)
            for name, of in answers.items()
        }
    return found
