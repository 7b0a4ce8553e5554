"""Qwen2-VL, Qwen2.5-VL, Video-LLaVA and LLaVA-NeXT: their images, videos and positions."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build
from contract.several import prompt_of

from sparsevlm.runtime.adapter import find_adapter

# Images or videos of several sizes; with M-RoPE or with CLS tokens in the sequence.
NAMES = ("qwen2-vl", "qwen2.5-vl", "video-llava")
SECOND = torch.tensor([[21, 22, 23, 24]])


@pytest.fixture(params=NAMES)
def case(request):
    return FAMILIES[request.param]


# --- Where the visual tokens are ------------------------------------------------------------------


def test_the_adapter_marks_the_placeholders_of_images_and_videos(case):
    inputs = case.inputs()
    mask = find_adapter(case.model()).visual_mask(inputs)
    assert mask.sum(1).tolist() == list(case.counts)
    assert torch.equal(mask, case.visual(inputs))


def test_several_turns_have_one_image(case):
    """Text of earlier turns stands after the image: it is text, and rates."""
    inputs = case.inputs((40, 25, 30))
    with case.prune(case.model(), build(case, "sparsevlm"), inputs) as trace:
        case.logits(case.model(), inputs)
    visual = case.visual(inputs)
    for row, sample in enumerate(trace.samples):
        assert sample.num_visual == case.counts[row]
        after = visual.shape[1] - 1 - int(visual[row].nonzero()[-1])
        assert all(rater < after for rater in sample.stages[0].raters)


def test_grids_are_per_row_also_under_generate_and_beams(case):
    model, inputs = case.model(), case.inputs()
    with case.prune(model, build(case, "uniform"), inputs) as trace:
        case.logits(model, inputs)
        assert [sample.grid for sample in trace.samples] == list(case.grids)
        case.generate(model, inputs, num_beams=2)
        assert [sample.grid for sample in trace.samples] == [g for g in case.grids for _ in "ab"]
        for row in range(3):
            case.generate(model, case.row(inputs, row))
            assert trace.samples[0].grid == case.grids[row]


def test_pixels_are_those_of_the_row(case):
    inputs = case.inputs()
    adapter = find_adapter(case.model())
    for row, (picture,) in enumerate(adapter.pictures(inputs, [[n] for n in case.counts])):
        alone = case.row(case.inputs(), row)
        (want,) = (value for key, value in alone.items() if key.startswith("pixel_values"))
        assert torch.equal(adapter.pixels(inputs, picture).flatten(), want.flatten())


@pytest.mark.parametrize("name", [*NAMES, "llava", "llava-next", "mini-gemini"])
def test_draws_depend_on_the_pixels_also_under_generate(name):
    """`generate` encodes the pictures ahead of the model, which then sees no pixels."""
    case = FAMILIES[name]
    model, inputs, random = case.model(), case.inputs(), build(case, "random")
    other = {k: v * 1.5 if k.startswith("pixel_values") else v for k, v in inputs.items()}

    def kept(inputs, run, **options):
        with case.prune(model, random, inputs) as trace:
            run(model, inputs, **options)
        return [sample.stages[-1].kept for sample in trace.samples]

    want, generate = kept(inputs, case.logits), case.generate
    assert kept(inputs, generate) == want == kept(inputs, generate, use_cache=False)
    assert kept(inputs, generate, num_beams=2)[::2] == want
    assert all(new != old for new, old in zip(kept(other, generate), want, strict=True))


# --- What is refused ------------------------------------------------------------------------------


def refused(case, inputs, match, run="logits"):
    with case.prune(case.model(), build(case, "uniform"), inputs):
        with pytest.raises(ValueError, match=match):
            getattr(case, run)(case.model(), inputs)


@pytest.mark.parametrize("run", ["logits", "generate"])
def test_an_image_and_a_video_are_refused(case, run):
    refused(case, prompt_of(case, (1, 2)), "image and a video", run)


def test_visual_mask_is_left_out(case):
    with pytest.raises(ValueError, match="leave visual_mask out"):
        find_adapter(case.model(), (0, 5))


def test_a_wrong_grid_is_refused():
    case = FAMILIES["qwen2-vl"]
    inputs = case.inputs()
    grid = inputs["image_grid_thw"].clone()
    grid[0, 1] += 2
    refused(
        case,
        {**inputs, "image_grid_thw": grid},
        "120 image placeholders, but its images give 132",
    )


# --- Positions in three axes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_renumbering_warns_that_rows_and_columns_are_lost(name):
    case = FAMILIES[name]
    model, inputs = case.model(), case.inputs()
    with pytest.warns(UserWarning, match="rows and columns are lost"):
        with case.prune(model, build(case, "sparsevlm", positions="renumbered"), inputs):
            tokens = case.generate(model, inputs)
            assert torch.equal(tokens, case.generate(model, inputs, use_cache=False))


@pytest.mark.filterwarnings("ignore:positions=.renumbered.:UserWarning")
@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_the_models_own_positions_come_back(name):
    """The model keeps the offset of its positions from call to call."""
    case = FAMILIES[name]
    model, inputs = case.model(), case.inputs()
    want = case.generate(model, inputs)
    deltas = model.model.rope_deltas.clone()
    for method in ("sparsevlm", "tome"):
        with case.prune(model, build(case, method), inputs):
            case.generate(model, inputs)
        assert torch.equal(model.model.rope_deltas, deltas)
        assert torch.equal(case.generate(model, inputs), want)


def test_a_longer_interval_in_time_changes_what_is_answered():
    """Qwen2.5-VL's spacing of frames reaches the pruned layers."""
    case = FAMILIES["qwen2.5-vl"]
    model, inputs = case.model(), case.row(case.inputs(), 2)
    found = []
    for seconds in (1.0, 4.0):
        timed = {**inputs, "second_per_grid_ts": torch.tensor([seconds])}
        with case.prune(model, build(case, "sparsevlm"), inputs):
            found.append(case.logits(model, timed)[:, -1])
            tokens = case.generate(model, timed)
            assert torch.equal(tokens, case.generate(model, timed, use_cache=False))
    assert (found[0] - found[1]).abs().max() > 1e-3


