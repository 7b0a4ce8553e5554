"""Models inside wrappers: pruned through them, or refused with what to pass."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import sparsevlm as sv
from sparsevlm.evaluation.answer import answer
from sparsevlm.miniature import load_miniature
from sparsevlm.runtime.adapter import unwrap

LLAVA = FAMILIES["llava"]


class LoraLinear(nn.Module):
    """What LoRA puts in place of a linear layer."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.a, self.b = nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)

    def forward(self, x):
        return self.base_layer(x) + self.b(self.a(x))


class Forwarding(nn.Module):
    """Looks up in ``inside`` what it does not have, as PEFT's classes do."""

    inside = ""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__(self.inside), name)


class LoraModel(Forwarding):
    """PEFT's inner wrapper: calls the forward of the model, past its hooks."""

    inside = "model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.peft_config = model, {"default": object()}

    def forward(self, *args, **kwargs):
        return self.model.forward(*args, **kwargs)


class PeftModel(Forwarding):
    """PEFT's outer wrapper."""

    inside = "base_model"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model, self.peft_config = LoraModel(model), {"default": object()}

    def get_base_model(self):
        return self.base_model.model

    def forward(self, *args, **kwargs):
        return self.base_model(*args, **kwargs)

    def generate(self, *args, **kwargs):
        return self.base_model.generate(*args, **kwargs)


@pytest.fixture(scope="module")
def model():
    made = LLAVA.fresh()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in made.model.language_model.layers:
            layer.self_attn.q_proj = LoraLinear(layer.self_attn.q_proj)
    return made.eval()


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


WRAPPERS = {
    "PEFT": PeftModel,
    "LoRA": LoraModel,
    "DataParallel": DataParallel,
    "DistributedDataParallel": DistributedDataParallel,
    "DataParallel of PEFT": lambda model: DataParallel(PeftModel(model)),
    "PEFT of DataParallel of PEFT": lambda model: LoraModel(DataParallel(PeftModel(model))),
    "AveragedModel": AveragedModel,
}


@pytest.mark.parametrize("method", ["sparsevlm", "pdrop", "tome"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_calls_through_a_wrapper_are_pruned(name, method, model, group):
    wrapper, inputs = WRAPPERS[name](model), LLAVA.inputs()
    model = unwrap(wrapper)  # AveragedModel holds a copy
    dense = LLAVA.logits(model, inputs)
    with sv.prune(model, build(LLAVA, method)) as trace:
        want, samples = LLAVA.logits(model, inputs), trace.samples
        tokens = LLAVA.generate(model, inputs)
    with sv.prune(wrapper, build(LLAVA, method)) as trace:
        assert torch.equal(LLAVA.logits(wrapper, inputs), want) and trace.samples == samples
        if hasattr(wrapper, "generate"):
            assert torch.equal(LLAVA.generate(wrapper, inputs), tokens)
    assert want.shape[1] < dense.shape[1]
    assert torch.equal(LLAVA.logits(wrapper, inputs), dense)


def test_graphs_of_a_wrapped_model(model):
    inputs, method = LLAVA.row(LLAVA.inputs(), 0), build(LLAVA, "fastv")
    with sv.prune(model, method, static=True):
        want = LLAVA.logits(model, inputs)
    wrapper = PeftModel(model)
    with sv.capture(wrapper) as graphs, sv.prune(wrapper, method, static=True):
        assert torch.equal(LLAVA.logits(wrapper, inputs), want) and graphs.replays == 1


def test_a_wrapped_model_answers():
    model, builder = load_miniature("mini-llava")
    from PIL import Image

    ask = (builder, ["what color is it ?"], [[Image.new("RGB", (96, 96), "red")]])
    method = sv.make_pruner("fastv", tokens=32, num_layers=8, num_visual=144)
    want = answer(model, *ask, method, max_new_tokens=2)
    assert answer(DataParallel(model), *ask, method, max_new_tokens=2) == want


def on_two_devices(model):
    wrapper = DataParallel(model)
    wrapper.device_ids = [0, 1]
    return wrapper


def in_place(model):
    model.compile()
    return model


def by_forward(model):
    model.forward = torch.compile(model.forward)
    return model


def layers_in_place(model):
    for layer in model.model.language_model.layers:
        layer.compile()
    return model


def one_layer(model):
    layers = model.model.language_model.layers
    layers[2] = torch.compile(layers[2])
    return model


def decoder(model):
    model.model.language_model = torch.compile(model.model.language_model)
    return PeftModel(model)


def attention(model):
    model.model.language_model.layers[1].self_attn.compile()
    return model


class Pipeline:
    def __init__(self, model: nn.Module) -> None:
        self.model = model


class Own(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"vlm": model})


class FullyShardedDataParallel(nn.Module):
    """By its name: torch's own needs an accelerator."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model


REFUSED = {
    on_two_devices: "DataParallel: it runs copies.*pass model.module",
    torch.compile: "OptimizedModule: a compiled graph.*pass model._orig_mod and call that",
    lambda m: torch.compile(PeftModel(m)): "OptimizedModule",
    lambda m: PeftModel(torch.compile(m)): "OptimizedModule",
    lambda m: DataParallel(in_place(m)): "compiled graph.*its _compiled_call_impl to None",
    lambda m: in_place(PeftModel(m)): "PeftModel: a compiled graph",
    in_place: "a LlavaForConditionalGeneration: a compiled graph.*undo compile",
    by_forward: "a LlavaForConditionalGeneration: .*delete its attribute forward",
    layers_in_place: "a LlamaDecoderLayer: a compiled graph",
    one_layer: "a OptimizedModule: a compiled graph",
    decoder: "a OptimizedModule: a compiled graph",
    attention: "a LlamaAttention: a compiled graph",
    FullyShardedDataParallel: "weights in pieces.*load the model whole",
    lambda m: torch.jit.trace(m.lm_head, torch.ones(1, 64)): "TorchScript.*that it was made from",
    Own: "a Own; .*It holds a LlavaForConditionalGeneration: pass its .net.vlm and call that",
    Pipeline: "a Pipeline; .*It holds a LlavaForConditionalGeneration: pass its .model",
    lambda m: m.model: "a LlavaModel; known: Llava",
    lambda m: "llava-hf/llava-1.5-7b-hf": "a str; known: Llava",
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", REFUSED)
def test_what_would_not_be_pruned_is_refused(wrap):
    given = wrap(LLAVA.fresh())
    for enter in (lambda: sv.prune(given, build(LLAVA, "uniform")), lambda: sv.capture(given)):
        with pytest.raises(TypeError, match=REFUSED[wrap]), enter():
            pass
