"""A whole answer: vision tower, first token, further tokens, peak memory, answers per second.

TTFT is the time from pixels and words to the first token: the paper's "latency" is the same span
(encoder, cache and prefill of one image). TPOT is the time of every token after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from sparsevlm.core.interface import StagedPruner
from sparsevlm.runtime.timing import Clock
from sparsevlm.speed.case import Case
from sparsevlm.speed.clock import Watch, clock_of, interleaved, spread
from sparsevlm.speed.memory import peak_bytes
from sparsevlm.speed.shapes_models import IMAGE, VIDEO

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
    watched = {**towers, "prefill": case.decoder}
    with case.pruned(pruner), Watch(watched, clock) as watch:
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
    seen = watch.seconds()
    found["prefill"] = seen.pop("prefill")
    return {**found, "vision": sum(seen.values())} if seen else found


def measure_answers(
    case: Case, jobs: dict[str, StagedPruner | None], rounds: int, new_tokens: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Seconds of answers: median and quartiles by job and by part.

    Parameters
    ----------
    case
        Model and prompt.
    jobs
        A pruner by name, ``None`` for the dense model.
    rounds, new_tokens, seed
        See `interleaved` and `answer`.
    """
    runs: dict[str, Callable[[], object]] = {
        name: lambda pruner=pruner: answer(case, pruner, new_tokens)
        for name, pruner in jobs.items()
    }
    found = interleaved(runs, rounds, seed)
    return {
        name: {part: spread([one[part] for one in of]) for part in of[0]}
        for name, of in found.items()
    }


def to_dense(answers: dict[str, dict], dense: str = "dense") -> dict[str, dict[str, float]]:
    """Medians over those of the dense model, by job and by part."""
    base = answers[dense]
    return {
        name: {part: round(of[part]["median"] / base[part]["median"], 4) for part in of}
        for name, of in answers.items()
    }


def shares(answers: dict[str, dict]) -> dict[str, dict[str, float]]:
    """What vision tower, prefill and one further token take, as parts of the time to the first."""
    return {
        name: {part: round(of[part]["median"] / of["ttft"]["median"], 4) for part in of}
        for name, of in answers.items()
    }


def measure_memory(case: Case, jobs: dict[str, StagedPruner | None]) -> dict[str, int]:
    """Peak bytes of one prompt by job, beyond weights and inputs."""
    if case.device == "cuda":
        for pruner in jobs.values():
            case.forward(pruner)  # what a library keeps from its first call on is no part of it
    known = list(case.known())
    return {
        name: peak_bytes(lambda pruner=pruner: case.forward(pruner), known, case.device)
        for name, pruner in jobs.items()
    }


def measure_throughput(
    case: Case, jobs: dict[str, StagedPruner | None], batches: Sequence[int], rounds: int,
    new_tokens: int, seed: int = 0,
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """Answers per second, by batch and by job; a batch that does not fit the device has none."""
    found: dict[str, dict[str, float | None]] = {}
    for batch in batches:
        try:
            of = measure_answers(case.with_batch(batch), jobs, rounds, new_tokens, seed)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            found[str(batch)] = dict.fromkeys(jobs)
            continue
        found[str(batch)] = {
            name: round(batch / _whole(parts, new_tokens), 4) for name, parts in of.items()
        }
    return found


def _whole(parts: dict[str, dict], new_tokens: int) -> float:
    return parts["ttft"]["median"] + (new_tokens - 1) * parts["tpot"]["median"]
