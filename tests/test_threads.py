"""Two models pruned at the same time, each in a thread of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build

ROUNDS = 4


def work(family, model, method, barrier=None):
    """Several sessions one after the other; logits, tokens and what survived of each."""
    inputs, found = family.inputs(), []
    torch.set_num_threads(1)
    for _ in range(ROUNDS):
        if barrier is not None:
            barrier.wait(timeout=60)
        with family.prune(model, build(family, method), inputs) as trace:
            logits = family.logits(model, inputs)
            samples = trace.samples
            found.append((logits, family.generate(model, inputs, max_new_tokens=2), samples))
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("llava", "sparsevlm", "sdpa"), ("llava", "sparsevlm", "sdpa")),
        (("llava", "sparsevlm", "eager"), ("llama", "fastv", "sdpa")),
        (("video-llava", "pdrop", "sdpa"), ("qwen2.5-vl", "sparsevlm-plus", "sdpa")),
    ],
)
def test_each_gets_what_it_gets_alone(one, other):
    jobs = [
        (FAMILIES[name], FAMILIES[name].fresh(kernel, seed), method)
        for seed, (name, method, kernel) in enumerate((one, other))
    ]
    alone = [work(*job) for job in jobs]
    assert not torch.equal(alone[0][0][0], alone[1][0][0])
    barrier = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        together = [future.result() for future in
                    [pool.submit(work, *job, barrier) for job in jobs]]  # fmt: skip
    for expected, found in zip(alone, together, strict=True):
        for want, got in zip(expected, found, strict=True):
            assert torch.equal(want[0], got[0]) and torch.equal(want[1], got[1])
            assert want[2] == got[2]
