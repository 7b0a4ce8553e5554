"""Which tokens are left: in order, each once, as many as scheduled, all of the text."""

from __future__ import annotations

from math import prod

import pytest

import sparsevlm as sv
from sparsevlm.core.schedule import recycled_counts
from sparsevlm.runtime.trace import MAX_BYTES

from .cases import NUM_LAYERS
from .runs import MERGING, REORDERED, columns_of, runs
from .schedules import recycle_of, scheduled


@runs()
def test_counts_are_as_scheduled(run):
    pruner = run.pruner
    shown = [(row, image) for row in range(3) for image in range(run.family.per_sample[row])]
    assert [(sample.sample, sample.image) for sample in run.samples] == shown
    for sample, count, grid in zip(run.samples, run.family.counts, run.family.grids, strict=True):
        assert (sample.num_visual, sample.grid) == (count, grid)
        assert [stage.layer for stage in sample.stages] == [stage.layer for stage in pruner.stages]
        entering, leaving = sample.tokens_in, sample.tokens_out
        assert len(entering) == len(leaving) == NUM_LAYERS
        assert all(i >= o >= 1 for i, o in zip(entering, leaving, strict=True))
        assert entering == sorted(entering, reverse=True)
        want = scheduled(run.method, pruner, count)
        assert want is None or (entering, leaving) == want


@runs(without=("dense",))
def test_kept_tokens_are_in_order_and_groups_share_out_the_recycled(run):
    for sample in run.samples:
        alive, groups, current = set(range(sample.num_visual)), {}, sample.num_visual
        for stage in sample.stages:
            assert stage.kept == sorted(set(stage.kept)) and set(stage.kept) <= alive
            assert stage.num_left == len(stage.kept) + len(stage.groups) <= current
            check_groups(stage, alive, groups, empty=run.method in REORDERED)
            check_recycled(run.pruner, stage, groups, current, sample)
            if stage.scores:
                assert len(stage.scores) == current
                assert sorted(stage.score_ids) == [*sorted(alive), *sorted(groups)]
            alive, current = set(stage.kept), stage.num_left
            groups = dict(zip(stage.group_ids, stage.groups, strict=True))


def check_groups(stage, alive, before, empty):
    """No token in two groups, none kept and recycled, none from nowhere."""
    members = [token for group in stage.groups for token in group]
    assert len(members) == len(set(members)), "a token in two groups"
    assert empty or all(stage.groups), "an empty group"
    assert not set(members) & set(stage.kept), "kept and recycled at once"
    after = dict(zip(stage.group_ids, stage.groups, strict=True))
    assert len(after) == len(stage.group_ids)
    dissolved = {token for key, group in before.items() if key not in after for token in group}
    source = (alive - set(stage.kept)) | dissolved
    for key, group in after.items():
        assert before[key] == group if key in before else set(group) <= source
    for key, group in before.items():
        if key not in after:
            # Merged again as a whole, or dropped as a whole.
            assert sum(bool(set(group) & set(other)) for other in after.values()) <= 1
            assert set(group) <= set(members) or not set(group) & set(members)


def check_recycled(pruner, stage, before, current, sample):
    """As many of the dropped are recycled, and into as many groups, as the method says."""
    created = [group for key, group in zip(stage.group_ids, stage.groups, strict=True)
               if key not in before]  # fmt: skip
    if pruner.name == "holov":
        assert not any(created), "zero vectors are made of no token"
        return
    if pruner.name in (*MERGING, "visionzip"):
        # Pooling leaves class tokens out: they lie in no cell.
        cells = sample.grid or (sample.num_visual,)
        every = prod(cells) if pruner.name == "pooled" else sample.num_visual
        assert sum(map(len, created)) + len(stage.kept) == every, "every token is merged"
        return
    kept = stage.num_left - len(created)
    recycled, num_groups = recycled_counts(current - kept, recycle_of(pruner))
    if pruner.to_json().get("budget") == "per_tile":
        # Each of at most five views rounds for itself; `test_llava_next` looks into them.
        assert 0 <= len(created) - num_groups < 5
        return
    assert len(created) == num_groups
    if not before:
        assert sum(map(len, created)) == recycled


@runs()
def test_text_stays_and_in_order(run):
    visual, real = run.family.visual(run.inputs), run.inputs["attention_mask"].bool()
    for sample, columns in columns_of(run, run.samples):
        row, places = sample.sample, columns.tolist()
        text = (real[row] & ~visual[row]).nonzero().flatten().tolist()
        output = [index for index in sample.output_index if index >= 0]
        if run.method == "holov":  # descending attention in a chunk
            output = sorted(output)
        assert output == sorted(output), "the order changed"
        assert [index for index in output if not visual[row, index]] == text
        left = [places.index(index) for index in output if index in set(places)]
        kept = sample.stages[-1].kept if sample.stages else list(range(sample.num_visual))
        groups = sample.stages[-1].groups if sample.stages else []
        beside = [one.tokens_out[-1] for one in run.samples if one.sample == row]
        assert len(sample.output_index) == len(text) + sum(beside)
        assert sample.tokens_out[-1] == len(kept) + len(groups)
        extra = [index for index in left if index not in set(kept)]
        assert [index for index in left if index in set(kept)] == kept
        if run.method in REORDERED:
            continue  # where the others are is in `test_golden_newer`
        anchored = run.method in MERGING or run.pruner.positions == "original"
        assert len(extra) == (len(groups) if anchored else 0)
        # A merged token stands where one of its members was.
        for group in groups if anchored else []:
            assert sum(index in group for index in extra) == 1
        if not anchored:
            behind = (index > places[-1] for index in sample.output_index)
            start = list(behind).index(True)
            assert sample.output_index[start - len(groups) : start] == [-1] * len(groups)


@runs()
def test_the_trace_is_saved_and_loaded(run, tmp_path):
    trace = run.first[1]
    path = trace.save(tmp_path / "trace.json.gz")
    assert path.stat().st_size < MAX_BYTES
    loaded = sv.Trace.load(path)
    assert loaded.samples == trace.samples
    assert [one.sample for one in loaded.samples] == [one.sample for one in trace.samples]
    assert loaded.pruner == trace.pruner == run.pruner.to_json()
    assert loaded.mean_tokens_out == pytest.approx(trace.mean_tokens_out)
