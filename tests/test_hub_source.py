"""Real loading code on tiny random checkpoints and synthetic data: the whole way of a run."""

from __future__ import annotations

import pickle
from dataclasses import replace
from multiprocessing import current_process, get_context

import pytest
from executing import execute_run
from synthetic import write_synthetic
from synthetic_videoqa import write_synthetic_videos
from tiny_checkpoints import FAMILIES, as_fetched, save_tiny

from sparsevlm.benchmarks.loaders import DataError, layout_of
from sparsevlm.evaluation.backends import (
    CheckpointBackend,
    _all_samples,
    _file_digest,
    versioned_samples,
)
from sparsevlm.evaluation.plan import plan_runs
from sparsevlm.evaluation.profiles import get_profile
from sparsevlm.evaluation.results.store import Store
from sparsevlm.models.checkpoints.places import CheckpointError
from sparsevlm.models.placement import gpu_of

VISUAL = {
    "llava": 576,
    "llava_next": 192,
    "video_llava": 4 * 37,
    "qwen2_vl": 1320,
    "mini_gemini": 256,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The folder of a tiny checkpoint of every family."""
    folders = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in folders.items():
        save_tiny(family, folder)
    return folders


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rehearsal data of some image benchmarks and one of videos, in the official layout."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("pope", "scienceqa", "mmbench"):
        write_synthetic(name, folder / layout_of(name).folder, n=8)
    write_synthetic_videos("msvd", folder / layout_of("msvd").folder, n=4)
    return folder


@pytest.fixture
def source(data):
    return CheckpointBackend(str(data), quantization=None, complete=False)


def record(source, model, benchmark, folder, **changes):
    """Run the runs of one benchmark, dense and pruned; returns the pruned record."""
    profile = replace(
        get_profile("mini"), model=str(model), benchmarks=(benchmark,), samples_per_benchmark=4,
        methods=("sparsevlm",), budgets=(40,), batch=1, max_new_tokens=2, **changes,
    )  # fmt: skip
    store = Store(folder)
    runs = plan_runs(profile, backend=source, store=store)
    records = [execute_run(run, store, source, lambda n: None) for run in runs]
    assert [r.run.method for r in records] == ["dense", "sparsevlm"]
    assert records[0].run.revision == source.revision(str(model))
    return records[1]


@pytest.mark.parametrize(
    ("family", "benchmark"),
    [
        ("llava", "pope"),
        ("llava", "scienceqa"),
        ("qwen2_vl", "mmbench"),
        ("video_llava", "msvd"),
        ("mini_gemini", "pope"),
    ],
)
def test_from_files_to_a_score(source, checkpoints, tmp_path, family, benchmark):
    found = record(source, checkpoints[family], benchmark, tmp_path)
    assert len(found.predictions) == found.run.num_samples and "score" in found.scores
    for row in found.predictions:
        assert row["question"] in row["prompt"]
        assert ("<video>" in row["prompt"]) is (family == "video_llava")
        if row["media"]:
            assert 30 < sum(row["tokens_out"]) / 8 < 50
        else:  # runs dense, and its prompt has no placeholder
            assert sum(row["tokens_in"]) == 0 and "<image>" not in row["prompt"]
    alone = [row for row in found.predictions if not row["media"]]
    assert bool(alone) is (benchmark == "scienceqa")


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_of_a_folder(source, checkpoints, family):
    shape = source.sizes(str(checkpoints[family]))
    assert (shape.layers, shape.num_visual) == (8, VISUAL[family])
    assert (shape.hidden, shape.intermediate, shape.kv_heads, shape.head_dim) == (64, 128, 2, 16)


def test_shapes_of_the_table(source):
    seven, thirteen = (source.sizes(f"llava-hf/llava-1.5-{n}b-hf") for n in (7, 13))
    assert (seven.layers, seven.num_visual) == (32, 576)
    assert (thirteen.layers, thirteen.hidden) == (40, 5120)
    assert source.sizes("LanguageBind/Video-LLaVA-7B-hf").num_visual == 2056
    qwen = source.sizes("Qwen/Qwen2-VL-7B-Instruct")
    assert (qwen.hidden, qwen.intermediate, qwen.kv_heads, qwen.head_dim) == (3584, 18944, 4, 128)


def test_the_revision_follows_files_and_quantization(source, tmp_path):
    folder = tmp_path / "model"
    save_tiny("llava", folder)
    before = source.revision(str(folder))
    assert replace(source, quantization="4bit").revision(str(folder)) == f"{before}+4bit"
    other = tmp_path / "other"
    save_tiny("llava", other)
    assert source.revision(str(other)) == before  # the same files, elsewhere
    config = other / "generation_config.json"
    config.write_text(config.read_text() + " ")
    changed = tmp_path / "changed"
    other.rename(changed)  # digests are kept per folder
    assert source.revision(str(changed)) != before


def test_the_revision_of_a_fetched_checkpoint(checkpoints, data, tmp_path):
    kept = as_fetched("llava-7b", checkpoints["llava"], tmp_path)
    fetched = CheckpointBackend(str(data), str(kept), None, complete=False)
    assert fetched.revision("llava-hf/llava-1.5-7b-hf") == fetched.revision("llava-7b")
    with pytest.raises(CheckpointError, match="fetch Qwen/Qwen2-VL-7B-Instruct"):
        fetched.revision("Qwen/Qwen2-VL-7B-Instruct")


def test_the_version_follows_questions_and_files(source, data):
    samples = source.samples("", "pope", 4, seed=0)
    assert samples == source.samples("", "pope", len(samples), seed=0)
    before = source.version("", samples)
    assert source.version("", samples[:-1]) != before
    path = data / samples[0].media
    kept = path.read_bytes()
    path.write_bytes(kept + b"\0")
    _file_digest.cache_clear()
    assert source.version("", samples) != before
    path.write_bytes(kept)
    _file_digest.cache_clear()
    assert source.version("", samples) == before


def test_missing_data_are_named(tmp_path):
    with pytest.raises(DataError, match="pope: there is no folder .*llava_pope_test.jsonl"):
        CheckpointBackend(str(tmp_path), complete=False).samples("", "pope", 0, 0)


def test_settings_from_the_environment(monkeypatch, tmp_path):
    for name in ("DATA", "CHECKPOINTS"):
        monkeypatch.setenv(f"SPARSEVLM_{name}", str(tmp_path / name))
    monkeypatch.setenv("SPARSEVLM_QUANTIZATION", "4bit")
    found = CheckpointBackend()
    assert found.data == str(tmp_path / "DATA") and found.quantization == "4bit"
    assert found.checkpoints == str(tmp_path / "CHECKPOINTS")
    assert pickle.loads(pickle.dumps(found)) == found


def _name(names) -> None:
    names.put(current_process().name)


def test_workers_go_round_the_gpus():
    """By the names that multiprocessing really gives to the workers of a run."""
    context = get_context("spawn")
    names = context.Queue()
    workers = [context.Process(target=_name, args=(names,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [names.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert len({gpu_of(name, 3) for name in found}) == 3
    assert len({gpu_of(name, 2) for name in found}) == 2
    assert {gpu_of(name, 8) for name in found} <= {f"cuda:{n}" for n in range(8)}
    assert {gpu_of(name, count) for name in found for count in (0, 1)} == {"cuda"}
    assert gpu_of("MainProcess", 4) == "cuda"


def test_a_plan_for_a_part_of_the_data_is_not_one_for_the_whole(checkpoints, tmp_path):
    folder = write_synthetic("pope", tmp_path / "pope", n=8)
    part = folder / "part.json"
    part.write_text('{"rows": 8, "note": "drawn"}')
    source = CheckpointBackend(str(tmp_path), quantization=None)
    assert source.note(["gqa", "pope"]) == "POPE: drawn"
    profile = replace(get_profile("mini"), model=str(checkpoints["llava"]), benchmarks=("pope",))
    store = Store(tmp_path / "results")
    assert plan_runs(profile, backend=source, store=store)[0].num_samples == 8
    part.unlink()
    _all_samples.cache_clear()  # another process
    versioned_samples.cache_clear()
    with pytest.raises(DataError, match="8"):
        plan_runs(profile, backend=CheckpointBackend(str(tmp_path), quantization=None), store=store)
