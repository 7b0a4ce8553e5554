"""The inputs of a batch of a miniature's samples."""

from __future__ import annotations

from sparsevlm.miniature.registry import get_miniature


def batch(name, builder, samples):
    """As evaluation makes them: the questions, and what the miniature draws for them."""
    miniature = get_miniature(name)
    media = [miniature.media(sample) for sample in samples]
    return builder.inputs([sample.question for sample in samples], media)
