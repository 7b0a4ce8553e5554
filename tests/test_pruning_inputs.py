"""Models and selections that `prune` refuses, and visual tokens that it is told about."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from importlib import import_module
from typing import ClassVar

import numpy as np
import pytest
import torch
from contract.cases import FAMILIES
from test_pruning import build, refused
from tiny import NUM_VISUAL, row

import sparsevlm as sv
from sparsevlm.core.interface import StagedPruner
from sparsevlm.models.llava import Llava
from sparsevlm.runtime.adapter import ADAPTERS, Adapter, find_adapter


def test_unknown_models_list_the_known_ones():
    with pytest.raises(TypeError, match="a Linear; known: LlavaForConditionalGeneration, Llava"):
        with sv.prune(torch.nn.Linear(1, 1), sv.SparseVLM()):
            pass


def test_a_model_of_ones_own_takes_an_entry(sdpa_model, inputs, monkeypatch):
    """And before that a class derived from a known one has the adapter of its parent."""
    own = copy.copy(sdpa_model)
    own.__class__ = type("OwnLlava", (type(sdpa_model),), {})
    assert type(find_adapter(own)) is Llava

    class OwnAdapter(Llava):
        pass

    monkeypatch.setitem(ADAPTERS, "OwnLlava", OwnAdapter)
    assert type(find_adapter(own)) is OwnAdapter and type(find_adapter(sdpa_model)) is Llava


def test_every_adapter_of_the_table_is_there_and_in_the_contract():
    asked = {type(family.model()).__name__ for family in FAMILIES.values()}
    assert asked == set(ADAPTERS), "give the architecture a Family in tests/contract/cases.py"
    for place in ADAPTERS.values():
        module, _, name = place.partition(":")
        assert issubclass(getattr(import_module(module), name), Adapter), place


def test_bad_selections_are_refused(sdpa_model, inputs):
    @dataclass(frozen=True)
    class Bad(StagedPruner):
        keep: int = 0
        name: ClassVar[str] = "bad"

        def select(self, context):
            return sv.Selection(torch.arange(self.keep))

    for keep in (0, NUM_VISUAL + 1):
        refused(sdpa_model, row(inputs, 0), "Selection keeps", Bad((sv.PruningStage(1, 1),), keep))
    bad = replace(build("random"), stages=(sv.PruningStage(1, 5),))
    object.__setattr__(bad, "select", lambda context: sv.Selection(torch.ones(5)))
    refused(sdpa_model, row(inputs, 0), "int64", bad)


# --- Language models with a given mask --------------------------------------------------------


def test_visual_mask_of_a_language_model():
    from golden_data import golden_model

    model = golden_model()
    with pytest.raises(ValueError, match="give visual_mask"):
        with sv.prune(model, build("fastv")):
            pass
    ids = torch.randint(5, 100, (2, 60), generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 60, dtype=torch.bool)
    mask[:, 3:50] = True
    pruner = sv.METHODS["fastv"].build(20, 20, 47)
    with torch.no_grad():
        with sv.prune(model, pruner, visual_mask=mask) as trace:
            want = model(ids).logits
        first = trace.samples
        with sv.prune(model, pruner, visual_mask=(3, 50)) as trace:
            assert torch.equal(model(ids).logits, want)
        assert trace.samples == first and first[0].grid is None
        for span in (
            (np.int64(3), np.int32(50)),
            [3, 50],
            torch.tensor([3, 50]).tolist(),
            (-57, -10),
        ):
            with sv.prune(model, pruner, visual_mask=span) as trace:
                assert torch.equal(model(ids).logits, want)
            assert trace.samples == first
        for span in ((3, 61), (50, 3), (60, 70), (-61, 50)):
            with sv.prune(model, pruner, visual_mask=span):
                with pytest.raises(ValueError, match="(no span of|call brings) 60 tokens"):
                    model(ids)
        with sv.prune(model, pruner, visual_mask=mask[:, :2].repeat(2, 1)):
            with pytest.raises(ValueError, match="does not fit"):
                model(ids)


PLACED = [name for name, family in FAMILIES.items() if not family.told]


@pytest.mark.parametrize("run", ["logits", "generate"])
@pytest.mark.parametrize("name", PLACED)
def test_a_placeholder_inside_a_text_is_no_image(name, run):
    family = FAMILIES[name]
    for token in family.visual_ids:
        ids = torch.tensor([[1, 10, 11, token, 20, 21, 22, 23]])
        text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with family.prune(family.model(), build("fastv"), text):
            with pytest.raises(ValueError, match="sample 0 has 1 (image|video) placeholders"):
                getattr(family, run)(family.model(), text)
            text["input_ids"] = ids.where(ids != token, 24)
            getattr(family, run)(family.model(), text)


@pytest.mark.parametrize("name", PLACED)
def test_a_placeholder_too_many_is_said_to_be_one(name):
    """In the question of one row; a text row; and where another row has one too few."""
    family = FAMILIES[name]
    model, inputs = family.model(), family.row(family.inputs(), 0)
    token = inputs["input_ids"][family.visual(inputs)][0].item()
    ids = inputs["input_ids"].clone()
    ids[0, -2] = token
    with family.prune(model, build("fastv"), inputs):
        with pytest.raises(ValueError, match=r"\d \+ 1 \w+ pl.*one inside a text counts"):
            family.logits(model, {**inputs, "input_ids": ids})


@pytest.mark.parametrize("name", [name for name in PLACED if not FAMILIES[name].has_mrope])
def test_images_of_one_size_have_as_many_placeholders(name):
    """Numbers that add up to those of the batch are no defence: the model compares the sums."""
    family = FAMILIES[name]
    model, inputs = family.model(), family.inputs()
    ids, visual = inputs["input_ids"].clone(), family.visual(inputs)
    tokens = [ids[row][visual[row]][0].item() for row in range(len(ids))]
    other = max(row for row, token in enumerate(tokens) if token == tokens[0])
    first, last = (visual[row].nonzero()[0] for row in (0, other))
    assert other and ids[other, last - 1] != tokens[0]
    ids[0, first], ids[other, last - 1] = 20, tokens[0]
    with family.prune(model, build("fastv"), inputs):
        with pytest.raises(ValueError, match="placeholders.*take"):
            family.logits(model, {**inputs, "input_ids": ids})


@pytest.mark.parametrize(
    "given", [(3.0, 50), ("3", "50"), (True, 50), (1, 2, 3), 5, torch.ones(60, dtype=torch.bool)]
)
def test_what_is_no_visual_mask_is_refused(given):
    with pytest.raises(ValueError, match=r"visual_mask must be a bool tensor \[batch, tokens\] or"):
        find_adapter(FAMILIES["llama"].model(), given)


def test_llava_finds_its_tokens_itself(sdpa_model):
    with pytest.raises(ValueError, match="leave visual_mask out"):
        with sv.prune(sdpa_model, build("fastv"), visual_mask=(0, 5)):
            pass
