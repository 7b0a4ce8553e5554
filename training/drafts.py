"""Which questions a training scene or clip is asked, and how often each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparsevlm.miniature.facts import Facts, pick, shuffled
from sparsevlm.miniature.question_families import FAMILIES, Draft, Family
from sparsevlm.miniature.video_llava import question_families as clip_families

# Families that need two steps of reasoning are trained on more often.
TRAINING_SHARES = (*FAMILIES, "mmbench", "mme", "mme", "seed")
# What the eight-layer miniature answered worst before its polish: letters and numbers.
HARD_KINDS = (
    "mmbench/text", "mme/OCR", "mme/count", "seed/count", "seed/text", "textvqa/text",
)  # fmt: skip
# In training, kinds of question about clips that need the order of the frames or a count over them
# come so many times as often as the others.
TIMED_SHARE = 5
TIMED = (
    clip_families.tgif_does,
    clip_families.tgif_count,
    clip_families.msrvtt_who,
    clip_families.activitynet_does,
)


def training_drafts(
    facts: Facts,
    rng: np.random.Generator,
    count: int,
    hard: int = 0,
    families: Mapping[str, Sequence[Family]] = FAMILIES,
    shares: Sequence[str] = TRAINING_SHARES,
    hard_kinds: Sequence[str] = HARD_KINDS,
) -> list[tuple[str, Draft]]:
    """``count`` questions about a training scene with the name of their kind.

    A benchmark comes as often as it stands in ``shares``: those that need two steps of reasoning
    more often. No question is one of a reported benchmark: training scenes have other seeds. At
    least ``hard`` of them are of ``hard_kinds``.
    """
    drafts: list[tuple[str, Draft]] = []
    while len(drafts) < count:
        name = shares[int(rng.integers(len(shares)))]
        family = families[name][int(rng.integers(len(families[name])))]
        made = family(facts, rng)
        if made:
            draft = made[int(rng.integers(len(made)))]
            kind = f"{name}/{draft.split}"
            if len(drafts) >= hard or kind in hard_kinds:
                drafts.append((kind, draft))
    return shuffled(rng, drafts)


def clip_drafts(
    facts: clip_families.ClipFacts, rng: np.random.Generator, count: int
) -> list[tuple[str, Draft]]:
    """``count`` questions about a training clip, each with the name of its kind."""
    families = [
        (name, family)
        for name, group in clip_families.FAMILIES.items()
        for family in group
        for _ in range(TIMED_SHARE if family in TIMED else 1)
    ]
    drafts: list[tuple[str, Draft]] = []
    while len(drafts) < count:
        name, family = pick(rng, families)
        draft = family(facts, rng)
        if draft:
            drafts.append((f"{name}/{family.__name__.split('_', 1)[1]}", draft))
    return drafts
