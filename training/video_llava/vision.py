"""The video tower on clips, and the words that every patch depicts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparsevlm.miniature.llava.prompts import PIXEL_MEAN, PIXEL_STD
from sparsevlm.miniature.scenes import HEIGHTS, SIDES
from sparsevlm.miniature.video_llava.clips import GRID, Clip
from sparsevlm.miniature.vocabulary import DEPICTED


def pixel_tensor(pixels: np.ndarray) -> Tensor:
    """Normalized pixels, [..., 3, height, width], of uint8 [..., height, width, 3]."""
    scaled = torch.from_numpy(pixels).movedim(-1, -3).float() / 255
    return (scaled - PIXEL_MEAN) / PIXEL_STD


def encode_frames(model, pixels: Tensor) -> Tensor:
    """Output of the video tower, class token first, [frames, 1 + patches, hidden]."""
    return model.model.video_tower(pixels).last_hidden_state


def encode_clips(model, clips: list[Clip]) -> Tensor:
    """Vision features of all frames in a row, [clips, frames * (1 + patches), hidden]."""
    pixels = pixel_tensor(np.stack([clip.pixels for clip in clips]))
    features = encode_frames(model, pixels.flatten(0, 1).to(model.lm_head.weight.device))
    return features.unflatten(0, (len(clips), -1)).flatten(1, 2)


def depicted_words(clips: list[Clip]) -> Tensor:
    """Which words each patch depicts, bool [clips, frames, patches, len(DEPICTED)].

    A patch of an actor depicts its kind and its color in that frame, any other "background";
    every patch depicts the side and the height where it lies.
    """
    place = {word: index for index, word in enumerate(DEPICTED)}
    owners = np.stack([clip.owners for clip in clips]).reshape(len(clips), len(clips[0].owners), -1)
    target = np.zeros((*owners.shape, len(DEPICTED)), bool)
    target[..., place["background"]] = owners < 0
    for number, clip in enumerate(clips):
        for index, actor in enumerate(clip.actors):
            for frame, state in enumerate(actor.states):
                mine = owners[number, frame] == index
                for word in state[:2] if state else ():
                    target[number, frame, mine, place[word]] = True
    thirds = np.arange(GRID) * 3 // GRID
    patches = np.arange(GRID * GRID)
    rows, columns = np.repeat(thirds, GRID), np.tile(thirds, GRID)
    target[..., patches, np.array([place[w] for w in HEIGHTS])[rows]] = True
    target[..., patches, np.array([place[w] for w in SIDES])[columns]] = True
    return torch.from_numpy(target)
