"""The bench on a model that a test can run: what is compared, counted, and refused."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from sparsevlm import tokens_per_layer
from sparsevlm.models.sizes import ModelSizes, prefill_flops
from sparsevlm.speed import bench, measure, random_models, shapes
from sparsevlm.speed.answering import answer, shares, to_dense
from sparsevlm.speed.case import Case
from sparsevlm.speed.measure import peak_bytes
from sparsevlm.speed.options import Options
from sparsevlm.speed.prefill import analytic, measure_memory, measure_prefill, measure_scale

BUDGET = 192  # of the 576 visual tokens of the reference: 32 of 96


@pytest.fixture(scope="module")
def case():
    """8 layers, hidden size 128, 96 visual tokens."""
    one = Case.of(shapes.get_shape("reference").scaled(8, 128)).with_visual(96)
    one.decoder_inputs()
    return one


def small(name):
    """A shape with 8 layers and a small picture, which a test can run."""
    shape = shapes.get_shape(name).scaled(8, 8 * shapes.get_shape(name).heads)
    tower = replace(shape.tower, image=112, layers=2, frames=min(shape.tower.frames, 2))
    visual = {"video_llava": 2 * 65, "llama": 96}.get(shape.family, 64)
    grid = (1, 16, 16) if shape.grid else ()
    return replace(shape, tower=tower, grid=grid, num_visual=visual, budgets=(32,),
                   vocabulary=256)  # fmt: skip


@contextmanager
def lengths(case):
    """How many tokens every layer processes."""
    seen = []

    def note(module, args):
        seen.append(args[0].shape[1])

    handles = [layer.mlp.register_forward_pre_hook(note) for layer in case.decoder.layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("method", ["sparsevlm", "fastv", "pdrop", "tome"])
def test_the_oracle_processes_what_the_pruner_processes(case, method):
    pruner = case.pruner(method, BUDGET)
    with lengths(case) as oracle:
        hidden = case.oracle(case.oracle_indices(pruner))
    with lengths(case) as pruned:
        case.forward(pruner)
    entering = tokens_per_layer(pruner.stages, 8, 96, getattr(pruner, "recycle", 0))[0]
    assert oracle == pruned == [count + 64 for count in entering]
    assert hidden.isfinite().all()


def test_without_cuts_the_oracle_is_the_dense_model(case):
    with torch.no_grad():
        dense = case.model.model(**case.inputs, use_cache=True).last_hidden_state
    torch.testing.assert_close(case.oracle({}), dense)


def test_the_command_on_a_small_model(capsys, tmp_path):
    file = tmp_path / "small.json"
    options = Options(
        layers=8, hidden=128, visual=96, rounds=2, budgets=(192, 64),
        methods=("sparsevlm", "fastv"), record=file, parts=("prefill", "memory"),
    )  # fmt: skip
    bench.run_command(options)
    out = capsys.readouterr().out.splitlines()
    result = json.loads(out[-1])
    assert json.loads(file.read_text()) == result
    assert set(result["budgets"]) == {"192", "64"}
    row = result["budgets"]["64"]["sparsevlm"]
    assert 0 < row["to_dense"] and 0 < row["flops_to_dense"] < 1
    stages = row["stages_percent"]
    assert row["overhead_percent"]["median"] > 0 and stages["scoring"] > 0 and stages["rank"] == 0
    assert result["shape"]["name"] == "reference, scaled to 8 layers x 128"
    assert result["memory"]["dense"] > result["memory"]["sparsevlm 64"] > 0
    assert {"commit", "versions", "device"} <= set(result["provenance"])
    assert "over the oracle" in out[1] and "random weights" in out[0]
    # On a CPU there is no second and no speed-up, only ratios.
    assert "seconds" not in json.dumps(result) and result["clock"] == "CPU time of one thread"


def test_flops_follow_the_schedule(case):
    pruner = case.pruner("sparsevlm", BUDGET)
    entering = tokens_per_layer(pruner.stages, 8, 96, pruner.recycle)[0]
    found = analytic(case, pruner)
    decoder = ModelSizes(layers=8, hidden=128, intermediate=344, heads=16)
    assert found["flops"] == prefill_flops([n + 64 for n in entering], decoder)
    assert found["kv_bytes"] == sum(n + 64 for n in entering) * 2 * 128 * 4


def test_overhead_is_the_account_less_the_cuts_of_the_oracle(case, monkeypatch):
    from sparsevlm.speed import prefill as bench_prefill

    monkeypatch.setattr(bench_prefill, "reading_seconds", lambda clock: 0.25)
    phases = {"session": 5.0, "hooks": 1.0, "cut": 2.0}
    runs = {
        "dense": {"prefill": 100.0, "phases": {}, "count": 0},
        "sparsevlm 192": {"prefill": 53.0, "phases": phases, "count": 4},
        "oracle of sparsevlm 192": {"prefill": 50.0, "phases": {"cut": 1.0}, "count": 2},
    }
    monkeypatch.setattr(
        bench_prefill, "interleaved", lambda jobs, *rest: {name: [runs[name]] * 2 for name in jobs}
    )
    row = measure_prefill(case, Options(budgets=(BUDGET,)))["budgets"]["192"]["sparsevlm"]
    # (3 - 4 x 0.25) - (1 - 2 x 0.25) = 1.5 of 50
    assert row["overhead_percent"]["median"] == pytest.approx(3.0)
    assert row["by_difference_percent"]["median"] == pytest.approx(6.0)
    assert (row["oracle_to_dense"], row["to_dense"]) == (0.5, 0.53)
    assert row["stages_percent"]["cut"] == pytest.approx(4.0)


def test_rounds_are_interleaved_and_the_first_run_is_dropped():
    calls = []
    jobs = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
    found = measure.interleaved(jobs, rounds=4, seed=1)
    assert calls[:3] == ["a", "b", "c"]
    rounds = [calls[i : i + 3] for i in range(3, 15, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert all(len(values) == 4 and min(values) > 3 for values in found.values())
    with pytest.raises(ValueError, match="rounds must be at least 2"):
        measure.interleaved(jobs, rounds=1, seed=1)


def test_peak_memory_counts_what_lives_at_once():
    given = torch.zeros(1000)

    def job():
        one = given + 1  # 4000 bytes
        two = one * 2  # 8000
        del one
        three = two.view(10, 100)[:5]  # a context takes nothing
        given.add_(1)  # nor does what was there before
        return three.clone()  # 4000 + 2000

    assert peak_bytes(job, [given], "cpu") == 8000


def test_pruning_needs_no_more_memory_than_the_dense_model(case):
    found = measure_memory(case, {"dense": None, "sparsevlm": case.pruner("sparsevlm", BUDGET)})
    assert found["sparsevlm"] < found["dense"]


def test_parts_of_an_answer():
    spread = {"dense": {"ttft": 8.0, "prefill": 4.0}, "one": {"ttft": 4.0, "prefill": 1.0}}
    answers = {job: {part: {"median": value} for part, value in of.items()}
               for job, of in spread.items()}  # fmt: skip
    assert to_dense(answers)["one"] == {"ttft": 0.5, "prefill": 0.25}
    assert shares(answers)["one"] == {"ttft": 1.0, "prefill": 0.25}


def test_share_by_number_of_tokens(case):
    found = measure_scale(case, Options(scale=(96, 192), budgets=(BUDGET,), rounds=2))
    for size in ("96", "192"):
        row = found[size]["budgets"]["192"]
        assert row["share_percent"] > 0 and 0 < row["memory_to_dense"] < 1
    assert found["192"]["dense_peak_bytes"] > found["96"]["dense_peak_bytes"]


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_every_shape_runs(name):
    """From pixels to tokens, pruned; and its oracle."""
    one = Case.of(small(name))
    pruner = one.pruner("sparsevlm", 32)
    seconds = answer(one, pruner, 3)
    assert {"ttft", "tpot", "prefill"} <= set(seconds) and min(seconds.values()) > 0
    assert seconds["prefill"] < seconds["ttft"]
    assert ("vision" in seconds) == (name != "reference")
    assert one.oracle(one.oracle_indices(pruner)).isfinite().all()


def test_full_sizes_are_those_of_the_models():
    """Parameters on the meta device: nothing is allocated."""
    billions = {"llava-1.5-7b": 7.06, "llava-1.5-13b": 13.35, "qwen2-vl-7b": 8.29}
    for name, expected in billions.items():
        model = random_models.build(shapes.get_shape(name), "meta", torch.float16)
        count = sum(weight.numel() for weight in model.parameters()) / 1e9
        assert count == pytest.approx(expected, abs=0.15), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(device="tpu"), "device must be one of cpu, cuda"),
        (Options(parts=("throughput",)), "on a CPU says nothing about a GPU"),
        (Options(shape="llava-1.5-7b"), "scale it down with --layers and --hidden"),
        (Options(shape="llava-2"), "unknown shape 'llava-2'; known: reference"),
        (Options(hidden=100), "hidden must be a multiple of 128"),
        (Options(dtype="float12"), "unknown dtype 'float12'"),
        (Options(methods=("sparsevlm-paper",), layers=8, hidden=128), "there is no oracle"),
        (Options(shape="llava-1.5-7b", layers=8, hidden=256, visual=99), "use the shape 'refer"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bench.run_bench(options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there():
    with pytest.raises(ValueError, match="torch sees no GPU; use --device cpu"):
        bench.run_bench(Options(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_all_parts_on_a_gpu():
    options = Options(layers=8, hidden=128, visual=96, rounds=2, device="cuda", batches=(1, 2),
                      parts=("prefill", "answers", "memory", "throughput"))  # fmt: skip
    result = bench.run_bench(options)
    assert result["dense_prefill_seconds"]["median"] > 0
    assert result["throughput"]["2"]["sparsevlm 64"] > 0
