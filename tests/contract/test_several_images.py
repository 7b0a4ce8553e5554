"""Several images in one prompt: who rates them, and what they are refused with.

That each has a budget of its own, that dropping is masking and so on is in the other files, whose
`runs` have such prompts too.
"""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

import sparsevlm as sv
from sparsevlm.core.raters import select_raters

from .cases import FAMILIES
from .runs import build
from .several import SEVERAL, batch_of, prompt_of

families = pytest.mark.parametrize("family", SEVERAL.values(), ids=list(SEVERAL))


def parts_of(family, inputs):
    """Places of every image's visual tokens, and of the text, in a row without padding."""
    visual, sizes = family.visual(inputs)[0], family.counts[: family.per_sample[0]]
    return visual.nonzero().flatten().split(sizes), (~visual).nonzero().flatten()


@families
@torch.no_grad()
@pytest.mark.parametrize("how", ["after_image", "whole_prompt", "question_tokens"])
def test_the_text_behind_an_image_rates_it_and_no_other_image_does(family, how):
    """By hand: the embeddings choose the raters, the model's own attention is the score."""
    model, inputs = family.model("eager"), family.row({}, 0)
    options = {"text": how} if how == "whole_prompt" else {}
    told = {"question_tokens": 5} if how == "question_tokens" else {}
    with family.prune(model, build(family, "sparsevlm", **options), inputs, **told) as trace:
        family.logits(model, inputs)
    dense = model(**inputs, output_attentions=True, output_hidden_states=True)
    embedded = dense.hidden_states[0][0]
    images, text = parts_of(family, inputs)
    assert len(trace.samples) == len(images) == 2
    for sample, columns in zip(trace.samples, images, strict=True):
        behind = text[text > columns[-1]]
        words = {"after_image": behind, "whole_prompt": text, "question_tokens": text[-5:]}[how]
        chosen = words[select_raters(embedded[columns], embedded[words])]
        stage, counted = sample.stages[0], (text if how == "whole_prompt" else behind).tolist()
        assert stage.raters == [counted.index(place) for place in chosen.tolist()]
        if how != "whole_prompt":  # where words ahead of an image look at what they cannot see
            seen = dense.attentions[stage.layer][0][:, chosen][:, :, columns]
            assert stage.scores == pytest.approx(seen.mean((0, 1)).tolist(), rel=1e-3)


@families
def test_beams_and_graphs_and_later_turns(family):
    model, inputs, pruner = family.model(), family.inputs(), build(family, "sparsevlm")
    with family.prune(model, pruner, inputs, static=True) as trace:
        want = family.logits(model, inputs)
        once = [(sample.sample, sample.image, sample.grid) for sample in trace.samples]
        if not family.told:  # the mask would have to be repeated too
            beams = family.generate(model, inputs, num_beams=2)
            assert [(s.sample, s.image, s.grid) for s in trace.samples] == [
                (2 * row + beam, image, grid) for row in range(3) for beam in range(2)
                for number, image, grid in once if number == row
            ]  # fmt: skip
            again = family.generate(model, inputs, num_beams=2, use_cache=False)
            assert torch.equal(beams, again)
        mask = {} if not family.told else {"visual_mask": family.visual(inputs)}
        with sv.capture(model, **mask) as graphs:
            assert torch.equal(family.logits(model, inputs), want)
        assert graphs.captures == 1
        if family.has_mrope:
            return  # such a model counts positions of its own, for the rows as they were
        cache = DynamicCache(config=model.get_decoder().config)
        with torch.no_grad():
            model(**inputs, past_key_values=cache)
            first = trace.samples
            cache.batch_select_indices(torch.tensor([2, 0, 1]))
            more = torch.ones(3, 4, dtype=torch.int64)
            seen = torch.cat([inputs["attention_mask"][[2, 0, 1]], more], 1)
            model(input_ids=20 + more, attention_mask=seen, past_key_values=cache)
    chosen = [one for row in (2, 0, 1) for one in first if one.sample == row]
    assert [sample.stages for sample in trace.samples] == [one.stages for one in chosen]
    assert [sample.sample for sample in trace.samples] == [0, 0, 0, 1, 1, 2]
    assert {sample.turns for sample in trace.samples} == {2}


def test_images_draw_for_themselves():
    """Two of one size by one prompt: their pixels differ."""
    family = SEVERAL["llava-several"]
    with family.prune(family.model(), build(family, "random"), {}) as trace:
        family.logits(family.model(), family.row({}, 0))
    first, second = (sample.stages[0].kept for sample in trace.samples)
    assert first != second and len(first) == len(second)


@families
def test_an_image_after_the_last_question(family):
    model, inputs = family.model(), family.row({}, 0)
    end = int(family.visual(inputs)[0].nonzero()[-1]) + 1
    cut = {
        name: one[:, :end] if one.shape == inputs["input_ids"].shape else one
        for name, one in inputs.items()
    }
    with family.prune(model, build(family, "sparsevlm"), cut):
        with pytest.raises(ValueError, match="no text after the image.*write the question after"):
            family.logits(model, cut)


@pytest.mark.parametrize("name", [name for name in SEVERAL if not SEVERAL[name].told])
def test_images_and_placeholders_that_do_not_fit(name):
    """An image more, or less."""
    family = SEVERAL[name]
    inputs, lone = family.row({}, 0), family.row({}, 1)
    pixels = [key for key in inputs if inputs[key].shape != inputs["input_ids"].shape]
    more = {**inputs, **{key: torch.cat([inputs[key], lone[key]]) for key in pixels}}
    less = {**inputs, **{key: lone[key] for key in pixels}}
    for given, said in (
        (more, "3 images were given.*for 2"),
        (less, "placeholders, but its images"),
    ):
        with family.prune(family.model(), build(family, "fastv"), given):
            with pytest.raises(ValueError, match=said):
                family.logits(family.model(), given)


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl"])
def test_several_videos(name):
    family = FAMILIES[name]
    inputs = batch_of([prompt_of(family, (2,)), prompt_of(family, (2, 2))])
    with family.prune(family.model(), build(family, "sparsevlm"), inputs) as trace:
        family.generate(family.model(), inputs)
    assert [sample.sample for sample in trace.samples] == [0, 1, 1]
    assert {sample.grid for sample in trace.samples} == {family.grids[2]}
