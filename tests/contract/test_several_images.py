"""Several images in one prompt: who rates them, and what they are refused with.

That each has a budget of its own, that dropping is masking and so on is in the other files, whose
`runs` have such prompts too.
"""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import sparsevlm as sv
from sparsevlm.core.raters import select_raters
from sparsevlm.methods.newer import dart

from .cases import FAMILIES
from .runs import build, fits
from .several import SEVERAL, SHOWN, batch_of, prompt_of

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


@pytest.mark.parametrize("how", ["logits", "generate", "beams"])
@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "video-llava"])
def test_several_videos(name, how):
    """One, two apart, and two side by side, beside a sample without a video."""
    family = FAMILIES[name]
    shown = [(2,), (1,), (2, 2)] if family.has_mrope else [(2,), (1,), (2, 2), (2, 2)]
    prompts = [prompt_of(family, rows, place < 3) for place, rows in enumerate(shown)]
    inputs, pruner = batch_of(prompts), build(family, "sparsevlm")
    with family.prune(family.model(), pruner, inputs) as trace:
        if how == "logits":
            family.logits(family.model(), inputs)
        else:
            family.generate(family.model(), inputs, num_beams=1 + (how == "beams"))
    found = [one for one in trace.samples if how != "beams" or one.sample % 2 == 0]
    rows = [row for row, pictures in enumerate(shown) for _ in pictures]
    assert [one.sample // (1 + (how == "beams")) for one in found] == rows
    assert [one.grid for one in found] == [family.grids[row] for rows in shown for row in rows]
    alone = []
    for prompt in prompts:
        with family.prune(family.model(), pruner, prompt) as trace:
            family.logits(family.model(), prompt)
        alone += [[stage.kept for stage in one.stages] for one in trace.samples]
    assert [[stage.kept for stage in one.stages] for one in found] == alone


def test_videos_that_were_encoded_ahead():
    """Their frames lie in one row: where a video ends is known for those of the usual length."""
    family, pruner = FAMILIES["video-llava"], build(FAMILIES["video-llava"], "fastv")
    model = family.model()
    for apart in (True, False):
        inputs = prompt_of(family, (2, 2), apart)
        with torch.no_grad():
            features = model.model.get_video_features(inputs.pop("pixel_values_videos"))
        inputs["mm_encoder_outputs"] = {"video": features}
        with torch.no_grad(), sv.prune(model, pruner) as trace:
            if apart:
                model(**inputs)
                assert [one.grid for one in trace.samples] == [family.grids[2]] * 2
                continue
            with pytest.raises(ValueError, match="where one video ends.*give pixel_values_videos"):
                model(**inputs)


BLIND = [
    pytest.param(family, method, id=f"{family.name}-{method}")
    for family in SEVERAL.values()
    for method in ("visionzip", "holov", "vispruner", "divprune", "tome")
    if fits(family, method)
]


@pytest.mark.parametrize(("family", "method"), BLIND)
def test_what_looks_at_the_picture_only_decides_as_if_it_were_alone(family, method):
    """In a batch of samples with two images, one, and three side by side."""
    name, model, pruner = (
        family.name.removesuffix("-several"),
        family.model(),
        build(family, method),
    )

    def decided(inputs):
        with family.prune(model, pruner, inputs) as trace:
            family.logits(model, inputs)
        return [(one.grid, one.stages[0].kept, one.stages[0].groups) for one in trace.samples]

    want = []
    for row, place in ((row, place) for rows in SHOWN[name] for place, row in enumerate(rows)):
        alone = prompt_of(FAMILIES[name], (row,))
        turned = {key: one * (-1) ** place for key, one in alone.items() if "pixel" in key}
        want += decided({**alone, **turned})
    assert decided(family.inputs()) == want
    assert len({str(one[1:]) for one in want}) > 1


def test_a_method_of_ones_own_scores_every_image_by_the_text_behind_it():
    """By hand from the dense model's attention, and with the question of the image's sample."""
    family, asked = SEVERAL["llava-several"], []
    model, inputs = family.model("eager"), family.row({}, 0)

    def score(visual, attention, question):
        asked.append(question)
        return attention.mean((0, 1))

    stages = (sv.PruningStage(1, 30),)
    with sv.prune(model, sv.ScorePruner(stages, score=score), questions=["what ?"]) as trace:
        family.logits(model, inputs)
    with torch.no_grad():
        attention = model(**inputs, output_attentions=True).attentions[1][0]
    images, text = parts_of(family, inputs)
    for sample, columns in zip(trace.samples, images, strict=True):
        seen = attention[:, text[text > columns[-1]]][:, :, columns].mean((0, 1))
        assert sample.stages[0].kept == seen.topk(30).indices.sort().values.tolist()
    assert asked == ["what ?"] * 2


def test_dart_picks_for_every_image_by_its_own_keys_and_those_of_the_text_behind_it():
    """By hand from the dense model's keys and states."""
    family = SEVERAL["llava-several"]
    model, inputs = family.model("eager"), family.row({}, 0)
    pruner, keys = build(family, "dart"), []
    layer = pruner.stages[0].layer
    with family.prune(model, pruner, inputs) as trace:
        family.logits(model, inputs)
    decoder = model.get_decoder()
    attention = decoder.layers[layer].self_attn
    handle = attention.k_proj.register_forward_hook(lambda *made: keys.append(made[2]))
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states[layer + 1]
        handle.remove()
        cos, sin = decoder.rotary_emb(states, torch.arange(states.shape[1])[None])
        heads = keys[0].unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        heads = apply_rotary_pos_emb(heads, heads, cos, sin)[0][0].transpose(0, 1)
        states = decoder.norm(states[0])
    images, text = parts_of(family, inputs)
    for sample, columns in zip(trace.samples, images, strict=True):
        behind, size, kept = text[text > columns[-1]], len(columns), sample.stages[0].kept
        image, words = dart.longest(heads[columns], 4), dart.longest(heads[behind], 4)
        pivots = dart.in_picking_order(image, words, int(columns[0]), size)
        own = torch.cat([states[columns], states[behind]])
        picked = dart.least_similar(own, size, image, pivots, len(kept) - 4)
        assert kept == torch.cat([image, *picked]).sort().values.tolist()
