"""What runs have in common is computed once, and is the same to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from miniature_batch import batch
from torch import nn
from transformers import CLIPVisionModel

from sparsevlm.evaluation.answer import answer
from sparsevlm.evaluation.backends import MiniatureBackend
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.evaluation.shared_prefix import SharedPrefix
from sparsevlm.evaluation.workers import execute_together
from sparsevlm.miniature.llava.prompts import builder
from sparsevlm.miniature.llava.questions import samples
from sparsevlm.miniature.registry import MINIATURES
from training.llava.model import build_config, build_model


@pytest.fixture
def model():
    return build_model(0, num_layers=2).eval()


@pytest.fixture
def calls(model):
    """Names the parts whose own forward runs: the encoder, and both layers' MLPs."""
    seen = []
    layers = model.get_decoder().layers
    watched = {"encoder": model.model.vision_tower.encoder.layers[0].mlp.fc1}
    watched |= {f"layer {i}": layer.mlp.up_proj for i, layer in enumerate(layers)}
    for name, module in watched.items():
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
    return seen


def inputs(count, first=0):
    drawn = samples("pope", first + count, 0)[first:]
    return batch("mini-llava", builder(build_config()), drawn)


@torch.inference_mode()
def test_the_same_prompt_is_encoded_once_and_gives_the_same_logits(model, calls):
    made = inputs(2)
    plain = model(**made).logits
    calls.clear()
    with SharedPrefix(layers=1) as shared:
        shared.install(model)
        shared.install(model)  # does nothing
        assert all(torch.equal(model(**made).logits, plain) for _ in range(3))
    assert calls == ["encoder", "layer 0", "layer 1", "layer 1", "layer 1"]
    model(**made)
    assert calls[-3:] == ["encoder", "layer 0", "layer 1"], "outside of the block nothing is kept"
    assert "forward" not in vars(model.model.vision_tower)


@torch.inference_mode()
def test_another_question_shares_the_image_and_other_pixels_share_nothing(model, calls):
    one, other = inputs(1), inputs(1, first=1)
    plain = [model(**made).logits for made in (one, other)]
    asked = one["input_ids"].clone()
    asked[0, -3] += 1
    calls.clear()
    with SharedPrefix(layers=2) as shared:
        shared.install(model)
        assert torch.equal(model(**one).logits, plain[0])
        model(**{**one, "input_ids": asked})
        assert calls == ["encoder", "layer 0", "layer 1", "layer 0", "layer 1"]
        assert torch.equal(model(**other).logits, plain[1])
        assert calls[5:] == ["encoder", "layer 0", "layer 1"]


@torch.inference_mode()
def test_an_answer_keeps_the_prompt_and_what_is_forgotten_is_computed_again(model, calls):
    made = inputs(2)
    with SharedPrefix(layers=1) as shared:
        shared.install(model)
        model.generate(**made, max_new_tokens=3, do_sample=False)
        calls.clear()
        again = model.generate(**made, max_new_tokens=3, do_sample=False)
        assert calls == ["layer 1", *["layer 0", "layer 1"] * 2], "only the answer's own tokens"
        shared.forget()
        calls.clear()
        assert torch.equal(model.generate(**made, max_new_tokens=3, do_sample=False), again)
        assert calls[:3] == ["encoder", "layer 0", "layer 1"]


def test_inputs_are_made_once_and_those_of_other_questions_or_pictures_anew(model, monkeypatch):
    made, maker = [], builder(build_config())
    visual = type(maker)._visual
    monkeypatch.setattr(
        type(maker), "_visual", lambda self, media: made.append(media) or visual(self, media)
    )
    drawn = samples("pope", 2, 0)
    media = list(MiniatureBackend().media("mini-llava", drawn))
    questions = [sample.question for sample in drawn]
    plain = maker.inputs(questions, media)
    with SharedPrefix(layers=0) as shared:
        shared.install(model, maker)
        first = maker.inputs(questions, media)
        first["input_ids"] = None  # who asked may change what it was given
        again = maker.inputs(list(questions), [[image.copy() for image in one] for one in media])
        assert len(made) == 2 and again.keys() == plain.keys()
        assert all(torch.equal(again[key], plain[key]) for key in plain)
        maker.inputs(questions[::-1], media)
        maker.inputs(questions[::-1], media[::-1])
        assert len(made) == 4
    assert "inputs" not in vars(maker)


@pytest.mark.parametrize("name", sorted(set(MINIATURES) - {"mini-llava-32"}))
def test_every_method_answers_the_same_with_and_without(name):
    backend = MiniatureBackend()
    loaded, maker = backend.load(name, dtype=None, attention="sdpa", device="cpu")
    benchmark, tokens = ("msvd", 194) if "video" in name else ("pope", 64)
    sizes = backend.sizes(name)
    tokens = min(tokens, sizes.num_visual // 2)
    asked = backend.samples(name, benchmark, 2, 0)
    questions, media = [s.question for s in asked], list(backend.media(name, asked))
    pruners = [
        sizes.pruner(method, None if method == "dense" else tokens)
        for method in ("dense", "pdrop", "sparsevlm", "fastv", "random", "tome")
    ]

    def ask(pruner):
        said = answer(loaded, maker, questions, media, pruner, max_new_tokens=3, probabilities=True)
        return [(one.text, one.probabilities, one.trace) for one in said]

    plain = [ask(pruner) for pruner in pruners]
    with SharedPrefix(layers=4) as shared:
        shared.install(loaded, maker)
        assert [ask(pruner) for pruner in pruners] == plain


def test_a_batch_is_encoded_twice_at_most_whatever_looks_into_the_tower(tmp_path, monkeypatch):
    encoded, forward = [], CLIPVisionModel.forward
    monkeypatch.setattr(
        CLIPVisionModel, "forward", lambda *a, **k: encoded.append(1) or forward(*a, **k)
    )
    profile = replace(
        get_profile("mini"), model="mini-llava", benchmarks=("pope",), samples_per_benchmark=2,
        budgets=(64,),
        methods=("visionzip", "divprune", "holov"), batch=2, max_new_tokens=1,
    )  # fmt: skip
    store, backend = Store(tmp_path), MiniatureBackend()
    runs = plan_runs(profile, store=store)
    assert execute_together(runs, store, backend, lambda _: None) == {}
    assert len(encoded) == 2


def test_a_model_without_an_encoder_is_refused():
    model = nn.Module()
    model.model = nn.Module()
    with SharedPrefix(0) as shared, pytest.raises(ValueError, match="no vision encoder in Module"):
        shared.install(model)
