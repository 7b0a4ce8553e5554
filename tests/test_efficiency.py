"""The efficiency notebook: formulas against the paper, records against what they must hold."""

from __future__ import annotations

import json

import pytest

from sparsevlm.models.sizes import PAPER_TEXT_TOKENS
from sparsevlm.paper.extras import efficiency


@pytest.fixture(scope="module")
def records():
    return efficiency.load()


def test_formulas_meet_the_paper():
    table = efficiency.analytic().set_index(["model", "tokens"])
    for tokens in (576, 192, 128, 64):
        row = table.loc[("llava-1.5-7b", tokens)]
        assert row["TFLOPs"] == pytest.approx(row["paper TFLOPs"], abs=0.03)
    latency = table.loc[("llava-1.5-7b", 192)]["paper latency / dense"]
    assert latency == pytest.approx(0.63, abs=0.01)
    for model, rows in table.groupby(level="model", sort=False):
        assert rows["FLOPs / dense"].iloc[0] == 1 and rows["KV / dense"].iloc[0] == 1
        assert rows["FLOPs / dense"].is_monotonic_decreasing, model
        assert rows["KV / dense"].is_monotonic_decreasing, model
    assert table["paper TFLOPs"].notna().sum() == 4, "only one model is in Table 1"
    # Keys and values of all layers: 2 x 32 x 4096 values of two bytes for every token.
    dense = table.loc[("llava-1.5-7b", 576)]["KV (MB)"]
    assert dense == pytest.approx((576 + PAPER_TEXT_TOKENS) * 2 * 32 * 4096 * 2 / 1e6)
    # Qwen2-VL caches 4 of 28 heads.
    grouped = table.loc[("qwen2-vl-7b", 1332)]["KV (MB)"]
    assert grouped == pytest.approx((1332 + PAPER_TEXT_TOKENS) * 2 * 28 * 512 * 2 / 1e6)


def test_a_record_says_what_it_is(records):
    table = efficiency.scope(records).set_index("record")
    for name, record in records.items():
        assert table.loc[name, "clock"] == record["clock"]
        assert table.loc[name, "device"] == record["provenance"]["device"]
        assert record["weights"] == "random" and record["provenance"]["versions"]["torch"]
        if record["clock"] != "CUDA events":
            assert "seconds" not in json.dumps(record), "a CPU record holds ratios only"


def test_overhead_is_taken_from_the_record(records):
    (record,) = list(efficiency.having(records, "budgets").values())[:1]
    table = efficiency.overhead(record)
    assert table["tokens"].tolist() == [192, 128, 64]
    assert len(table) == sum(len(methods) for methods in record["budgets"].values())
    first = record["budgets"]["64"]["sparsevlm"]
    row = table[(table["tokens"] == 64) & (table["method"] == "sparsevlm")].iloc[0]
    assert row["over the oracle (%)"] == first["overhead_percent"]["median"]
    assert row["scoring"] == first["stages_percent"]["scoring"] and "session" not in table
    assert row["low"] <= row["over the oracle (%)"] <= row["high"]


def made(over, shares):
    """A record with one budget, and two sizes."""
    row = {
        "overhead_percent": {"median": over, "low": over - 0.1, "high": over + 0.1},
        "stages_percent": dict.fromkeys(efficiency.ONCE_PER_PROMPT, 0.5), "oracle_to_dense": 0.25,
        "to_dense": 0.26, "flops_to_dense": 0.24,
    }  # fmt: skip
    size = {str(n): {"budgets": {"64": {"share_percent": s, "memory_to_dense": 0.5}}}
            for n, s in shares.items()}  # fmt: skip
    return {"one": {"budgets": {"64": {"sparsevlm": row}}, "scale": size}}


def test_the_largest_costs_are_shown_beside_the_limit():
    for over in (1.9, 2.4):
        own, share, memory = efficiency.largest(made(over, {576: 2.0, 4096: 1.0})).itertuples()
        assert (own.largest, own.limit, own.at) == (over, 2.0, "method sparsevlm, tokens 64")
        assert (share.largest, share.at) == (2.0, "visual tokens 576, budget 64")
        assert memory.what == "memory_to_dense" and memory.largest == 0.5


