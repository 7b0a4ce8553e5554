"""Forced patches, other raters, and the attention of every layer, on a real architecture."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter
from tiny import NUM_LAYERS, NUM_VISUAL, row, tiny_inputs

import sparsevlm as sv
from sparsevlm.core.interface import Groups, Selection
from sparsevlm.core.sparsevlm import Dense
from sparsevlm.evaluation.recording import RecordingPruner
from sparsevlm.explorer.adjust import AdjustedPruner, _regrouped
from sparsevlm.explorer.attention import LayerRows, WordAttention, decode, encode

EVERY_LAYER = range(NUM_LAYERS - 1)
METHODS = ("sparsevlm", "sparsevlm-paper", "fastv", "pdrop", "tome", "random", "uniform")


@pytest.fixture(scope="module")
def single():
    return row(tiny_inputs(), 1)


def make(name, **options):
    return sv.make_pruner(name, tokens=64, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL, **options)


def ran(model, pruner, inputs):
    with torch.no_grad(), sv.prune(model, pruner) as trace:
        logits = model(**inputs).logits
    return logits, trace.samples[0]


@pytest.mark.parametrize("name", METHODS)
def test_without_changes_nothing_changes(sdpa_model, single, name):
    logits, sample = ran(sdpa_model, make(name), single)
    recorder = RecordingPruner(AdjustedPruner(make(name)), EVERY_LAYER)
    again, seen = ran(sdpa_model, recorder, single)
    assert torch.equal(logits, again)
    assert recorder.own_stages(seen) == sample


@pytest.mark.parametrize("name", METHODS)
def test_forced_patches_stay_and_go(sdpa_model, single, name):
    _, plain = ran(sdpa_model, make(name), single)
    lost = [i for i in range(NUM_VISUAL) if i not in plain.stages[-1].kept][:3]
    kept = plain.stages[-1].kept[:2] if plain.stages[-1].kept else []
    pruner = AdjustedPruner(make(name), keep=tuple(lost), drop=tuple(kept))
    _, sample = ran(sdpa_model, pruner, single)
    for stage in sample.stages:
        assert set(lost) <= set(stage.kept) and not set(kept) & set(stage.kept)
        assert not {*lost, *kept} & {token for group in stage.groups for token in group}
        assert stage.num_left == len(stage.kept) + len(stage.groups)
    # All else at the first cut is as the method decided.
    first, forced = plain.stages[0], {*lost, *kept}
    assert set(sample.stages[0].kept) - forced == set(first.kept) - forced
    groups = [[t for t in group if t not in forced] for group in first.groups]
    assert sample.stages[0].groups == [group for group in groups if group]


def test_a_group_that_loses_a_token_is_merged_again(sdpa_model, single):
    method = make("sparsevlm", positions="original")
    _, plain = ran(sdpa_model, method, single)
    group = max(plain.stages[0].groups, key=len)
    seen = []

    class Spy(AdjustedPruner):
        def select(self, context):
            seen.append((context, super().select(context)))
            return seen[-1][1]

    ran(sdpa_model, Spy(method, keep=(group[0],)), single)
    context, selection = seen[0]
    for number, vector in enumerate(selection.vectors):
        members = selection.groups.members[selection.groups.labels == number]
        assert group[0] not in members.tolist()
        assert torch.allclose(vector, context.visual[members].mean(0), atol=1e-4)
        assert int(selection.anchors[number]) in members.tolist()


def test_regrouping_by_sum_and_an_empty_group():
    class PruningContext:
        visual = torch.tensor([[1.0], [2.0], [4.0], [8.0]])

    groups = Groups(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 0]))
    selection = Selection(
        torch.tensor([], dtype=torch.int64), groups, torch.tensor([[11.0], [4.0]]),
        anchors=torch.tensor([1, 2]),
    )  # fmt: skip
    forced = torch.tensor([False, True, True, False])
    found = _regrouped(selection, PruningContext, forced, "sum")
    assert found.vectors.tolist() == [[9.0]] and found.anchors.tolist() == [0]
    assert found.groups.members.tolist() == [0, 3] and found.groups.labels.tolist() == [0, 0]
    none = _regrouped(selection, PruningContext, torch.ones(4, dtype=torch.bool), "mean")
    assert none.groups is None and none.vectors is None and none.anchors is None


def test_other_raters_rate(sdpa_model, single):
    _, sample = ran(sdpa_model, AdjustedPruner(make("sparsevlm"), raters=(1, 4)), single)
    assert all(stage.raters == [1, 4] for stage in sample.stages)
    every = tuple(range(11))
    logits, _ = ran(sdpa_model, AdjustedPruner(make("sparsevlm"), raters=every), single)
    all_text, _ = ran(sdpa_model, make("sparsevlm-all-text"), single)
    assert torch.equal(logits, all_text)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"keep": (1, 2), "drop": (2,)}, "choose one"),
        ({"raters": ()}, "no word rates"),
        ({"raters": (1,), "inner": "fastv"}, "fastv does not choose its raters"),
    ],
)
def test_changes_that_contradict(options, match):
    inner = make(options.pop("inner", "sparsevlm"))
    with pytest.raises(ValueError, match=match):
        AdjustedPruner(inner, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"keep": (576,)}, "576 visual tokens"),
        ({"raters": (11,)}, "11 text tokens"),
        ({"drop": tuple(range(576))}, "nothing would be left"),
    ],
)
def test_changes_that_do_not_fit_the_input(sdpa_model, single, options, match):
    with pytest.raises(ValueError, match=match):
        ran(sdpa_model, AdjustedPruner(make("sparsevlm"), **options), single)


def test_changes_are_in_the_record():
    plain = make("fastv")
    changed = AdjustedPruner(plain, keep=(3,), drop=(4,))
    assert changed.to_json() == {
        **plain.to_json(), "adjusted": {"keep": [3], "drop": [4], "raters": None}
    }  # fmt: skip
    assert RecordingPruner(changed).to_json() == changed.to_json()


def test_attention_is_that_of_the_model(sdpa_model, single):
    """Layer by layer and head by head, of the dense model, against its own eager attention."""
    from tiny import tiny_llava

    recorder = RecordingPruner(Dense(), EVERY_LAYER)
    ran(sdpa_model, recorder, single)
    found = WordAttention.of(recorder.samples[0], [2, 5])
    assert found.words == tuple(range(11)), "any word can be looked at, also one that does not rate"
    with torch.no_grad():
        maps = tiny_llava(attention="eager")(**single, output_attentions=True).attentions
    assert [rows.layer for rows in found.layers] == list(range(NUM_LAYERS - 1))
    for rows, whole in zip(found.layers, maps, strict=False):
        text = 3 + NUM_VISUAL
        wanted = whole[0][:, text : text + 11, 3:text].numpy()
        assert rows.source == tuple(range(NUM_VISUAL))
        exact = decode(encode(wanted))
        assert abs(decode(rows.codes) / exact - 1).max() < 0.06  # one step of the code
    for word in (5, 9):
        one = found.values(4, 1, [word])
        assert abs(one[7] / float(maps[4][0, 1, text + word, 3 + 7]) - 1) < 0.06
    both = found.values(4, None, [2, 5])[7]
    assert abs(both / float(maps[4][0, :, [text + 2, text + 5], 3 + 7].mean()) - 1) < 0.06


def test_attention_to_tokens_that_are_left(sdpa_model, single):
    recorder = RecordingPruner(make("pdrop"), EVERY_LAYER)
    _, sample = ran(sdpa_model, recorder, single)
    found = WordAttention.of(recorder.samples[0], [])
    for rows in found.layers:
        left = [c for c in sample.stages if c.layer + 1 < rows.layer]
        expected = left[-1].num_left if left and left[-1].layer >= 0 else NUM_VISUAL
        assert len(rows.source) == expected


def through_file(attention):
    file = TypeAdapter(WordAttention)
    return file.validate_json(file.dump_json(attention))


def test_attention_survives_a_file():
    import numpy as np

    codes = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3) * 20
    found = WordAttention((1, 4), (LayerRows(0, (0, 5, 9), codes),), ((5,),), single_heads=True)
    again = through_file(found)
    for wanted in ((0, None, (1, 4)), (0, 1, (4,))):
        assert again.values(*wanted) == found.values(*wanted)
    assert again.num_heads == 2 and again.sinks == ((5,),) and again.values(3, None, (1,)) == {}
    for wrong in ((0, 2, (1,)), (0, None, (2,)), (0, None, ())):
        with pytest.raises(ValueError, match="recorded"):
            again.values(*wrong)


@pytest.mark.parametrize(
    ("most", "words", "heads"),
    [(24, (1, 4, 6, 7), 2), (12, (1, 4, 6, 7), 0), (11, (4,), 2), (5, (4,), 0), (1, (4,), 0)],
)
def test_a_file_takes_as_much_attention_as_it_has_room_for(most, words, heads):
    """Single heads are given up first, then the words that do not rate, then both."""
    import numpy as np

    codes = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3) * 10
    rows = (LayerRows(0, (0, 5, 9), codes),)
    found = WordAttention((1, 4, 6, 7), rows, ((),), single_heads=True)
    small = through_file(found.for_file([4], most))
    assert (small.words, small.num_heads) == (words, heads)
    assert small.is_whole(4) is (most == 24)
    assert small.for_file([4], most).words == words, "again, and nothing more is lost"
    before = found.values(0, None, (4,))
    for token, value in small.values(0, None, (4,)).items():
        assert abs(value / before[token] - 1) < 0.06
    assert found.for_file([], 1).words == (7,), "without raters the last word"


def test_the_code_of_a_value_is_close_to_it():
    import numpy as np

    values = np.geomspace(1e-6, 1, 1000)
    assert abs(decode(encode(values)) / values - 1).max() < 0.03
    assert encode(np.array([0.0, 1e-9, 1.0])).tolist() == [0, 0, 255]
