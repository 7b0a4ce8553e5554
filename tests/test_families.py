"""Qwen2-VL, Qwen2.5-VL and Video-LLaVA: the visual tokens are found, and pruning is consistent."""

from __future__ import annotations

import pytest
import tiny_qwen_vl as qwen
import tiny_video_llava as video
import torch
from family_cases import CASES, NUM_LAYERS, generate, logits, pruner
from tiny import tiny_inputs
from tiny_mini_gemini import tiny_mini_gemini, tiny_mini_gemini_inputs

import sparsevlm as sv
from sparsevlm.models.qwen_vl import QwenVL
from sparsevlm.models.video_llava import VideoLlava


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


# --- Where the visual tokens are ------------------------------------------------------------------


def adapter(case):
    kind = VideoLlava if case.name == "video-llava" else QwenVL
    return kind(case.model())


def test_the_finder_marks_the_placeholders_of_images_and_videos(case):
    inputs = case.inputs()
    mask = adapter(case).visual_mask(inputs)
    assert mask.sum(1).tolist() == list(case.counts)
    for row in range(3):
        real = inputs["attention_mask"][row].bool()
        found = mask[row][real]
        assert not found[: len(case.before)].any()
        assert found[len(case.before) : len(case.before) + case.counts[row]].all()


def test_several_turns_have_one_image(case):
    """Text of earlier turns stands after the image: it is text, and rates."""
    inputs = case.inputs((40, 25, 30))
    with sv.prune(case.model(), pruner(case, "sparsevlm")) as trace:
        logits(case.model(), inputs)
    for sample, count, tokens in zip(
        trace.samples, case.counts, inputs["attention_mask"].sum(1).tolist(), strict=True
    ):
        assert sample.num_visual == count
        assert all(r < tokens - len(case.before) - count for r in sample.stages[0].raters)


def test_grids_are_per_row_also_under_generate_and_beams(case):
    model, inputs = case.model(), case.inputs()
    with sv.prune(model, pruner(case, "uniform")) as trace:
        logits(model, inputs)
        assert [sample.grid for sample in trace.samples] == list(case.grids)
        generate(model, inputs, num_beams=2)
        assert [sample.grid for sample in trace.samples] == [g for g in case.grids for _ in "ab"]
        for row in range(3):
            generate(model, case.row(inputs, row))
            assert trace.samples[0].grid == case.grids[row]


def test_pixels_are_those_of_the_row(case):
    inputs = case.inputs()
    family = adapter(case)
    visual = family.visual_mask(inputs)
    for row in range(3):
        alone = case.row(case.inputs(), row)
        (want,) = (value for key, value in alone.items() if key.startswith("pixel_values"))
        assert torch.equal(family.pixels(inputs, visual, row).flatten(), want.flatten())


def test_draws_depend_on_the_pixels_also_under_generate(case):
    """`generate` encodes the pictures ahead of the model, which then sees no pixels."""
    check_draws(case.model(), case.inputs(), pruner(case, "random"))


@pytest.mark.parametrize("family", ["llava", "mini-gemini"])
def test_llavas_draws_depend_on_the_pixels_too(family, sdpa_model):
    model = sdpa_model if family == "llava" else tiny_mini_gemini()
    inputs = tiny_inputs() if family == "llava" else tiny_mini_gemini_inputs()
    num_visual = 576 if family == "llava" else 256
    random = sv.make_pruner("random", tokens=64, num_layers=8, num_visual=num_visual)
    check_draws(model, inputs, random)


def check_draws(model, inputs, random):
    other = {k: v * 1.5 if k.startswith("pixel_values") else v for k, v in inputs.items()}

    def kept(inputs, run, **options):
        with sv.prune(model, random) as trace:
            run(model, inputs, **options)
        return [sample.stages[-1].kept for sample in trace.samples]

    want = kept(inputs, logits)
    assert kept(inputs, generate) == want == kept(inputs, generate, use_cache=False)
    assert kept(inputs, generate, num_beams=2)[::2] == want
    assert all(new != old for new, old in zip(kept(other, generate), want, strict=True))


# --- What is refused ------------------------------------------------------------------------------


