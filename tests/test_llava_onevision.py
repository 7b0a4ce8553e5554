"""LLaVA-OneVision: tokens that were shrunk, several pictures without tiles, videos."""

from __future__ import annotations

from math import floor, prod
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_llava_onevision as tiny
import torch
from contract.cases import FAMILIES
from contract.runs import build
from test_llava_next import kept
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionModel,
    LlavaOnevisionProcessor,
)

import sparsevlm as sv
from sparsevlm.models.llava_next import num_tokens, side_of, tiles, views_of

CASE = FAMILIES["llava-onevision"]
RELEASED = LlavaOnevisionConfig()  # of the 7B checkpoint, as transformers has it


def test_the_number_is_that_of_the_processor():
    processor = object.__new__(LlavaOnevisionProcessor)  # to make it takes a reader of videos
    processor.image_processor = LlavaOnevisionImageProcessorPil()
    processor.num_image_tokens, processor.vision_aspect_ratio = 27**2, "anyres_max_9"
    for size in np.random.default_rng(0).integers(1, 4000, (300, 2)).tolist():
        assert num_tokens(size, RELEASED) == processor._get_number_of_features(*size, 384, 384)


@pytest.mark.parametrize("size", [
    (384, 384), (640, 480), (2300, 2200), (2304, 384), (900, 2000), (100, 3000), (1920, 1080),
])  # fmt: skip
def test_a_token_is_of_the_tile_in_which_its_middle_lies(size):
    """The model's own packing, of features that say where in the tiles they are from."""
    side, (down, across), newline = side_of(RELEASED), tiles(size, RELEASED), -9.0
    line = torch.arange(side)
    made = torch.full((1 + down * across, side**2, 2), -5.0)
    for tile in range(down * across):
        top, left = tile // across * side, tile % across * side
        made[1 + tile] = torch.cartesian_prod(top + line, left + line)
    (packed,), _ = LlavaOnevisionModel.pack_image_features(
        SimpleNamespace(config=RELEASED), [made], torch.tensor([size]),
        torch.full((2,), newline), "anyres_max_9",
    )  # fmt: skip
    labels, grids = views_of(size, RELEASED)
    assert len(packed) == len(labels) == num_tokens(size, RELEASED)
    assert labels.bincount().tolist() == list(map(prod, grids))
    seen, last = {}, 0
    for (row, column), label in zip(packed.tolist(), labels.tolist(), strict=True):
        if row != newline:
            inside = (floor(round(place + 0.5, 3) / side) for place in (row, column))
            last = None if row == -5 else tuple(inside)
        assert seen.setdefault(last, label) == label
    assert list(seen.values()) == list(range(len(grids)))


def several():
    """A prompt with two pictures, each as a whole, and one with one, in tiles."""
    given = torch.Generator().manual_seed(3)
    question, image = [7, 8, 9, 11, 12, 13], [tiny.IMAGE_TOKEN]
    rows = [[1, *image * 37, 20, 21, *image * 37, *question],
            [1, *image * tiny.NUM_VISUAL[1], *question]]  # fmt: skip
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        ),
        "pixel_values": torch.randn(3, 5, 3, tiny.SIDE, tiny.SIDE, generator=given),
        "image_sizes": torch.tensor([tiny.SIZES[0], tiny.SIZES[1], tiny.SIZES[1]]),
        "batch_num_images": torch.tensor([2, 1]),
    }


@pytest.mark.parametrize("how", ["logits", "generate"])
@pytest.mark.parametrize("method", ["sparsevlm", "random"])
def test_several_pictures_have_no_tiles_to_give_a_budget_to(method, how):
    found = []
    for budget in ("shared", "per_tile"):
        with sv.prune(CASE.model(), build(CASE, method, budget=budget)) as trace:
            getattr(CASE, how)(CASE.model(), several())
            found.append(trace.samples)
    shared, apart = found
    where = [(0, 0, 37), (0, 1, 37), (1, 0, tiny.NUM_VISUAL[1])]
    assert [(one.sample, one.image, one.num_visual) for one in apart] == where
    assert [one.tokens_out for one in apart] == [one.tokens_out for one in shared]
    assert kept(apart[:2]) == kept(shared[:2])
    assert kept(apart[2:]) != kept(shared[2:])


def test_beams_draw_as_one_answer_does():
    """Draws depend on the pixels, of pictures and of a video's frames."""
    inputs, found = CASE.inputs(), []
    with sv.prune(CASE.model(), build(CASE, "random")) as trace:
        for options in ({}, {"num_beams": 2}, {"num_beams": 2, "use_cache": False}):
            CASE.generate(CASE.model(), inputs, **options)
            found.append(kept(trace.samples))
        other = {**inputs, "pixel_values_videos": -inputs["pixel_values_videos"]}
        CASE.generate(CASE.model(), other)
        drawn = kept(trace.samples)
    once, *beams = found
    assert all(twice[::2] == twice[1::2] == once for twice in beams)
    assert [one == two for one, two in zip(once, drawn, strict=True)] == [True, True, False]


def test_two_videos_in_a_prompt_are_refused():
    inputs = CASE.row(CASE.inputs(), 2)
    twice = {name: torch.cat([one, one], 0 if name.startswith("pixel") else 1)
             for name, one in inputs.items()}  # fmt: skip
    with sv.prune(CASE.model(), build(CASE, "fastv")):
        with pytest.raises(ValueError, match="2 videos, .* give each video its own sample"):
            CASE.logits(CASE.model(), twice)
