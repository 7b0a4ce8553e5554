"""Prompt builders: the pixels of every architecture, made without torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import tiny_qwen_vl as qwen
import tiny_video_llava as video
import torch
from PIL import Image
from tiny_checkpoints import FAMILIES, QWEN, VICUNA, letters_tokenizer
from tiny_mini_gemini import small_config
from transformers import Qwen2VLImageProcessorPil
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

import sparsevlm as sv
from sparsevlm.models.images import ImageError, sample_frames
from sparsevlm.models.prompts import prompt_builder
from sparsevlm.models.prompts.clip import clip_pixels, clip_processor, pad_to_square
from sparsevlm.models.prompts.mini_gemini import low_pixels
from sparsevlm.models.prompts.qwen_vl import QwenPromptBuilder, qwen_patches
from sparsevlm.models.prompts.video_llava import image_key

MEAN, STD = np.array(OPENAI_CLIP_MEAN), np.array(OPENAI_CLIP_STD)


def picture(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def normalized(image):
    return (np.asarray(image) / 255 - MEAN) / STD


def test_images_are_padded_with_the_mean_color():
    wide = picture(30, 20)
    square = np.asarray(pad_to_square(wide))
    assert square.shape == (30, 30, 3)
    assert (square[5:25] == np.asarray(wide)).all()
    assert (square[:5] == (122, 116, 104)).all() and (square[25:] == (122, 116, 104)).all()
    tall = np.asarray(pad_to_square(picture(20, 31)))
    assert (tall[:, 5:25] == np.asarray(picture(20, 31))).all()


@pytest.mark.parametrize("family", ["llava", "mini_gemini"])
def test_a_wide_image_gets_bands_of_the_mean(family):
    builder = prompt_builder(
        family, FAMILIES[family][0]().config, letters_tokenizer(FAMILIES[family][1])
    )
    pixels = builder.inputs(["Why?"], [[picture(96, 48)]])["pixel_values"]
    side = pixels.shape[-1]
    assert pixels[..., : side // 4 - 4, :].abs().max() < 0.02, "the mean color is next to zero"
    assert pixels[..., side // 2 - 4 : side // 2 + 4, :].abs().max() > 0.5
    assert builder.fit == "pad"


def test_clip_pixels_are_normalized_and_cut_or_padded_or_stretched():
    wide = picture(48, 24)
    found = {fit: clip_pixels([wide], 48 if fit == "pad" else 24, fit)[0].permute(1, 2, 0).numpy()
             for fit in ("crop", "pad", "stretch")}  # fmt: skip
    assert np.abs(found["crop"] - normalized(wide)[:, 12:36]).max() < 1e-5
    assert np.abs(found["pad"][12:36] - normalized(wide)).max() < 1e-5
    assert np.abs(found["pad"][:12]).max() < 0.02
    narrow = wide.resize((24, 24), Image.Resampling.BICUBIC)
    assert np.abs(found["stretch"] - normalized(narrow)).max() < 1e-5


@pytest.mark.parametrize("size", [(900, 7), (7, 900), (301, 300), (1, 1), (5, 64), (640, 480)])
def test_padding_strip_by_strip_gives_the_same_pixels(size, monkeypatch):
    """Bit for bit what the scripts get from the whole square."""
    monkeypatch.setattr("sparsevlm.models.prompts.clip.STRIP", 5000)
    processor = clip_processor(96, "pad", tuple(MEAN), tuple(STD))
    want = processor([pad_to_square(picture(*size))], return_tensors="pt")["pixel_values"]
    assert torch.equal(clip_pixels([picture(*size)], 96, "pad", tuple(MEAN), tuple(STD)), want)


def test_panoramas_need_no_memory_for_their_squares():
    """A picture of 65,500 x 3 pixels on a square would take 17 GB."""
    line = Image.new("RGB", (65_500, 3), "white")
    assert clip_pixels([line], 336, "pad").shape == (1, 3, 336, 336)
    assert clip_pixels([line], 336, "stretch").min() > 1.9
    with pytest.raises(ImageError, match="65500 x 3 pixels is more than 200 times as long as wide"):
        clip_pixels([line], 336, "crop")
    with pytest.raises(ValueError, match="aspect ratio must be smaller than 200"):
        qwen_patches([line], qwen_processor())


def test_frames_are_spread_from_the_first_to_the_last():
    frames = list(range(30))
    assert sample_frames(frames, 8) == np.linspace(0, 29, 8, dtype=int).tolist()
    assert sample_frames(frames[:3], 8) == np.linspace(0, 2, 8, dtype=int).tolist()
    assert sample_frames(frames, 1) == [0]


def test_hd_views_of_mini_gemini_are_row_by_row_and_the_whole_last():
    config = small_config(views="hd")
    aux = torch.zeros(1, 3, 128, 128)
    for number, (top, left) in enumerate([(0, 0), (0, 64), (64, 0), (64, 64)]):
        aux[:, :, top : top + 64, left : left + 64] = number
    views = low_pixels(aux, config)[0]
    assert views.shape == (5, 3, 28, 28)
    assert [view[0, 14, 14].item() for view in views[:4]] == [0, 1, 2, 3]
    corners = [views[4, 0, row, column].item() for row in (0, 27) for column in (0, 27)]
    assert corners == [0, 1, 2, 3]


# --- Qwen-VL --------------------------------------------------------------------------------------


def qwen_processor(low=56 * 56, high=10**6):
    return Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2,
        size={"shortest_edge": low, "longest_edge": high},
    )  # fmt: skip


def test_qwen_images_are_what_the_processor_gives():
    wide = picture(90, 60)
    patches, grid = qwen_patches([wide], qwen_processor())
    want = qwen_processor()(wide, return_tensors="pt")
    assert torch.equal(patches, want["pixel_values"])
    assert [list(grid)] == want["image_grid_thw"].tolist()


def test_qwen_videos_have_the_layout_of_the_video_processor():
    """Value by value: patch (step, block, place in the block), then channel, frame, row, column."""
    frames = [picture(64, 56, seed) for seed in range(3)]
    patches, grid = qwen_patches(frames, qwen_processor())
    assert grid == (2, 14, 16)
    clip = np.stack([np.asarray(frames[i]) for i in (0, 1, 2, 2)])  # the last frame fills up
    clip = (clip / 255 - MEAN) / STD
    split = torch.from_numpy(clip).float().reshape(2, 2, 7, 2, 4, 8, 2, 4, 3)
    # step, frame, block row, row, y, block column, column, x, channel
    want = torch.einsum("tfRrpCcqk->tRCrckfpq", split).reshape(2 * 14 * 16, 3 * 2 * 4 * 4)
    assert (patches - want).abs().max() < 1e-5


def test_a_still_video_is_an_image():
    still = picture(70, 66)
    image, (_, rows, columns) = qwen_patches([still], qwen_processor())
    clip, grid = qwen_patches([still] * 4, qwen_processor())
    assert grid == (2, rows, columns)
    assert torch.equal(clip, image.repeat(2, 1))


def test_frames_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        qwen_patches([picture(70, 66), picture(66, 70)], qwen_processor())


def test_images_of_qwen_have_the_tokens_of_table_2():
    """An image of COCO's usual size comes to the mean that the paper prints, 1311 to 1326."""
    assert QwenPromptBuilder.image_tokens == (1280, 16384)
    config = qwen.tiny_qwen2_vl().config
    builder = prompt_builder("qwen2_vl", config, letters_tokenizer(QWEN))
    inputs = builder.inputs(["Why?"], [[picture(183, 137)]])  # 640 x 480 at 8 pixels for 28
    visual = (inputs["input_ids"] == config.image_token_id).sum().item()
    assert 1280 <= visual < 1330


