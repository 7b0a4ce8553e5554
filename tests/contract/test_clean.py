"""The model is the very same before and after, and a copy of a pruned model is a dense one."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

import sparsevlm as sv

from .cases import FAMILIES, KERNELS
from .runs import KINDS, Run, build, fits, runs

HOOKS = (
    "_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_backward_hooks",
)  # fmt: skip
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
kernels = pytest.mark.parametrize("kernel", KERNELS)


def state_of(model: nn.Module) -> list:
    """All of the modules that a session could leave behind: hooks, configs, patched methods."""
    return [
        (
            type(module), id(getattr(module, "config", None)), sorted(module.__dict__),
            [list(getattr(module, name)) for name in HOOKS],
        )
        for module in model.modules()
    ]  # fmt: skip


@runs(only=("dense", *KINDS))
def test_hooks_and_configs_are_as_before(run):
    dense = run.dense[0]  # transformers' own hooks come with the first call
    before = state_of(run.model)
    with run.pruning():
        assert state_of(run.model) != before
        run.family.logits(run.model, run.inputs)
        assert state_of(run.model) != before
    assert state_of(run.model) == before
    assert torch.equal(run.family.logits(run.model, run.inputs), dense)


@runs(only=KINDS)
def test_an_exception_in_select_leaves_the_model_as_before(run, monkeypatch):
    before = state_of(run.model)
    monkeypatch.setattr(type(run.pruner), "select", fail)
    with pytest.raises(ZeroDivisionError):
        with run.pruning() as trace:
            run.family.logits(run.model, run.inputs)
    assert state_of(run.model) == before
    with pytest.raises(RuntimeError, match="empty"):
        trace.samples  # noqa: B018 - an unfinished prefill must not pass for a trace
    assert torch.equal(run.family.logits(run.model, run.inputs), run.dense[0])
    monkeypatch.undo()
    assert torch.equal(run.prefill()[0], run.first[0])


@runs(only=KINDS)
def test_an_exception_in_the_model_leaves_the_session_usable(run, monkeypatch):
    """Before the first stage and after the last, and then inside the same block again."""
    before = state_of(run.model)
    layers = run.model.get_decoder().layers
    with run.pruning() as trace:
        for number in (0, 6):
            with monkeypatch.context() as patch:
                patch.setattr(layers[number].mlp, "forward", fail)
                with pytest.raises(ZeroDivisionError):
                    run.family.logits(run.model, run.inputs)
        assert torch.equal(run.family.logits(run.model, run.inputs), run.first[0])
        assert trace.samples == run.samples
    assert state_of(run.model) == before


def fail(*args, **kwargs):
    raise ZeroDivisionError("on purpose")


@runs(only=KINDS)
def test_a_copy_made_inside_is_dense_and_can_be_pruned(run):
    """The original is pruned meanwhile, before and after the copy runs, and clean afterwards."""
    before = state_of(run.model)
    with run.pruning():
        twin = copy.deepcopy(run.model)
        assert torch.equal(run.family.logits(twin, run.inputs), run.dense[0])
        with run.family.prune(twin, run.pruner, run.inputs):
            assert torch.equal(run.family.logits(twin, run.inputs), run.first[0])
        assert torch.equal(run.family.logits(run.model, run.inputs), run.first[0])
    assert state_of(run.model) == before
    assert torch.equal(run.family.logits(twin, run.inputs), run.dense[0])


@families
@kernels
def test_saved_inside_and_loaded_is_dense(family, kernel, tmp_path):
    """Whole models and their weights."""
    run, inputs, twins = Run(family, KINDS[0], kernel), family.inputs(), []
    dense, pruned = run.dense[0], run.first[0]
    model = family.fresh(kernel)  # one that has run holds what does not pickle
    for kind in (kind for kind in reversed(KINDS) if fits(family, kind)):
        with family.prune(model, build(family, kind), inputs):
            twins.append(pickle.loads(pickle.dumps(model)))
            if kind == KINDS[0]:
                # Its attention is watched, so its layers have configs of their own meanwhile.
                torch.save(model, tmp_path / "model.pt")
                twins.append(torch.load(tmp_path / "model.pt", weights_only=False))
                model.save_pretrained(tmp_path)
                loaded = type(model).from_pretrained(tmp_path, attn_implementation=kernel).eval()
                for twin in (*twins, loaded):
                    assert torch.equal(family.logits(twin, inputs), dense)
                assert torch.equal(family.logits(model, inputs), pruned)
    assert torch.equal(family.logits(model, inputs), dense)


@families
def test_nested_use_is_refused(family):
    """Also through another model that shares the decoder, and from another thread."""
    model, inputs, pruner = family.model(), family.inputs(), build(family, "sparsevlm")
    shared = copy.copy(model)
    assert shared is not model and shared.get_decoder() is model.get_decoder()
    want, refusals = Run(family, "sparsevlm", "sdpa").first[0], []

    def other_thread():
        with pytest.raises(RuntimeError, match="already being pruned") as refusal:
            with family.prune(model, pruner, inputs):
                pass
        refusals.append(refusal)

    with family.prune(model, pruner, inputs):
        before = state_of(model)
        for same in (model, shared):
            with pytest.raises(RuntimeError, match="already being pruned"):
                with family.prune(same, pruner, inputs):
                    pass
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join()
        assert len(refusals) == 1 and state_of(model) == before
    with family.prune(shared, pruner, inputs):
        assert torch.equal(family.logits(shared, inputs), want)


def test_a_language_model_around_the_same_decoder_is_refused():
    family = FAMILIES["llava"]
    model = family.model()
    plain = LlamaForCausalLM(model.config.text_config)
    plain.model = model.get_decoder()
    with family.prune(model, build(family, "fastv"), family.inputs()):
        with pytest.raises(RuntimeError, match="already being pruned"):
            with sv.prune(plain, build(family, "fastv"), visual_mask=(0, 5)):
                pass
