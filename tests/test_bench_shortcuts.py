"""What a cut leaves out where it is not needed, and that leaving it out changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

import sparsevlm as sv
from sparsevlm.core import recycling
from sparsevlm.core.interface import Groups, PruningContext, Selection
from sparsevlm.models.llava import LanguageModel
from sparsevlm.runtime import layout, prefill, segments
from sparsevlm.runtime.adapter import Picture
from sparsevlm.runtime.context import context_of
from sparsevlm.runtime.generation import arrange, locate_span


def embeds(seed=0):
    return torch.randn(1, 156, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_a_single_group_needs_no_clustering(how):
    tokens = torch.randn(7, 16, generator=torch.Generator().manual_seed(3))
    vectors, groups, centers = recycling.reconstruct(tokens, 1, how)
    short, labels, nothing = recycling.reconstruct(tokens, 1, how, needs_centers=False)
    assert torch.equal(short, vectors) and torch.equal(labels, groups)
    assert nothing is None and len(centers) == 1
    assert recycling.reconstruct(tokens, 2, needs_centers=False)[2] is not None


@torch.no_grad()
def test_tables_at_hand_are_those_of_the_positions(monkeypatch):
    """Position ids from 0 on, given or not, are the same prompt; given, the tables are made."""
    family = FAMILIES["llama"]
    model, pruner = family.model(), build(family, "sparsevlm")
    made, rotary = [], type(model.model.rotary_emb).forward

    def count(*args, **kwargs):
        made.append(1)
        return rotary(*args, **kwargs)

    monkeypatch.setattr(type(model.model.rotary_emb), "forward", count)
    found = []
    for positions in (None, torch.arange(156)[None]):
        made.clear()
        with sv.prune(model, pruner, visual_mask=(3, 147)):
            out = model.model(inputs_embeds=embeds(), position_ids=positions, use_cache=True)
            step = model(torch.tensor([[9]]), past_key_values=out.past_key_values).logits
        found.append((len(made), out.last_hidden_state, step))
    (few, hidden, step), (many, hidden_given, step_given) = found
    assert many == few + len(pruner.stages)
    assert torch.equal(hidden, hidden_given) and torch.equal(step, step_given)


@torch.no_grad()
def test_tables_are_made_where_they_may_depend_on_the_length(monkeypatch):
    family = FAMILIES["llama"]
    model, asked = family.model(), []
    rotary = LanguageModel.rotary
    monkeypatch.setattr(
        LanguageModel, "rotary", lambda self, *args: asked.append(1) or rotary(self, *args)
    )
    adapter = LanguageModel(model, (3, 147))
    samples = (located(156, (3, 147)),)
    tables = rotary(adapter, embeds(), torch.arange(156)[None])
    after, hidden = layout.apply(samples[0], embeds()[0], [Selection(torch.arange(40))])
    found = []
    for kind in ("default", "yarn"):
        monkeypatch.setattr(model.model.rotary_emb, "rope_type", kind)
        positions = segments.Positions(adapter, samples, embeds(), None, tables)
        found.append(positions.renumbered(hidden[None], (after,), None))
    assert len(asked) == 1, "for the second kind only"
    assert torch.equal(found[0].cos, found[1].cos) and torch.equal(found[0].sin, found[1].sin)
    assert found[0].next_position == found[1].next_position.item()


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "made"), [("sdpa", 0), ("eager", 3)])
def test_no_mask_is_made_where_the_model_has_none(monkeypatch, kernel, made):
    model, asked = FAMILIES["llama"].model(kernel), []
    real = prefill.causal_mask
    monkeypatch.setattr(prefill, "causal_mask", lambda *args: asked.append(1) or real(*args))
    pruner = build(FAMILIES["llama"], "sparsevlm")
    with sv.prune(model, pruner, visual_mask=(3, 147)):
        model.model(inputs_embeds=embeds(), use_cache=True)
    assert len(asked) == made


def located(length, span):
    """A row of a sample with one image."""
    (extent,), picture = locate_span((1, length), span, length), Picture(span[1] - span[0])
    (sample,) = arrange([extent], [[picture]], torch.zeros(1, length), length)
    return sample


def cut_twice(anchored):
    """A sample of 3 + 10 + 4 tokens after two stages, and what it must be made of."""
    sample = located(17, (3, 13))
    hidden = torch.arange(17.0)[:, None]
    keep, anchors = torch.tensor([0, 2, 5, 9]), torch.tensor([1, 7]) if anchored else None
    vectors, groups = torch.tensor([[100.0], [101.0]]), Groups(torch.arange(2), torch.arange(2))
    first, hidden = layout.apply(sample, hidden, [Selection(keep, groups, vectors, anchors)])
    keep = torch.tensor([1, 2, 4])
    return first, *layout.apply(first, hidden, [Selection(keep)])


@pytest.mark.parametrize(
    ("anchored", "rows", "source", "slots"),
    [
        (False, [3, 5, 8, 12, 100, 101], [0, 2, 5, 9, 10, 11], [3, 5, 8, 12, -1, -1]),
        (True, [3, 100, 5, 8, 101, 12], [0, 10, 2, 5, 11, 9], [3, 4, 5, 8, 10, 12]),
    ],
)
def test_who_is_left_is_worked_out_on_demand(anchored, rows, source, slots):
    first, sample, hidden = cut_twice(anchored)
    (second,) = sample.images
    before, text = [0, 1, 2], [13, 14, 15, 16]
    pick = [1, 2, 4]
    assert hidden.flatten().tolist() == [*before, *[rows[i] for i in pick], *text]
    assert not {"source", "slots"} & set(vars(second)), "nobody has asked yet"
    assert sample.slots.tolist() == [*before, *[slots[i] for i in pick], *text]
    assert second.source.tolist() == [source[i] for i in pick]
    assert first.images[0].source.tolist() == source and first.slots.tolist()[3:-4] == slots
    assert (sample.tokens, second.visual, second.num_recycled) == (10, 3, 2)


def test_a_view_cuts_its_parts_out_on_demand():
    _, second, hidden = cut_twice(False)
    inputs, tables = torch.arange(17.0)[:, None] + 50, []

    def rotary():
        tables.append(1)
        return hidden * 2, hidden * 3

    context = context_of(
        second, 0, located(17, (3, 13)), hidden, lambda: inputs, layer=1, num_layers=4,
        rotary=rotary, attention_rows=None, attention_mean=None, prompt_key=lambda: 5,
        whole_prompt=False,
    )  # fmt: skip
    assert isinstance(context, PruningContext) and not tables
    assert context.visual.flatten().tolist() == [5, 8, 100] and context.num_current == 3
    assert context.text.flatten().tolist() == [13, 14, 15, 16] and context.num_text == 4
    assert context.source.tolist() == [2, 5, 10]
    assert context.inputs_visual.flatten().tolist() == [50 + i for i in range(3, 13)]
    assert context.inputs_text.flatten().tolist() == [63, 64, 65, 66]
    assert context.rotary_visual[1].flatten().tolist() == [15, 24, 300]
    assert context.rotary_text[0].flatten().tolist() == [26, 28, 30, 32]
    assert second.places(torch.tensor([0, 3]), 0, False).tolist() == [0, 3]
    assert second.columns(0) == slice(3, 6)
    with pytest.raises(AttributeError):
        context.layer = 2
    assert replace(context, layer=2).source is context.source