def refused(case, inputs, match, run=logits):
    with sv.prune(case.model(), pruner(case, "uniform")):
        with pytest.raises(ValueError, match=match):
            run(case.model(), inputs)


def joined(case, inputs, first, second):
    """Both rows as one sample."""
    parts = [case.row(inputs, first), case.row(inputs, second)]
    found = {}
    for name in {**parts[0], **parts[1]}:
        dim = 1 if parts[0]["input_ids"].shape == parts[0].get(name, torch.zeros(0)).shape else 0
        found[name] = torch.cat([part[name] for part in parts if name in part], dim)
    return found


@pytest.mark.parametrize("run", [logits, generate])
def test_several_per_sample_are_refused(case, run):
    inputs = case.inputs()
    same = (0, 1) if case.name.startswith("qwen") else (0, 2)
    refused(case, joined(case, inputs, *same), "are not supported, give each", run)
    refused(case, joined(case, inputs, 1, 2), "an image and a video|images and videos", run)


def test_visual_mask_is_left_out(case):
    with pytest.raises(ValueError, match="leave visual_mask out"):
        with sv.prune(case.model(), pruner(case, "fastv"), visual_mask=(0, 5)):
            pass


def test_two_neighbouring_images_are_not_one():
    case = CASES["video-llava"]
    inputs = case.row(case.inputs(), 1)
    ids = inputs["input_ids"]
    another = torch.full((1, video.NUM_IMAGE), video.IMAGE_TOKEN)
    ids = torch.cat([ids[:, :5], another, ids[:, 5:]], 1)
    pixels = inputs[video.KEYS["image"]].repeat(2, 1, 1, 1)
    both = {"input_ids": ids, "attention_mask": torch.ones_like(ids), video.KEYS["image"]: pixels}
    refused(case, both, "give each image its own sample", logits)
    refused(case, both, "give each", generate)


def test_a_wrong_grid_is_refused():
    case = CASES["qwen2-vl"]
    inputs = case.inputs()
    grid = inputs["image_grid_thw"].clone()
    grid[0, 1] += 2
    refused(case, {**inputs, "image_grid_thw": grid}, "expand the placeholder")


# --- Positions in three axes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_renumbering_warns_that_rows_and_columns_are_lost(name):
    case = CASES[name]
    model, inputs = case.model(), case.inputs()
    with pytest.warns(UserWarning, match="rows and columns are lost"):
        with sv.prune(model, pruner(case, "sparsevlm", positions="renumbered")):
            tokens = generate(model, inputs)
            assert torch.equal(tokens, generate(model, inputs, use_cache=False))


@pytest.mark.filterwarnings("ignore:positions=.renumbered.:UserWarning")
@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_the_models_own_positions_come_back(name):
    """The model keeps the offset of its positions from call to call."""
    case = CASES[name]
    model, inputs = case.model(), case.inputs()
    want = generate(model, inputs)
    deltas = model.model.rope_deltas.clone()
    for method in ("sparsevlm", "tome"):
        with sv.prune(model, pruner(case, method)):
            generate(model, inputs)
        assert torch.equal(model.model.rope_deltas, deltas)
        assert torch.equal(generate(model, inputs), want)


def test_a_longer_interval_in_time_changes_what_is_answered():
    """Qwen2.5-VL's spacing of frames reaches the pruned layers."""
    case = CASES["qwen2.5-vl"]
    model, inputs = case.model(), case.row(case.inputs(), 2)
    found = []
    for seconds in (1.0, 4.0):
        timed = {**inputs, "second_per_grid_ts": torch.tensor([seconds])}
        with sv.prune(model, pruner(case, "sparsevlm")):
            found.append(logits(model, timed)[:, -1])
            tokens = generate(model, timed)
            assert torch.equal(tokens, generate(model, timed, use_cache=False))
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_the_tiny_inputs_are_what_they_seem():
    for case in CASES.values():
        real = case.inputs()["attention_mask"].sum(1) - torch.tensor(case.counts)
        after = 1 if case.name.startswith("qwen") else 0
        assert (real - len(case.before) - after).tolist() == [6, 11, 9]
        assert len(case.model().model.language_model.layers) == NUM_LAYERS
    assert qwen.NUM_LAYERS == video.NUM_LAYERS == NUM_LAYERS
