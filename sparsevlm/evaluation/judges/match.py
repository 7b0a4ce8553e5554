"""A judge without a model: the benchmark's own normalized match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.benchmarks.sample import Sample
from sparsevlm.evaluation.judges.interface import Estimate, JudgeRequest, Verdict
from sparsevlm.evaluation.judges.prompts import MM_VET, Task


@dataclass(frozen=True)
class MatchJudge:
    """Says yes with 5 points where the answer matches, else no with 0; MM-Vet: the share of facts.

    Attributes
    ----------
    task : Task
        Video questions or MM-Vet.
    """

    task: Task

    def identity(self) -> dict:
        """Return all that can change a verdict; the rule itself is part of a run's id."""
        return {"kind": "match", "task": self.task.name}

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        """Return that nothing has to be asked."""
        return Estimate(len(requests))

    def verdicts(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order."""
        return [self._verdict(request) for request in requests]

    def _verdict(self, request: JudgeRequest) -> Verdict:
        sample = Sample(request.id, "", request.question, request.answer, answers=request.facts)
        row = {**sample.to_json(), "prediction": request.prediction}
        if self.task is MM_VET:
            return Verdict(score=mmvet.score_sample(row))
        right = bool(videoqa.score_sample(row))
        return Verdict(pred="yes" if right else "no", score=videoqa.BEST if right else 0)
