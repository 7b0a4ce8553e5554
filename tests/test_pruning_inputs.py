"""Models and selections that `prune` refuses, and visual tokens that it is told about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from test_pruning import build, refused
from tiny import NUM_VISUAL, row

import sparsevlm as sv
from sparsevlm.core.interface import StagedPruner


def test_unknown_models_list_the_families():
    with pytest.raises(TypeError, match="Linear; known families: llava, llama"):
        with sv.prune(torch.nn.Linear(2, 2), build("dense")):
            pass


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
