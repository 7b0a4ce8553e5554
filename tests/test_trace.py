from __future__ import annotations

import gzip
import json

import pytest
import torch
from tiny import NUM_LAYERS, NUM_VISUAL, tiny_inputs

import sparsevlm as sv


@pytest.fixture(scope="module")
def trace(sdpa_model):
    pruner = sv.make_pruner("sparsevlm", tokens=64, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL)
    with torch.no_grad(), sv.prune(sdpa_model, pruner) as trace:
        sdpa_model(**tiny_inputs())
    return trace


def test_groups_are_resolved_to_original_tokens(trace):
    for sample in trace.samples:
        seen_merge_of_merges = False
        known = {}
        for stage in sample.stages:
            assert len(stage.group_ids) == len(stage.groups) > 0
            for identity, group in zip(stage.group_ids, stage.groups, strict=True):
                assert identity >= NUM_VISUAL
                assert group == sorted(set(group)) and 0 <= group[0] and group[-1] < NUM_VISUAL
                assert known.setdefault(identity, group) == group
                earlier = [other for i, other in known.items() if i < identity]
                seen_merge_of_merges |= any(set(other) < set(group) for other in earlier)
            flat = [index for group in stage.groups for index in group]
            assert len(flat) == len(set(flat)), "no token is in two groups"
        assert seen_merge_of_merges


def test_scores_explain_what_was_kept(trace):
    for sample in trace.samples:
        for stage in sample.stages:
            scores = dict(zip(stage.score_ids, stage.scores, strict=True))
            stayed = (set(stage.kept) | set(stage.group_ids)) & set(stage.score_ids)
            dropped = set(stage.score_ids) - stayed
            assert min(scores[i] for i in stayed) >= max(scores[i] for i in dropped)


def test_counts(trace):
    for sample in trace.samples:
        assert len(sample.tokens_in) == len(sample.tokens_out) == NUM_LAYERS
        assert sample.tokens_in == [NUM_VISUAL, *sample.tokens_out[:-1]]
        assert sample.tokens_out[-1] == sample.stages[-1].num_left
        assert sample.output_index.count(-1) == len(sample.stages[-1].groups)
    want = sum(sum(s.tokens_out) / NUM_LAYERS for s in trace.samples) / 3
    assert trace.mean_tokens_out == pytest.approx(want) == pytest.approx(64, abs=1)
    assert trace.mean_tokens_in > trace.mean_tokens_out


def test_round_trip(trace, tmp_path):
    path = trace.save(tmp_path / "trace.json.gz")
    assert path.stat().st_size < 1_000_000
    loaded = sv.Trace.load(path)
    assert loaded.samples == trace.samples and loaded.pruner == trace.pruner
    assert loaded.mean_tokens_in == trace.mean_tokens_in
    first = path.read_bytes()
    assert loaded.save(path).read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json.gz"]


def test_a_trace_over_the_limit_is_refused_and_leaves_nothing(trace, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsevlm.runtime.trace.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="save fewer samples"):
        trace.save(tmp_path / "trace.json.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(trace, tmp_path, monkeypatch):
    path = trace.save(tmp_path / "trace.json.gz")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sparsevlm.runtime.trace.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        trace.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["trace.json.gz"]


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"{}", mtime=0), None])
def test_broken_files_are_named(trace, tmp_path, content):
    path = tmp_path / "trace.json.gz"
    whole = trace.save(path).read_bytes()
    path.write_bytes(whole[:-500] if content is None else content)
    with pytest.raises(ValueError, match="not a complete trace file"):
        sv.Trace.load(path)
    other = json.loads(gzip.decompress(whole))
    other["format"] = "sparsevlm-trace-99"
    path.write_bytes(gzip.compress(json.dumps(other).encode()))
    with pytest.raises(ValueError, match="sparsevlm-trace-2"):
        sv.Trace.load(path)


def test_empty_traces_say_so(sdpa_model):
    with sv.prune(sdpa_model, sv.Dense()) as trace:
        pass
    with pytest.raises(RuntimeError, match="the trace is empty"):
        trace.samples  # noqa: B018 - the access is what raises


def test_it_is_the_last_prefill(sdpa_model):
    pruner = sv.make_pruner("fastv", tokens=64, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL)
    with torch.no_grad(), sv.prune(sdpa_model, pruner) as trace:
        sdpa_model(**tiny_inputs((5, 5)))
        assert len(trace.samples) == 2
        first = trace.samples[0]
        sdpa_model.generate(
            **tiny_inputs((7,), seed=3),
            max_new_tokens=3,
            do_sample=False,
            pad_token_id=0,
            suppress_tokens=[4],
        )
    assert len(trace.samples) == 1 and trace.samples[0] != first
    assert len(trace.samples[0].output_index) == 3 + 64 + 7, "decode steps are no prefill"
