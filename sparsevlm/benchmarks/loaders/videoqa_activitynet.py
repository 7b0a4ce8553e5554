"""ActivityNet-QA: longer videos, whose files have "v_" before the name that the questions use."""

from __future__ import annotations

from collections.abc import Mapping

from sparsevlm.benchmarks.loaders.layout import DataError
from sparsevlm.benchmarks.loaders.videoqa import VideoSet

# dataset/README.md of MILVLG/activitynet-qa: question types 0 to 2, answer types from 3.
TYPES = (
    "motion", "spatial relationship", "temporal relationship", "yes/no", "color", "object",
    "location", "number", "other",
)  # fmt: skip


def _type(question: str, answer: Mapping) -> str:
    """Return the name of the type; "" where the answers have none."""
    if "type" not in answer:
        return ""
    number = str(answer["type"])
    if not number.isdecimal() or int(number) >= len(TYPES):
        raise DataError(
            f"the type of {answer.get('question_id')!r} must be 0 to {len(TYPES) - 1}, "
            f"got {answer['type']!r}; download the answers again"
        )
    return TYPES[int(number)]


SET = VideoSet("Activitynet_Zero_Shot_QA", "all_test", prefix="v_", split=_type)
LAYOUT, read = SET.layout, SET.read