# --- The models take them -------------------------------------------------------------------------


def run(model, inputs, grids, **options):
    with torch.no_grad(), sv.prune(model, sv.make_pruner(
        "sparsevlm", tokens=10, num_layers=8, num_visual=49, positions="original"
    )) as trace:  # fmt: skip
        model(**inputs)
        assert [sample.grid for sample in trace.samples] == grids
        tokens = model.generate(**inputs, max_new_tokens=2, do_sample=False, **options)
        assert [sample.grid for sample in trace.samples] == grids
    assert tokens.shape[1] == inputs["input_ids"].shape[1] + 2


def test_llava_takes_them():
    model = tiny.tiny_llava()
    builder = prompt_builder("llava", model.config, letters_tokenizer(VICUNA))
    inputs = builder.inputs(["What?", "Where is it?"], [[picture(40, 20)], [picture(20, 40)]])
    assert inputs["pixel_values"].shape == (2, 3, 96, 96)
    run(model, inputs, [(24, 24), (24, 24)], suppress_tokens=[4], pad_token_id=0)


@pytest.mark.parametrize("build", [qwen.tiny_qwen2_vl, qwen.tiny_qwen2_5_vl])
def test_qwen_takes_them(build):
    model = build()
    builder = prompt_builder(
        "qwen2_vl", model.config, letters_tokenizer(QWEN),
        image_tokens=(1, 15000), frame_tokens=(1, 15000), fps=1.0,
    )  # fmt: skip
    frames = [picture(64, 56, seed) for seed in range(5)]
    inputs = builder.inputs(["What?", "Why?", "Where is it?"], [[picture(80, 48)], [], frames])
    types, ids = inputs["mm_token_type_ids"], inputs["input_ids"]
    assert (types == 1).sum(1).tolist() == [60, 0, 0] and (types == 2).sum(1).tolist()[2] == 168
    assert torch.equal(types == 1, ids == qwen.IMAGE_TOKEN)
    positions, _ = model.model.get_rope_index(
        **{k: v for k, v in inputs.items() if not k.startswith("pixel_values")}
    )
    steps = positions[0, 2][types[2] == 2]
    is_newer = "second_per_grid_ts" in inputs
    assert is_newer == (build is qwen.tiny_qwen2_5_vl)
    # Two frames at one a second are two seconds; Qwen2.5 here counts two positions a second.
    assert sorted({int(s - steps[0]) for s in steps}) == ([0, 4, 8] if is_newer else [0, 1, 2])
    run(model, inputs, [(6, 10), None, (3, 7, 8)], suppress_tokens=[4, 5, 6, 7], pad_token_id=0)


def test_video_llava_takes_them():
    model = video.tiny_video_llava()
    builder = prompt_builder("video_llava", model.config, letters_tokenizer(VICUNA))
    frames = [picture(30, 24, seed) for seed in range(11)]
    inputs = builder.inputs(["What?", "Why?", "Who?"], [frames, [], frames[:1]])
    assert inputs["pixel_values_videos"].shape == (1, builder.num_frames, 3, 24, 24)
    assert inputs[image_key()].shape == (1, 3, 24, 24)
    assert (inputs["input_ids"] == video.VIDEO_TOKEN).sum(1).tolist() == [video.NUM_VIDEO, 0, 0]
    assert (inputs["input_ids"] == video.IMAGE_TOKEN).sum(1).tolist() == [0, 0, video.NUM_IMAGE]
    run(model, inputs, [(4, 6, 6), None, (6, 6)], suppress_tokens=[4, 5], pad_token_id=0)
