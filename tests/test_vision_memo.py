"""Vision features are computed once for the same pixels, and are the same to the last bit."""

from __future__ import annotations

import pytest
import torch
from miniature_batch import batch
from torch import nn

from sparsevlm.evaluation.vision_cache import forget_vision, remember_vision
from sparsevlm.miniature.llava.prompts import builder
from sparsevlm.miniature.llava.questions import samples
from training.llava.model import build_config, build_model


@pytest.fixture
def model():
    return build_model(0, num_layers=1).eval()


@pytest.fixture
def runs(model):
    """Grows by one with every real forward of the vision tower's encoder."""
    calls = []
    model.model.vision_tower.encoder.register_forward_hook(lambda *_: calls.append(1))
    return calls


def inputs(count, first=0):
    drawn = samples("pope", first + count, 0)[first:]
    return batch("mini-llava", builder(build_config()), drawn)


@torch.inference_mode()
def test_the_same_pixels_are_encoded_once_and_give_the_same_logits(model, runs):
    made = inputs(2)
    plain = model(**made).logits
    remember_vision(model)
    first, again = model(**made).logits, model(**made).logits
    assert torch.equal(plain, first) and torch.equal(plain, again)
    assert len(runs) == 2


@torch.inference_mode()
def test_other_pixels_are_encoded_anew(model, runs):
    remember_vision(model)
    one, other = inputs(1), inputs(1, first=1)
    assert not torch.equal(one["pixel_values"], other["pixel_values"])
    logits = model(**one).logits
    assert not torch.equal(model(**{**one, "pixel_values": other["pixel_values"]}).logits, logits)
    assert len(runs) == 2


@torch.inference_mode()
def test_the_one_used_longest_ago_makes_room(model, runs):
    remember_vision(model, batches=2)
    a, b, c = (inputs(1, first=i) for i in range(3))
    for made in (a, b, a, c, a, b):
        model(**made)
    assert len(runs) == 4, "a, b, c, and b again, which c had pushed out"


@torch.inference_mode()
def test_what_is_forgotten_is_encoded_again_and_remembered_again(model, runs):
    forget_vision(model)  # nothing to forget
    remember_vision(model)
    made = inputs(1)
    first = model(**made).logits
    forget_vision(model)
    assert torch.equal(model(**made).logits, first)
    model(**made)
    assert len(runs) == 2


def test_a_model_without_an_encoder_is_refused():
    model = nn.Module()
    model.model = nn.Module()
    with pytest.raises(ValueError, match="no vision encoder in Module"):
        remember_vision(model)
