"""What a method sees of the vision tower is what the language model was given, token for token."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import tiny_mini_gemini as mini_gemini
import torch
from contract.cases import FAMILIES

import sparsevlm as sv
from sparsevlm.core.interface import Selection
from sparsevlm.evaluation.shared_prefix import SharedPrefix


@dataclass(frozen=True)
class Looking(sv.METHODS["vispruner"].kind):
    """Keeps all, and what it saw."""

    found: list = field(default_factory=list)

    def select(self, context):
        self.found.append((context.inputs_visual, context.seen.tower()))
        return Selection(torch.arange(context.num_current))


def looked(model, inputs):
    pruner = Looking((sv.PruningStage(-1, 1),))
    with torch.no_grad(), sv.prune(model, pruner):
        model(**inputs)
        model.generate(**inputs, max_new_tokens=1, num_beams=2, do_sample=False, pad_token_id=0)
    rows = len(inputs["input_ids"])
    return pruner.found[:rows], pruner.found[rows:]


def check(given, seen):
    torch.testing.assert_close(seen.project(seen.features), given)
    assert len(seen.hidden) == len(seen.keys) == seen.attention.shape[1] == len(given)


@pytest.mark.parametrize("name", [name for name, one in FAMILIES.items() if one.has_tower])
def test_features_are_those_of_the_row(name):
    """In a call and in `generate`, which encodes ahead of the model, and repeats rows for beams."""
    family = FAMILIES[name]
    called, generated = looked(family.model(), family.inputs())
    for given, seen in called:
        check(given, seen)
    assert len(generated) == 2 * len(called)
    for number, (given, seen) in enumerate(generated):
        check(given, seen)
        torch.testing.assert_close(seen.attention, called[number // 2][1].attention)


@pytest.mark.parametrize("kind", [("llama", "hd"), ("gemma", "base"), ("gemma", "hd")])
def test_views_of_an_hd_image(kind):
    """The whole image comes first there, and Gemma scales what it is given."""
    model = mini_gemini.small_mini_gemini(*kind)
    inputs = mini_gemini.small_inputs(model.config)
    for given, seen in looked(model, inputs)[0]:
        check(given, seen)
        assert len(seen.cls) == model.config.num_views


@pytest.mark.parametrize("name", ["llava", "video-llava", "mini-gemini"])
def test_attention_is_that_of_the_towers_own_layer(name):
    """Of the CLS token, in the layer whose output is projected."""
    family = FAMILIES[name]
    model, inputs = family.fresh("eager"), family.inputs()
    tower = getattr(model.model, "vision_tower", None) or model.model.image_tower
    chosen = model.config.vision_feature_layer
    with torch.no_grad():
        out = tower(inputs["pixel_values"], output_attentions=True, output_hidden_states=True)
    row = 1 if name == "video-llava" else 0
    seen = looked(model, inputs)[0][row][1]
    # A hidden state is the output of the layer before it.
    attention = out.attentions[chosen % len(out.hidden_states) - 1]
    torch.testing.assert_close(seen.attention, attention[0, :, 0, 1:])
    torch.testing.assert_close(seen.hidden, out.hidden_states[chosen][0, 1:])
    torch.testing.assert_close(seen.cls, out.hidden_states[chosen][:1, 0])


def test_a_remembered_output_is_looked_at_like_a_new_one():
    """Evaluation keeps what a tower puts out; its layers do not run again."""
    family = FAMILIES["llava"]
    model, inputs = family.fresh(), family.inputs()
    want = [seen.attention for _, seen in looked(model, inputs)[0]]
    other, runs = {**inputs, "pixel_values": -inputs["pixel_values"]}, []
    with SharedPrefix(layers=1) as shared:
        shared.install(model)
        model.model.vision_tower.encoder.register_forward_hook(lambda *_: runs.append(1))
        for made, same in ((inputs, True), (other, False), (inputs, True)):
            family.logits(model, made)  # as a method that does not look
            for attention, (given, seen) in zip(want, looked(model, made)[0], strict=True):
                check(given, seen)
                assert torch.allclose(seen.attention, attention) == same
    assert len(runs) == 6, "looked at twice for each pair of runs"
