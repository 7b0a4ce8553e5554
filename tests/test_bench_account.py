"""Pruning's own time by stage: exact on a clock that counts, and nothing where nobody measures."""

from __future__ import annotations

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

from sparsevlm.core.interface import phase
from sparsevlm.runtime import timing
from sparsevlm.runtime.timing import PHASES, account, reading_seconds


class Ticks:
    """A clock that goes on by one at every reading."""

    def __init__(self) -> None:
        self.now = 0

    def mark(self) -> int:
        self.now += 1
        return self.now

    def seconds(self, start: int, end: int) -> float:
        return float(end - start)


@phase("scoring")
def inner() -> str:
    return "done"


@phase("cut")
def outer() -> str:
    return inner() + inner()


def test_an_inner_stage_interrupts_the_outer():
    # Readings: cut 1, scoring 2-3, cut goes on 3-4, scoring 4-5, cut 5-6.
    with account(Ticks()) as spent:
        assert outer() == "donedone"
    assert spent.seconds == {"scoring": 2.0, "cut": 3.0}
    assert spent.count == 3


def test_a_failing_stage_is_left():
    @phase("rank")
    def broken():
        raise ValueError("no")

    with account(Ticks()) as spent:
        with pytest.raises(ValueError, match="no"):
            broken()
        inner()
    assert spent.seconds == {"scoring": 1.0, "rank": 1.0}


def test_nothing_is_noted_outside_of_an_account():
    clock = Ticks()
    with account(clock) as spent:
        pass
    outer()
    assert spent.seconds == {} and clock.now == 0


def test_accounts_of_two_threads_are_apart():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool, account(Ticks()) as spent:
        pool.submit(outer).result()
    assert spent.seconds == {}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("sparsevlm", {"session", "hooks", "scoring", "clustering", "cut"}),
        ("sparsevlm-paper", {"session", "hooks", "scoring", "rank", "clustering", "cut"}),
        ("fastv", {"session", "hooks", "scoring", "cut"}),
        ("dense", {"session", "hooks"}),
    ],
)
def test_every_stage_of_a_prefill_is_seen(method, expected):
    family = FAMILIES["llava"]
    model, inputs = family.model(), family.inputs()
    # Positions with padding: the cuts make rotary tables and masks.
    with account() as spent, family.prune(model, build(family, method, None if method == "dense"
                                                       else 30), inputs):  # fmt: skip
        family.logits(model, inputs)
    assert set(spent.seconds) == expected
    assert list(spent.seconds) == [name for name in PHASES if name in expected]
    assert all(seconds > 0 for seconds in spent.seconds.values())


def test_the_account_changes_no_result():
    family = FAMILIES["llava"]
    model, inputs, pruner = family.model(), family.inputs(), build(family, "sparsevlm")
    with family.prune(model, pruner, inputs):
        want = family.logits(model, inputs)
    with account(), family.prune(model, pruner, inputs):
        assert torch.equal(family.logits(model, inputs), want)


def test_readings_are_told():
    # Two readings per stage: one falls into the stage itself, one into the stage around it.
    assert reading_seconds(Ticks(), times=50) == pytest.approx(2.0, abs=0.1)
    assert timing.CURRENT_ACCOUNT.get() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_clock_of_a_gpu():
    clock = timing.CudaClock()
    start = clock.mark()
    torch.ones(1 << 24, device="cuda").sum()
    assert 0 < clock.seconds(start, clock.mark()) < 10
