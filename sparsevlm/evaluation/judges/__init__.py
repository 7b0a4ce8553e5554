"""Judges of open answers: a match, an open model that runs here, a model behind an address.

Video questions and MM-Vet are scored in the paper by language models that are no longer served, so
a score always names its judge: `Judge.identity()` is part of what identifies a result.
"""

from __future__ import annotations

from sparsevlm.evaluation.judges.endpoint import EndpointJudge
from sparsevlm.evaluation.judges.interface import (
    CostEstimate,
    Judge,
    JudgeError,
    Verdict,
)
from sparsevlm.evaluation.judges.match import MatchJudge
from sparsevlm.evaluation.judges.open_model import OpenJudge
from sparsevlm.evaluation.judges.prompts import TASKS, Prompt, Task
from sparsevlm.evaluation.judges.records import judge_records

__all__ = [
    "TASKS",
    "EndpointJudge",
    "CostEstimate",
    "Judge",
    "JudgeError",
    "MatchJudge",
    "OpenJudge",
    "Prompt",
    "Task",
    "Verdict",
    "judge_records",
]
