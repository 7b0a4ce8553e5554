"""SEED-Bench: multiple choice, answered by a letter; total, image, video and per ability."""

from __future__ import annotations

from collections.abc import Sequence

from sparsevlm.benchmarks.counting import (
    Counts,
    Row,
    accuracy_parts,
    exact_match,
    percent_right,
    ratio,
    share_right,
    total_of,
)
from sparsevlm.benchmarks.sample import Sample

# Abilities 10 to 12; the other nine are asked about images.
VIDEO_ABILITIES = ("Action Recognition", "Action Prediction", "Procedure Understanding")
KINDS = ("image", "video")


def parse(prediction: str, sample: Sample) -> str:
    """Return the answer as it is, without blanks around it.

    Source
    ------
    LLaVA `scripts/convert_seed_for_submission.py`, which asks for the bare letter: "A." is wrong.
    Difference: none.
    """
    return prediction.strip()


score_sample = exact_match(parse)


def sample_stats(group: Sequence[Row]) -> Counts:
    """Return the counts of a group: overall, by ability, and as "image_..." or "video_..."."""
    out = share_right(score_sample)(group)
    kind = "video" if group[0]["split"] in VIDEO_ABILITIES else "image"
    return out | {f"{kind}_right": out["right"], f"{kind}_asked": out["asked"]}


def score(rows: Sequence[Row]) -> dict:
    """Return the total accuracy in percent under "score".

    "image" and "video" are the accuracies of the two kinds, where there are such questions; "parts"
    has that of each ability.
    """
    totals = total_of(rows, sample_stats)
    kinds = {
        kind: float(100 * ratio(totals[f"{kind}_right"], totals[f"{kind}_asked"]))
        for kind in KINDS
        if f"{kind}_asked" in totals
    }
    return {"score": float(percent_right(totals)), **kinds, "parts": accuracy_parts(totals)}
