"""A judge without a model: the benchmark's own normalized match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsevlm.benchmarks import mmvet, videoqa
from sparsevlm.evaluation.judges.interface import CostEstimate, Row, Verdict
from sparsevlm.evaluation.judges.prompts import MM_VET, Task


@dataclass(frozen=True)
class MatchJudge:
    """Says yes with 5 points where the answer matches, else no with 0; MM-Vet: the share of facts.

    The rule itself is part of a run's id, so it is not part of `identity`.

    Attributes
    ----------
    task : Task
        Video questions or MM-Vet.
    """

    task: Task

    def identity(self) -> dict:
        return {"kind": "match", "task": self.task.name}

    def estimate(self, rows: Sequence[Row]) -> CostEstimate:
        return CostEstimate(len(rows))

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        if self.task is MM_VET:
            return [Verdict(score=mmvet.score_sample(row)) for row in rows]
        right, wrong = Verdict(pred="yes", score=videoqa.BEST), Verdict(pred="no", score=0)
        return [right if videoqa.score_sample(row) else wrong for row in rows]
