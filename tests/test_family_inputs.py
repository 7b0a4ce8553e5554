"""Inputs of LLaVA, Qwen-VL and Video-LLaVA, built without torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import tiny_qwen_vl as qwen
import tiny_video_llava as video
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

import sparsevlm as sv
from sparsevlm.models.inputs import Sample, llava_inputs, qwen_vl_inputs, video_llava_inputs
from sparsevlm.models.inputs.pictures import (
    clip_pixels,
    pad_to_square,
    qwen_image_patches,
    qwen_video_patches,
    sample_frames,
)
from sparsevlm.models.inputs.samples import expand, pad_batch
from sparsevlm.models.inputs.video_llava import image_key

MEAN, STD = np.array(OPENAI_CLIP_MEAN), np.array(OPENAI_CLIP_STD)
SPECIAL = {
    tiny: ["<pad>", "<s>", "</s>", "<unk>", "<image>"],
    video: ["<pad>", "<s>", "</s>", "<unk>", "<image>", "<video>"],
    qwen: ["<pad>", "<s>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>",
           "<|vision_start|>", "<|vision_end|>"],
}  # fmt: skip


def tokenizer_for(module):
    """Byte-level, its special tokens at the ids that the tiny model has for them."""
    special = SPECIAL[module]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *letters])}
    base = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    base.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=base, pad_token="<pad>")


def picture(width, height, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def text_of(tokenizer, inputs, row=0):
    return tokenizer.decode(inputs["input_ids"][row][inputs["attention_mask"][row].bool()])


# --- Samples and prompts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"turns": "Q", "image": picture(4, 4), "video": [picture(4, 4)]}, "got both"),
        ({"turns": "Q", "video": []}, "no frames"),
        ({"turns": "Q", "video": [picture(4, 4)], "fps": 0}, "fps must be positive"),
        ({"turns": []}, "only the last answer is None"),
        ({"turns": [("Q", "A")]}, "only the last answer is None"),
        ({"turns": [("Q", None), ("R", None)]}, "only the last answer is None"),
        ({"turns": " "}, "every turn needs a question"),
    ],
)
def test_samples_that_make_no_sense(options, match):
    with pytest.raises(ValueError, match=match):
        Sample(**options)


TURNS = [("What?", "A dog."), ("Where?", None)]


def test_the_vicuna_prompt():
    tokenizer, config = tokenizer_for(tiny), tiny.tiny_llava().config
    inputs = llava_inputs(config, tokenizer, [Sample(TURNS, image=picture(30, 20))])
    assert text_of(tokenizer, inputs).replace("<image>" * 576, "<image>") == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. "
        "USER: <image>\nWhat? ASSISTANT: A dog.</s>USER: Where? ASSISTANT:"
    )
    alone = llava_inputs(config, tokenizer, [Sample("Why?")], system="")
    assert text_of(tokenizer, alone) == "USER: Why? ASSISTANT:"
    assert "pixel_values" not in alone


def test_token_ids_are_those_of_the_processor():
    tokenizer, config = tokenizer_for(tiny), tiny.tiny_llava().config
    inputs = llava_inputs(config, tokenizer, [Sample("Why?", image=picture(96, 96))], system="")
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 96}, crop_size=96),
        tokenizer=tokenizer, patch_size=4, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, image_token="<image>",
    )  # fmt: skip
    want = processor(
        text="USER: <image>\nWhy? ASSISTANT:", images=picture(96, 96), return_tensors="pt"
    )
    assert torch.equal(inputs["input_ids"], want["input_ids"])
    assert torch.equal(inputs["pixel_values"], want["pixel_values"])


def test_the_qwen_prompt():
    tokenizer, config = tokenizer_for(qwen), qwen.tiny_qwen2_vl().config
    inputs = qwen_vl_inputs(config, tokenizer, [Sample(TURNS, image=picture(56, 56))])
    count = int(inputs["image_grid_thw"].prod()) // 4
    text = text_of(tokenizer, inputs)
    assert text.replace("<|image_pad|>" * count, "<|image_pad|>") == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\nA dog.<|im_end|>\n"
        "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    )
    alone = qwen_vl_inputs(config, tokenizer, [Sample("Why?")], system="")
    assert text_of(tokenizer, alone) == (
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_placeholder_must_be_there_once():
    tokenizer = tokenizer_for(tiny)
    with pytest.raises(ValueError, match="found it 2 times"):
        expand(tokenizer, "<image> and <image>", tiny.IMAGE_TOKEN, 3)
    with pytest.raises(ValueError, match="found it 0 times"):
        expand(tokenizer, "no picture", tiny.IMAGE_TOKEN, 3)


def test_padding_is_on_the_left_and_needs_a_token():
    tokenizer = tokenizer_for(tiny)
    batch = pad_batch(tokenizer, [[7], [8, 9]])
    assert batch["input_ids"].tolist() == [[0, 7], [8, 9]]
    assert batch["attention_mask"].tolist() == [[0, 1], [1, 1]]
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        pad_batch(tokenizer, [[7], [8, 9]])
    assert pad_batch(tokenizer, [[7], [8]])["input_ids"].tolist() == [[7], [8]]


# --- Pixels ---------------------------------------------------------------------------------------


def test_pictures_are_padded_with_the_mean_colour():
    wide = picture(30, 20)
    square = np.asarray(pad_to_square(wide))
    assert square.shape == (30, 30, 3)
    assert (square[5:25] == np.asarray(wide)).all()
    assert (square[:5] == (122, 116, 104)).all() and (square[25:] == (122, 116, 104)).all()
    tall = np.asarray(pad_to_square(picture(20, 31)))
    assert (tall[:, 5:25] == np.asarray(picture(20, 31))).all()


def test_clip_pixels_are_normalised_and_cut_or_padded():
    wide = picture(48, 24)
    want = (np.asarray(wide)[:, 12:36] / 255 - MEAN) / STD
    cut = clip_pixels([wide], 24, pad=False)[0].permute(1, 2, 0).numpy()
    assert np.abs(cut - want).max() < 1e-5
    padded = clip_pixels([wide], 48, pad=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(padded[12:36] - (np.asarray(wide) / 255 - MEAN) / STD).max() < 1e-5
    assert np.abs(padded[:12]).max() < 0.02, "the mean colour is next to zero"


def test_frames_are_spread_from_the_first_to_the_last():
    frames = list(range(30))
    assert sample_frames(frames, 8) == np.linspace(0, 29, 8, dtype=int).tolist()
    assert sample_frames(frames[:3], 8) == np.linspace(0, 2, 8, dtype=int).tolist()
    assert sample_frames(frames, 1) == [0]


def qwen_processor(low=56 * 56, high=10**6):
    return Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2,
        size={"shortest_edge": low, "longest_edge": high},
    )  # fmt: skip


def test_qwen_images_are_what_the_processor_gives():
    wide = picture(90, 60)
    patches, grid = qwen_image_patches(wide, qwen_processor())
    want = qwen_processor()(wide, return_tensors="pt")
    assert torch.equal(patches, want["pixel_values"])
    assert [list(grid)] == want["image_grid_thw"].tolist()


def test_qwen_videos_have_the_layout_of_the_video_processor():
    """Value by value: patch (step, block, place in the block), then channel, frame, row, column."""
    frames = [picture(64, 56, seed) for seed in range(3)]
    patches, grid = qwen_video_patches(frames, qwen_processor())
    assert grid == (2, 14, 16)
    clip = np.stack([np.asarray(frames[i]) for i in (0, 1, 2, 2)])  # the last frame fills up
    clip = (clip / 255 - MEAN) / STD
    split = torch.from_numpy(clip).float().reshape(2, 2, 7, 2, 4, 8, 2, 4, 3)
    # step, frame, block row, row, y, block column, column, x, channel
    want = torch.einsum("tfRrpCcqk->tRCrckfpq", split).reshape(2 * 14 * 16, 3 * 2 * 4 * 4)
    assert (patches - want).abs().max() < 1e-5


def test_a_still_video_is_an_image():
    still = picture(70, 66)
    image, (_, rows, columns) = qwen_image_patches(still, qwen_processor())
    clip, grid = qwen_video_patches([still] * 4, qwen_processor())
    assert grid == (2, rows, columns)
    assert torch.equal(clip, image.repeat(2, 1))


def test_frames_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        qwen_video_patches([picture(70, 66), picture(66, 70)], qwen_processor())


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
    model.resize_token_embeddings(300)
    inputs = llava_inputs(
        model.config, tokenizer_for(tiny),
        [Sample("What?", image=picture(40, 20)), Sample(TURNS, image=picture(20, 40))],
        system="",
    )  # fmt: skip
    assert inputs["pixel_values"].shape == (2, 3, 96, 96)
    run(model, inputs, [(24, 24), (24, 24)], suppress_tokens=[4], pad_token_id=0)


@pytest.mark.parametrize("build", [qwen.tiny_qwen2_vl, qwen.tiny_qwen2_5_vl])
def test_qwen_takes_them(build):
    model = build()
    model.resize_token_embeddings(300)
    frames = [picture(64, 56, seed) for seed in range(5)]
    samples = [
        Sample("What?", image=picture(80, 48)),
        Sample("Why?"),
        Sample(TURNS, video=frames, fps=1.0),
    ]
    small = {"image_pixels": (16, 10**6), "frame_pixels": (16, 10**6)}
    inputs = qwen_vl_inputs(model.config, tokenizer_for(qwen), samples, **small)
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
    model.resize_token_embeddings(300)
    frames = [picture(30, 24, seed) for seed in range(11)]
    samples = [Sample("What?", video=frames), Sample("Why?"), Sample("Who?", image=frames[0])]
    inputs = video_llava_inputs(model.config, tokenizer_for(video), samples, num_frames=4)
    assert inputs["pixel_values_videos"].shape == (1, 4, 3, 24, 24)
    assert inputs[image_key()].shape == (1, 3, 24, 24)
    assert (inputs["input_ids"] == video.VIDEO_TOKEN).sum(1).tolist() == [video.NUM_VIDEO, 0, 0]
    assert (inputs["input_ids"] == video.IMAGE_TOKEN).sum(1).tolist() == [0, 0, video.NUM_IMAGE]
    text = text_of(tokenizer_for(video), inputs).replace("<video>" * video.NUM_VIDEO, "<video>")
    assert text == "USER: <video>\nWhat? ASSISTANT:"
    run(model, inputs, [(4, 6, 6), None, (6, 6)], suppress_tokens=[4, 5], pad_token_id=0)
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        video_llava_inputs(model.config, tokenizer_for(video), samples, num_frames=0)


def test_llava_refuses_videos():
    sample = Sample("What?", video=[picture(8, 8)])
    with pytest.raises(ValueError, match="images only"):
        llava_inputs(tiny.tiny_llava().config, tokenizer_for(tiny), [sample])
