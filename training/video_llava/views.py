"""Clips as training shows them: in other orders, with fewer patches, as some of their tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsevlm.miniature.video_llava.clips import ONSETS, Clip
from sparsevlm.miniature.video_llava.vocabulary import NUM_FRAMES
from training.video_llava.model import TOKENS_PER_FRAME


def token_owners(clip: Clip) -> np.ndarray:
    """Actor of every visual token, -1 for background and -2 for a frame's class token, [tokens]."""
    owners = clip.owners.reshape(len(clip.owners), -1)
    return np.concatenate([np.full((len(owners), 1), -2), owners], axis=1).reshape(-1)


def kept_tokens(clips: list[Clip], rng: np.random.Generator, background: int) -> np.ndarray:
    """Visual tokens that a training step shows the decoder, [clips, kept], ascending.

    All patches of actors, all class tokens and at least ``background`` others at random (the clip
    with most actor patches decides the number), because a processor core trains several times as
    fast without the rest. With ``background`` 0 every token is kept.
    """
    owners = np.stack([token_owners(clip) for clip in clips])
    total = owners.shape[1]
    must = owners != -1
    kept = min(total, int(must.sum(1).max()) + background) if background else total
    order = np.argsort(~must + rng.random(owners.shape) * 0.5, axis=1, kind="stable")
    return np.sort(order[:, :kept], axis=1)


def log_sizes(clips: list[Clip], kept: np.ndarray) -> np.ndarray:
    """Logarithm of how many tokens of the whole clip each kept one stands for, [clips, kept].

    A kept patch of a shape stands for those that the shape covers in its frame, a kept patch of
    the background for those of the whole clip: shared among the kept ones alike.
    """
    found_sizes = np.zeros(kept.shape)
    frames = np.arange(NUM_FRAMES).repeat(TOKENS_PER_FRAME)
    for row, (clip, tokens) in enumerate(zip(clips, kept, strict=True)):
        owners = token_owners(clip)
        # One number per shape and frame, one for all background, one per class token.
        groups = np.where(owners < 0, -1, frames * len(clip.actors) + owners)
        groups[owners == -2] = -2 - np.arange(NUM_FRAMES)
        found, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        shown = np.bincount(members[tokens], minlength=len(found))
        found_sizes[row] = np.log(sizes[members[tokens]] / shown[members[tokens]])
    return found_sizes


_BACKWARDS = {
    "left": "right", "right": "left", "up": "down", "down": "up",
    "appears": "disappears", "disappears": "appears",
}  # fmt: skip


def backwards(clip: Clip) -> Clip:
    """The clip from its last frame to its first: as true as any other, and cheap to encode."""
    actors = tuple(
        replace(
            a,
            action=_BACKWARDS.get(a.action, a.action),
            kinds=a.kinds[::-1],
            colors=a.colors[::-1],
            when=NUM_FRAMES - a.when if a.action in ONSETS else 0,
            states=a.states[::-1],
        )
        for a in clip.actors
    )
    return replace(clip, pixels=clip.pixels[::-1], owners=clip.owners[::-1], actors=actors)


def reordered(clip: Clip, order: np.ndarray) -> Clip:
    """The clip with its frames in another order: true frame by frame, not as a whole."""
    actors = tuple(replace(a, states=tuple(a.states[i] for i in order)) for a in clip.actors)
    return replace(clip, pixels=clip.pixels[order], owners=clip.owners[order], actors=actors)


def thinned(clip: Clip, rng: np.random.Generator, patches: int) -> Clip:
    """The clip with at most so many patches of an actor in a frame, at random; 0 leaves all."""
    if not patches:
        return clip
    owners = np.full_like(clip.owners, -1)
    for frame, shown in enumerate(clip.owners):
        for actor in range(len(clip.actors)):
            mine = rng.permutation(np.argwhere(shown == actor))[:patches]
            owners[frame, mine[:, 0], mine[:, 1]] = actor
    return replace(clip, owners=owners)
