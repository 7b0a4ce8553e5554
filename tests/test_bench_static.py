"""Cuts that leave every value on the device: no waiting, static shapes, a prefill to capture."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import sparsevlm as sv
from sparsevlm.methods import constants
from sparsevlm.runtime.adapter import Picture
from sparsevlm.runtime.generation import arrange, locate, locate_span
from sparsevlm.runtime.prefill import Prefill

# Operators that make the host wait for a device: reading a value, shapes that depend on values,
# copies of a Python list.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "lift_fresh",
           "is_nonzero", "item")  # fmt: skip
SYNCHRONOUS = ("sparsevlm", "sparsevlm-all-text", "sparsevlm-all-tokens", "sparsevlm-plus")
BASELINES = ("fastv", "pdrop", "tome", "uniform", "pooled", "divprune", "cdpruner-words")


class Waits(TorchDispatchMode):
    """Notes the operators that a device would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.count = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        name = func.name().removeprefix("aten::").split(".")[0]
        if name in WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def waits_in_cuts(monkeypatch, family, pruner, inputs, **options):
    waits, cut = Waits(), Prefill.prune

    def watched(*args):
        with waits:
            return cut(*args)

    monkeypatch.setattr(Prefill, "prune", watched)
    model = family.model()
    with family.prune(model, pruner, inputs, **options):
        family.logits(model, inputs)
    assert waits.count > 20, "nothing was cut"
    return waits.seen


@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
@pytest.mark.parametrize("method", SYNCHRONOUS)
def test_the_host_never_waits_in_a_static_cut(monkeypatch, name, method):
    family = FAMILIES[name]
    inputs = family.inputs()
    assert not waits_in_cuts(monkeypatch, family, build(family, method), inputs, static=True)


@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
@pytest.mark.parametrize("method", BASELINES)
def test_baselines_copy_nothing_to_the_device_but_a_grid_once(monkeypatch, name, method):
    monkeypatch.setattr(constants, "_KNOWN", {})
    family = FAMILIES[name]
    inputs, pruner = family.inputs(), build(family, method)
    first = waits_in_cuts(monkeypatch, family, pruner, inputs)
    assert bool(first) == (method in ("uniform", "pooled")), "numbers of the grid"
    assert not waits_in_cuts(monkeypatch, family, pruner, inputs)


def test_the_numbers_of_a_grid_are_kept_for_a_device_and_never_without_memory(monkeypatch):
    monkeypatch.setattr(constants, "_KNOWN", {})
    monkeypatch.setattr(constants, "MOST", 2)
    cpu = torch.device("cpu")
    with FakeTensorMode():
        assert isinstance(constants.on_device((1, 2), cpu), FakeTensor)
    kept = constants.on_device((1, 2), cpu)
    assert kept.tolist() == [1, 2] and constants.on_device((1, 2), cpu) is kept
    for more in (3, 4):
        assert constants.on_device((1, more), cpu).tolist() == [1, more]
    assert len(constants._KNOWN) == 2 and constants.on_device((1, 2), cpu) is not kept


def test_what_the_watch_would_see(monkeypatch):
    family = FAMILIES["llava"]
    inputs = family.inputs()
    assert "nonzero" in waits_in_cuts(monkeypatch, family, build(family, "sparsevlm"), inputs)
    rank = build(family, "sparsevlm-paper")
    seen = waits_in_cuts(monkeypatch, family, rank, inputs)
    assert "_local_scalar_dense" in seen


@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
@pytest.mark.parametrize("method", SYNCHRONOUS)
def test_static_cuts_decide_the_same(name, method):
    family = FAMILIES[name]
    model, inputs, pruner = family.model(), family.inputs(), build(family, method)
    found = []
    for static in (False, True):
        with family.prune(model, pruner, inputs, static=static) as trace:
            found.append((family.logits(model, inputs), trace.samples))
    (logits, samples), (static_logits, static_samples) = found
    torch.testing.assert_close(static_logits, logits)
    for one, other in zip(samples, static_samples, strict=True):
        for stage, static_cut in zip(one.stages, other.stages, strict=True):
            assert (static_cut.kept, static_cut.groups) == (stage.kept, stage.groups)
            assert static_cut.raters == stage.raters
            assert static_cut.scores == pytest.approx(stage.scores, rel=1e-4)
    if method in ("sparsevlm", "sparsevlm-plus"):
        assert any(len(sample.stages[0].raters) < 6 for sample in samples)


def embedded(seed):
    """A prompt of 3 + 144 + 9 embeddings for the small language model."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 156, 64, generator=generator)


def prefill(model):
    """A function of embeddings. With a cache: without, transformers itself reads a value."""
    return lambda embeds: model.model(inputs_embeds=embeds, use_cache=True).last_hidden_state


@torch.no_grad()
def test_a_static_prefill_is_captured_and_replayed():
    """The graph of one prompt, run on another, gives what pruning gives: nothing was baked in."""
    family = FAMILIES["llama"]
    model, pruner = family.model(), build(family, "sparsevlm")
    kept = []
    with sv.prune(model, pruner, visual_mask=(3, 147), static=True) as trace:
        graph = make_fx(prefill(model))(embedded(0))
        for seed in (0, 1):
            want = prefill(model)(embedded(seed))
            assert torch.equal(graph(embedded(seed)), want)
            kept.append(trace.samples[0].stages[0].kept)
    assert kept[0] != kept[1], "the two prompts must differ in what survives"


@torch.no_grad()
def test_without_static_a_graph_holds_for_its_own_prompt_only():
    family = FAMILIES["llama"]
    model, pruner = family.model(), build(family, "sparsevlm")
    with sv.prune(model, pruner, visual_mask=(3, 147)):
        graph = make_fx(prefill(model))(embedded(0))
        assert "nonzero" in graph.code
        graph(embedded(0))
        with pytest.raises(RuntimeError):
            graph(embedded(1))


def test_static_needs_fixed_counts():
    family = FAMILIES["llava"]
    with pytest.raises(ValueError, match="static=True needs a method whose counts are fixed"):
        with sv.prune(family.model(), build(family, "sparsevlm-paper"), static=True):
            pass


def test_a_known_span_is_located_without_looking():
    visual = torch.zeros(2, 20, dtype=torch.bool)
    visual[:, 4:15] = True
    for span, prompt in (((4, 15), 20), ((4, -3), 18)):
        assert locate_span((2, 20), span, prompt) == locate(visual, None)
    assert locate_span((1, 20), (20, 30), 20) == locate(torch.zeros(1, 20) > 0, None)
    with pytest.raises(ValueError, match="no text after the image"):
        arrange(locate_span((1, 20), (4, 20), 20), [[Picture(16)]], visual[:1], 20)
