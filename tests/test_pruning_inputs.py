"""Models and selections that `prune` refuses, and visual tokens that it is told about."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from importlib import import_module
from typing import ClassVar

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
    with pytest.raises(TypeError, match="a Linear; known: LlavaForConditionalGeneration, Llama"):
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
        with sv.prune(model, pruner, visual_mask=mask[:, :2].repeat(2, 1)):
            with pytest.raises(ValueError, match="does not fit"):
                model(ids)


def test_llava_finds_its_tokens_itself(sdpa_model):
    with pytest.raises(ValueError, match="leave visual_mask out"):
        with sv.prune(sdpa_model, build("fastv"), visual_mask=(0, 5)):
            pass
