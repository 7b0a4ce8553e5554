"""Reads the recorded tensors of tests/golden."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

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
def tiny64(attention: str = "sdpa") -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(
        FOLDER / "weights_tiny64", dtype=torch.float32, attn_implementation=attention
    ).eval()
