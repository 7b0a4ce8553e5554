"""Random weights for tiny models."""

from __future__ import annotations

import torch
from torch import nn


def spread(model: nn.Module, seed: int) -> nn.Module:
    """Fill a model with random weights, wide enough that attention is not flat."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                width = 0.6 if "embed" in name else 1.6
                fan_in = weight[0].numel() if "embed" not in name else 1
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise * width / fan_in**0.5)
    return model.float().eval()
