"""Reads the recorded tensors of tests/golden."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = Path(__file__).parent / "golden"


@cache
def cases(name: str) -> dict[str, dict]:
    return json.loads((FOLDER / f"{name}.json").read_text())["cases"]


@cache
def _arrays(name: str) -> dict[str, torch.Tensor]:
    return load_file(FOLDER / f"{name}.safetensors")


def arrays(name: str, case: str) -> dict[str, torch.Tensor]:
    """The arrays of one case, floats as float32 and integers as int64."""
    found = {}
    for key, value in _arrays(name).items():
        if key.startswith(case + "/"):
            value = value.float() if value.is_floating_point() else value.long()
            found[key.removeprefix(case + "/")] = value
    assert found, f"no arrays of {case} in {name}"
    return found


@cache
def golden_model(weights: str = "tiny64", attention: str = "sdpa") -> LlamaForCausalLM:
    """The recorded model, with one more layer that changes nothing.

    v1.0 cuts after layer 19, which is the last one of the recorded model; `prune` refuses such a
    cut because nothing is saved by it. With the idle layer it can be made and compared.
    """
    folder = FOLDER / f"weights_{weights}"
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers += 1
    model = LlamaForCausalLM._from_config(config, attn_implementation=attention).float().eval()
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), False)
    idle = f"model.layers.{config.num_hidden_layers - 1}."
    assert not unexpected and all(name.startswith(idle) for name in missing), missing
    last = model.model.layers[-1]
    with torch.no_grad():
        last.self_attn.o_proj.weight.zero_()
        last.mlp.down_proj.weight.zero_()
    return model