# --- A row without an image, a second turn --------------------------------------------------------


def test_rows_without_an_image_stay_dense(case):
    model, inputs = case.model(), case.inputs()
    ids, mask = torch.zeros(2, 1, inputs["input_ids"].shape[1], dtype=torch.int64)
    ids[0, -12:], mask[0, -12:] = torch.arange(20, 32), 1
    mixed = {**inputs, "input_ids": torch.cat([inputs["input_ids"], ids])}
    mixed["attention_mask"] = torch.cat([inputs["attention_mask"], mask])
    if "mm_token_type_ids" in inputs:
        mixed["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], 0 * ids])
    alone = {"input_ids": ids[:, -12:], "attention_mask": mask[:, -12:]}
    want = case.generate(model, alone)
    with case.prune(model, build(case, "sparsevlm"), inputs) as trace:
        tokens = case.generate(model, mixed)
        assert [sample.num_visual for sample in trace.samples] == [*case.counts, 0]
        assert trace.samples[-1].grid is None
        assert torch.equal(tokens[:3], case.generate(model, inputs))
        assert torch.equal(tokens[3:], want)
        assert torch.equal(case.generate(model, alone), want)


@torch.no_grad()
def continued(model, inputs, texts):
    """Logits after the prompt and after each further text, all in one cache."""
    out = model(**inputs, use_cache=True)
    found = [out.logits[:, -1]]
    for text in texts:
        out = model(input_ids=text, past_key_values=out.past_key_values)
        found.append(out.logits[:, -1])
    return found


@pytest.mark.parametrize("name", ["sparsevlm", "fastv", "tome"])
@pytest.mark.parametrize("row", [0, 2])
def test_text_in_one_piece_or_token_by_token(case, name, row):
    """A later turn sees the cache of the first: how it is cut into calls makes no difference."""
    model, inputs = case.model(), case.row(case.inputs(), row)
    with case.prune(model, build(case, name), inputs):
        whole = continued(model, inputs, [SECOND])
        pieces = continued(model, inputs, SECOND.split(1, dim=1))
        assert (whole[-1] - pieces[-1]).abs().max() < 2e-4
    dense = continued(model, inputs, [SECOND])
    assert (whole[-1] - dense[-1]).abs().max() > 0.01, "the second turn must see pruned layers"


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options"),
    [("sparsevlm", {}), ("fastv", {}), ("tome", {}), ("tome", {"positions": "original"})],
)
def test_decoding_equals_recomputation_without_a_cache(case, name, options):
    """Without one, every call carries the answer so far behind the prompt."""
    model, inputs = case.model(), case.row(case.inputs(), 2)
    how = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [4, 5, 6, 7],
           "output_logits": True, "return_dict_in_generate": True}  # fmt: skip
    with case.prune(model, build(case, name, **options), inputs):
        cached, again = (model.generate(**inputs, **how, use_cache=use) for use in (True, False))
    assert torch.equal(cached.sequences, again.sequences)
    assert len(cached.logits) == 4
    for found, want in zip(again.logits, cached.logits, strict=True):
        assert (found - want).abs().max() < 2e-4
