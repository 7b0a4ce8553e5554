"""Muon (Jordan et al. 2024): momentum whose update is orthogonalized, for weight matrices.

`torch.optim.Muon` does the same in bfloat16 only, which processors without bfloat16 units run
about thirty times slower; this one stays in the dtype of the parameter and orthogonalizes all
matrices of one shape in a single batched product.
"""

from __future__ import annotations

from collections import defaultdict

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(update: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearest semi-orthogonal matrices by Newton-Schulz iteration, [batch, rows, columns]."""
    a, b, c = _COEFFICIENTS
    tall = update.shape[-2] > update.shape[-1]
    x = update.mT if tall else update
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for 2-D parameters only."""

    def __init__(self, params, lr: float = 0.01, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(
                        f"Muon takes matrices, got a parameter of shape {tuple(parameter.shape)}; "
                        "give vectors and convolutions to AdamW"
                    )

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._step_shape(group, shape, parameters)

    def _step_shape(self, group, shape, parameters) -> None:
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            buffer = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1 - group["momentum"])
            updates.append(parameter.grad.lerp(buffer, group["momentum"]))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, orthogonalize(torch.stack(updates)), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * scale)
