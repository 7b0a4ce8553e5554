from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases

from sparsevlm.core.recycling import select_top
from sparsevlm.core.scoring import gravity, mean_over_heads, priority_heads, score

GOLDEN = [case for case in cases("functions") if case.startswith("v20/")]


def rotary(positions: torch.Tensor, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Llama's tables, base 10000."""
    frequency = 1 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angle = positions[:, None].float() * frequency
    angle = torch.cat([angle, angle], dim=1)
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("case", GOLDEN)
def test_official_correction_and_heads(case):
    info, gold = cases("functions")[case], arrays("functions", case)
    cos, sin = rotary(gold["pos"], info["head_dim"])
    text = slice(info["text_start"], None)
    visual = slice(info["v_start"], info["v_start"] + info["n_vis"])
    weight = gravity((cos[text], sin[text]), (cos[visual], sin[visual]))[gold["raters"]]
    torch.testing.assert_close(weight, gold["rope_weights"], rtol=0, atol=1e-6)
    corrected = gold["rel"] / weight
    torch.testing.assert_close(corrected[:2], gold["corrected"], rtol=1e-5, atol=1e-8)
    heads = priority_heads(corrected, 14)
    assert torch.equal(heads, gold["heads"])
    scores = score(mean_over_heads(corrected[heads]))
    torch.testing.assert_close(scores, gold["score"], rtol=1e-5, atol=1e-8)
    assert torch.equal(select_top(scores, info["n_kept"], 0)[0], gold["kept"])


@pytest.mark.parametrize(("head_dim", "distance"), [(128, 1707), (64, 725), (32, 474), (16, 91)])
def test_where_gravity_first_turns_its_sign(head_dim, distance):
    tables = rotary(torch.arange(2000), head_dim)
    weight = gravity(tuple(table[:1] for table in tables), tables)[0]
    assert int((weight <= 0).nonzero()[0]) == distance


def test_gravity_is_the_logit_of_rotated_ones():
    cos, sin = rotary(torch.tensor([0, 3, 40]), 8)
    sign = torch.tensor([-1.0] * 4 + [1.0] * 4)  # rotate_half of ones
    ones = cos + sign * sin
    want = ones @ ones.T / 8**0.5
    torch.testing.assert_close(gravity((cos, sin), (cos, sin)), want)


def test_fewer_heads_than_asked_for():
    attention = torch.rand(4, 2, 5)
    mass = attention.sum((1, 2))
    assert torch.equal(priority_heads(attention, 4), mass.argsort(descending=True))
    with pytest.raises(ValueError, match=r"this model has 4; give a smaller number, e.g. heads=2"):
        priority_heads(attention, 14)
