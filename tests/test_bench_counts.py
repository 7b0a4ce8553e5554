"""What the bench counts and calculates: operators, memory without values, prefills from graphs."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sparsevlm.paper.extras import efficiency
from sparsevlm.speed import bench, calculated, shapes
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import count_operators, peak_bytes
from sparsevlm.speed.options import Options
from sparsevlm.speed.prefill import captured_row

SHAPE = shapes.get_shape("reference").scaled(8, 128)
BUDGET = 64


def test_views_and_memory_are_operators_but_no_kernels():
    given = torch.zeros(4, 6)

    def job():
        one = given.view(2, 12)[:, :3].t()  # three views
        two = torch.empty(3, 2)
        two.copy_(one)  # writes
        return one @ two.t()  # a context and a product

    assert count_operators(job) == {"total": 7, "kernels": 2}


def test_only_the_decoder_counts():
    decoder = nn.ReLU()
    given = torch.zeros(3)
    found = count_operators(lambda: decoder(given + 1) * 2, decoder)
    assert found == {"total": 1, "kernels": 1}
    assert not decoder._forward_pre_hooks and not decoder._forward_hooks


def test_tensors_without_values_give_the_counts_and_bytes_of_real_ones():
    case = Case.of(SHAPE)
    options = Options(budgets=(BUDGET,), batches=(1, 2), scale=(576,))
    real = calculated.measure_operators(case, options)
    found = calculated.operators(SHAPE, options)["batches"]
    assert found["1"] == real
    of = real["budgets"]["64"]["sparsevlm"]
    assert real["dense"]["kernels"] <= of["oracle"]["kernels"] < of["method"]["kernels"]
    assert found["2"]["dense"] == real["dense"], "the dense model takes all rows at once"
    peaks = calculated.footprint(SHAPE, options)
    row = peaks["sizes"]["576"]["1"]
    known = list(case.known())
    assert row["dense_peak_bytes"] == peak_bytes(lambda: case.forward(), known, "cpu")
    pruner = case.pruner("sparsevlm", BUDGET)
    pruned = peak_bytes(lambda: case.forward(pruner, static=True), known, "cpu")
    assert row["budgets"]["64"]["peak_bytes"] == pruned < row["dense_peak_bytes"]
    twice = peaks["sizes"]["576"]["2"]["dense_peak_bytes"]
    assert twice == pytest.approx(2 * row["dense_peak_bytes"], rel=0.01)
    assert peaks["weights_bytes"] == sum(weight.nbytes for weight in case.model.parameters())


@pytest.mark.parametrize(
    "method", ["sparsevlm", "sparsevlm-plus", "fastv", "pdrop", "tome", "pooled"]
)
def test_a_batch_is_cut_with_about_as_many_kernels_as_a_prompt(method):
    options = Options(budgets=(192, BUDGET), methods=(method,), batches=(1, 32))
    one, many = calculated.operators(SHAPE, options)["batches"].values()
    for budget, found in many["budgets"].items():
        own, alone = (
            case["budgets"][budget][method]["method"]["kernels"] - case["dense"]["kernels"]
            for case in (many, one)
        )
        assert own <= 1.2 * alone, "also of what pruning adds, not only of all kernels"
        assert found[method]["oracle"] == one["budgets"][budget][method]["oracle"]


def test_memory_grows_with_the_picture_as_that_of_the_dense_model():
    options = Options(budgets=(BUDGET,), batches=(1,), scale=(2048, 16384))
    small, large = calculated.footprint(SHAPE, options)["sizes"].values()
    ratios = [size["1"]["budgets"]["64"]["memory_to_dense"] for size in (small, large)]
    assert ratios[1] == pytest.approx(ratios[0], abs=0.005)


def test_full_size_is_calculated_on_a_cpu_and_timed_on_none(monkeypatch):
    options = Options(shape="llava-1.5-7b", layers=8, parts=("operators",), budgets=(64,),
                      batches=(1,), dtype="float16")  # fmt: skip
    found = bench.run_bench(options)
    assert found["operators"]["by"] == "fake tensors, no GPU"
    assert found["clock"] == "calculated, nothing timed" and "budgets" not in found
    # Without the refusal this would fill the memory of the machine.
    monkeypatch.setattr(bench.Case, "of", lambda *args: pytest.fail("a full-size model is built"))
    with pytest.raises(ValueError, match="scale it down with --layers and --hidden"):
        bench.run_bench(Options(shape="llava-1.5-7b", parts=("operators", "memory")))
    with pytest.raises(ValueError, match="decoder of qwen2-vl-7b is no Llama"):
        calculated.fake_case(shapes.get_shape("qwen2-vl-7b"), options)


def test_captured_prefills_run_in_the_same_rounds():
    options = Options(layers=8, hidden=128, visual=96, rounds=2, budgets=(64,), capture=True)
    result = bench.run_bench(options)
    row = result["budgets"]["64"]["sparsevlm"]
    assert 0 < row["captured_to_dense"] and 0 < row["captured_to_captured_dense"]
    assert result["captured_dense_to_dense"] > 0 and "seconds" not in json.dumps(result)
    table = efficiency.captured(result)
    assert table["captured / captured dense"].tolist() == [row["captured_to_captured_dense"]]


def test_ratios_of_captured_prefills():
    seconds = {"dense": 8.0, "captured dense": 4.0, "captured sparsevlm 64": 1.0}
    found = {job: [{"prefill": value}] * 2 for job, value in seconds.items()}
    assert captured_row(found, "sparsevlm 64") == {
        "captured_to_dense": 0.125, "captured_to_captured_dense": 0.25,
    }  # fmt: skip


def test_numbers_that_an_earlier_prefill_kept_do_no_harm():
    case = Case.of(SHAPE)
    case.forward(case.pruner("pooled", BUDGET))  # keeps its cells on the device
    options = Options(budgets=(BUDGET,), methods=("pooled",), batches=(1,))
    found = calculated.operators(SHAPE, options)["batches"]["1"]
    assert found == calculated.measure_operators(case, options)
