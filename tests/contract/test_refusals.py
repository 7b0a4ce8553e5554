"""A method on a model without what it looks at: refused by name, with a way out."""

from __future__ import annotations

import re

import pytest
import torch

import sparsevlm as sv

from .cases import FAMILIES
from .runs import TOWER, build

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))


@families
@pytest.mark.parametrize("method", TOWER)
def test_a_tower_that_is_not_there(family, method):
    pruner, name = build(family, method), type(family.model()).__name__
    if family.has_tower:
        if method == "cdpruner":
            with pytest.raises(ValueError, match='no text tower: give clip=.*use "cdpruner-words"'):
                with family.prune(family.model(), pruner, family.inputs()):
                    family.logits(family.model(), family.inputs())
        return
    with pytest.raises(ValueError) as refused:
        with family.prune(family.model(), pruner, family.inputs()):
            pass
    told = str(refused.value)
    assert re.match(rf"{type(pruner).__name__} looks into a CLIP vision tower .*{name} has", told)
    assert "use a method that" in told and "divprune" in told


def test_more_tokens_than_the_picture_has():
    """A sentence where a method is built; a warning where a picture turns out to be smaller."""
    for method in (*TOWER, "divprune", "dart", "cdpruner-words"):
        with pytest.raises(ValueError, match="integer from 1 to 144, got 145"):
            build(FAMILIES["llava"], method, 145)
    family = FAMILIES["video-llava"]
    with pytest.warns(UserWarning, match="keep 60 visual tokens, and this picture has 36: all"):
        with family.prune(family.model(), build(family, "vispruner", 60), {}) as trace:
            family.logits(family.model(), family.inputs())
    assert [sample.tokens_out[0] for sample in trace.samples] == [60, 36, 60]


def test_an_image_that_was_encoded_before_another():
    family, pruner = FAMILIES["llava"], build(FAMILIES["llava"], "holov")
    model, inputs = family.model(), family.inputs()
    pixels = inputs.pop("pixel_values")
    with torch.no_grad(), sv.prune(model, pruner):
        encoded, other = model.get_image_features(pixels), model.get_image_features(-pixels)
        model(**inputs, mm_encoder_outputs={"image": other})
        with pytest.raises(ValueError, match="give the pixels with the question"):
            model(**inputs, mm_encoder_outputs={"image": encoded})


# Pictures of two sizes, where the model takes those; of Video-LLaVA two images, and two videos.
TWO = {
    "llava": (0, 0), "llava-next": (0, 1), "mini-gemini": (0, 0), "qwen2-vl": (0, 1),
    "qwen2.5-vl": (0, 1), "video-llava": (1, 1), "video-llava ": (0, 0),
}  # fmt: skip
SEVERAL = [
    (name, apart, how)
    for name in TWO
    for apart in (True, False)
    for how in ("logits", "generate")
    # Qwen's own positions refuse two images without marks between them. Side by side, the frames
    # of two videos are those of one to a tower that `generate` runs.
    if apart or not (name.startswith("qwen") or (name == "video-llava " and how == "generate"))
]


@pytest.mark.parametrize("others", ["none", "a text"])
@pytest.mark.parametrize(("name", "apart", "how"), SEVERAL)
def test_several_images_in_one_prompt(name, apart, how, others):
    """Of one size or not, with words between or not, and where another sample has none."""
    family, two = FAMILIES[name.strip()], TWO[name]
    model, batch = family.model(), family.inputs()
    rows = [family.row(batch, row) for row in two]
    ids, pieces = [], [one["input_ids"][0].split(1) for one in rows]
    for number, (one, piece) in enumerate(zip(rows, pieces, strict=True)):
        visual = family.visual(one)[0].tolist()
        first, last = visual.index(True), len(visual) - visual[::-1].index(True)
        start = 0 if number == 0 else (1 if apart else first)
        stop = last if number == 0 and not apart else len(visual)
        ids += piece[start:stop]
    prompts = [torch.cat(ids)]
    if others == "a text":
        prompts.append(torch.cat([prompts[0].new_zeros(len(ids) - 4), torch.arange(20, 24)]))
    given = {"input_ids": torch.stack(prompts)}
    given["attention_mask"] = (given["input_ids"] != 0).long()
    for key in rows[0].keys() - {"input_ids", "attention_mask"}:
        if rows[0][key].shape != rows[0]["input_ids"].shape:
            given[key] = torch.cat([one[key] for one in rows if key in one])
    if "mm_token_type_ids" in rows[0]:
        kinds = [(given["input_ids"] == token).long() for token in family.visual_ids]
        given["mm_token_type_ids"] = kinds[0] + 2 * kinds[1]
    with family.prune(model, build(family, "fastv"), given):
        with pytest.raises(ValueError, match="its own sample"):
            getattr(family, how)(model, given)


@families
def test_an_image_after_the_question(family):
    """Nothing follows it: refused. The words of a template follow it: they rate, with a warning."""
    model, inputs = family.model(), family.row(family.inputs(), 0)
    visual = family.visual(inputs)[0]
    last = len(visual) - visual.tolist()[::-1].index(True)
    order = [*range(3), *range(last, len(visual)), *range(3, last)]
    refused = pytest.raises(ValueError, match="write the question after the image")
    warned = pytest.warns(UserWarning, match="Write the question after the image")
    for rest, expected in ((0, refused), (2, warned)):
        places = torch.tensor([*order, *[len(visual) - 1] * rest])
        moved = {
            key: one[:, places] if one.shape == inputs["input_ids"].shape else one
            for key, one in inputs.items()
        }
        with family.prune(model, build(family, "sparsevlm"), moved), expected:
            family.logits(model, moved)


def test_a_question_that_was_not_given(tmp_path):
    pruner = build(FAMILIES["llava"], "cdpruner", clip=str(tmp_path))
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="is no CLIP on this machine"):
        with sv.prune(family.model(), pruner):
            family.logits(family.model(), family.inputs())


def test_a_graph_of_the_decoder_alone():
    family, pruner = FAMILIES["llava"], build(FAMILIES["llava"], "vispruner")
    model = family.model()
    with sv.capture(model), sv.prune(model, pruner, static=True):
        with pytest.raises(ValueError, match=r"leave the block of capture\(\)"):
            family.logits(model, family.inputs())
