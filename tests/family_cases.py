"""The tiny models of the other families, and what tests need to know about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import tiny_qwen_vl as qwen
import tiny_video_llava as video
import torch

import sparsevlm as sv

NUM_LAYERS = 8
GENERATE = {
    "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "suppress_tokens": [4, 5, 6, 7],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A family under test.

    Attributes
    ----------
    build, inputs, row
        Functions of the module with its tiny model.
    before
        Tokens ahead of the visual tokens.
    counts, grids
        Visual tokens and grid of every row of ``inputs()``.
    num_visual
        A middle size, for `make_pruner`.
    """

    name: str
    build: Callable
    inputs: Callable
    row: Callable
    before: tuple[int, ...]
    counts: tuple[int, ...]
    grids: tuple[tuple[int, ...], ...]
    num_visual: int

    def model(self, attention: str = "sdpa"):
        """One model per test run: pruning leaves it as it was."""
        return _model(self.name, attention)


QWEN = (qwen.tiny_qwen_inputs, qwen.qwen_row, qwen.BEFORE, qwen.NUM_VISUAL, qwen.CELLS, 144)
NUM_VIDEO, NUM_IMAGE = video.NUM_VIDEO, video.NUM_IMAGE
CASES = {
    case.name: case
    for case in (
        Case("qwen2-vl", qwen.tiny_qwen2_vl, *QWEN),
        Case("qwen2.5-vl", qwen.tiny_qwen2_5_vl, *QWEN),
        Case(
            "video-llava", video.tiny_video_llava, video.tiny_video_inputs, video.video_row,
            video.BEFORE, (NUM_VIDEO, NUM_IMAGE, NUM_VIDEO), ((4, 6, 6), (6, 6), (4, 6, 6)), 100,
        ),
    )
}  # fmt: skip


@cache
def _model(name: str, attention: str):
    return CASES[name].build(attention=attention)


def pruner(case: Case, name: str, tokens: int = 30, **options):
    """A method at a budget that all rows can be cut to."""
    if name.startswith("sparsevlm"):
        options = {"positions": "original", **options}
    return sv.make_pruner(
        name, tokens=tokens, num_layers=NUM_LAYERS, num_visual=case.num_visual, **options
    )


@torch.no_grad()
def generate(model, inputs, **options):
    """The new tokens."""
    return model.generate(**inputs, **GENERATE, **options)[:, inputs["input_ids"].shape[1] :]


@torch.no_grad()
def logits(model, inputs, **options):
    return model(**inputs, **options).logits


def text_row(inputs, length: int = 12, seed: int = 3):
    """Token ids of a question without an image, left-padded to a batch's length."""
    generator = torch.Generator().manual_seed(seed)
    question = torch.randint(8, 128, (length,), generator=generator)
    width = inputs["input_ids"].shape[1]
    ids, mask = torch.zeros(2, 1, width, dtype=torch.int64)
    ids[0, -length:], mask[0, -length:] = question, 1
    return ids, mask
