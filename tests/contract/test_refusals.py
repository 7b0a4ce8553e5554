"""A method on a model without what it looks at: refused by name, with a way out."""

from __future__ import annotations

import re

import pytest
import torch

import sparsevlm as sv

from .cases import FAMILIES
from .runs import TOWER, build
from .several import prompt_of

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
    with pytest.warns(UserWarning, match="keep 60 visual tokens, and image 0 of sample 1 has 36"):
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


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("how", ["logits", "generate"])
def test_a_model_that_takes_one_image(apart, how):
    family = FAMILIES["mini-gemini"]
    given = prompt_of(family, (0, 1), apart)
    with family.prune(family.model(), build(family, "fastv"), given):
        with pytest.raises(ValueError, match="2 images.*takes one: give each image its own"):
            getattr(family, how)(family.model(), given)


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