def test_parts_add_up(records):
    for record in efficiency.having(records, "answers").values():
        table = efficiency.parts(record)
        assert table["run"].tolist() == ["dense", *(f"sparsevlm {n}" for n in (192, 128, 64))]
        assert table["ttft"].iloc[0] == pytest.approx(1)
        total = table["vision"] + table["prefill"] + table["rest"]
        assert total.tolist() == pytest.approx(table["ttft"].tolist())


def test_the_figure_is_drawn(records):
    import matplotlib

    matplotlib.use("Agg")
    from sparsevlm.paper.extras.efficiency_drawing import draw

    figure = draw(records)
    figure.canvas.draw()
    assert [axes.get_title().split("\n") for axes in figure.axes] == [
        ["What is left to compute?", "prefill, by formula"],
        ["Where does the time go?", "to the first token, hidden 512"],
        ["What does choosing cost?", "dashes: our limit, hidden 512"],
        ["Does it grow with the picture?", "choosing, hidden 128"],
        ["How much memory is needed?", "peak, hidden 128"],
        ["How do batches fare?", "llava-1.5-7b, 64 tokens"],
    ]
    assert "CPU time of one thread" in " ".join(figure.get_supxlabel().split())
    matplotlib.pyplot.close(figure)


def test_full_size_is_counted_for_both_models(records):
    """Peak memory is below the dense model's in every case; kernels do not say what they hide."""
    counted = efficiency.having(records, "footprint")
    assert {one["shape"]["name"] for one in counted.values()} == {"llava-1.5-7b", "llava-1.5-13b"}
    for record in counted.values():
        memory, kernels = efficiency.footprint(record), efficiency.operators(record)
        assert set(memory["visual tokens"]) == {576, 2048, 2880, 4096, 16384}
        assert set(memory["batch"]) == set(kernels["batch"]) == {1, 8, 32}
        assert len(memory) == 30 and (memory["pruned / dense"] < 0.5).all()
        assert (memory["pruned (GB)"] < memory["dense (GB)"]).all()
        assert record["footprint"]["by"] == record["operators"]["by"] == "fake tensors, no GPU"
        one = kernels[kernels["batch"] == 1]
        assert (one["added"] > 0).all(), "scoring is not free"


def test_sizes_ascend(records):
    for record in efficiency.having(records, "scale").values():
        assert efficiency.scale(record)["visual tokens"].is_monotonic_increasing


def test_files_that_are_no_records(tmp_path):
    with pytest.raises(FileNotFoundError, match="no record in"):
        efficiency.load(tmp_path)
    (tmp_path / "old.json").write_text('{"format": 0, "clock": "sun"}')
    with pytest.raises(ValueError, match="old.json is not a record of format 1"):
        efficiency.load(tmp_path)


def test_times_of_a_gpu_stand_beside_the_latency_of_table_1(records, tmp_path):
    """A record of a CPU, dressed as one of a GPU: only the reading is tested, no time is meant."""
    assert efficiency.first_tokens("llava-1.5-7b").empty, "no GPU was measured"
    (record,) = efficiency.having(records, "answers").values()
    seconds = {
        job: {"ttft": {"median": 0.05 * of["ttft"]}}
        for job, of in record["answers"]["to_dense"].items()
    }
    record = json.loads(json.dumps(record))
    record["answers"]["seconds"] = seconds
    record["shape"]["name"] = "llava-1.5-7b"
    (tmp_path / "gpu.json").write_text(json.dumps(record))
    table = efficiency.first_tokens("llava-1.5-7b", tmp_path)
    assert table["method"].tolist() == ["dense"] + ["sparsevlm"] * 3
    assert table["tokens"].tolist()[1:] == [192, 128, 64]
    assert table["ms"].iloc[0] == 50 and table["paper ms"].tolist() == [57.82, 36.50, 33.28, 29.89]
    assert table["paper / dense"].iloc[3] == pytest.approx(29.89 / 57.82)
    record["batch"] = 8
    (tmp_path / "gpu.json").write_text(json.dumps(record))
    assert efficiency.first_tokens("llava-1.5-7b", tmp_path).empty
