"""A conversation about one picture: a question on a kept cache, or the whole asked afresh."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import Run, build, build_unmerged
from contract.test_numbers import masked_reference
from second_question import ARMS, Remembered, measure, report
from transformers import DynamicCache

import sparsevlm as sv
from sparsevlm.evaluation.shared_prefix import SharedPrefix
from sparsevlm.explorer.adjust import AdjustedPruner
from sparsevlm.runtime.capture import capture

NAMES = ("llava", "qwen2-vl", "video-llava", "llava-next")
families = pytest.mark.parametrize("family", [FAMILIES[name] for name in NAMES], ids=NAMES)
methods = pytest.mark.parametrize("method", ["sparsevlm", "fastv", "pdrop"])
SECOND = torch.tensor([[21, 22, 23, 24, 25]])


def one(family, index=0):
    return family.row(family.inputs(), index)


def conversation(inputs, *parts):
    ids = torch.cat([inputs["input_ids"], *parts], 1)
    given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    for name, value in inputs.items():  # Qwen's kinds of tokens
        if value.shape == inputs["input_ids"].shape and name not in given.keys() - inputs.keys():
            if name not in ("input_ids", "attention_mask"):
                more = ids.shape[1] - value.shape[1]
                given[name] = torch.nn.functional.pad(value, (0, more))
    return given


@families
@methods
def test_a_second_question_equals_masking_in_the_dense_model(family, method):
    """What the first question dropped is hidden from the second one's tokens, nothing else."""
    run = Run(family, method, "sdpa")
    inputs = one(family)
    with torch.no_grad(), run.pruning(build_unmerged(family, method), inputs) as trace:
        out = run.model(**inputs, use_cache=True)
        first = trace.samples
        out = run.model(input_ids=SECOND, past_key_values=out.past_key_values)
        samples = trace.samples
    whole = conversation(inputs, SECOND)
    want = masked_reference(_Asked(family, run.model, whole), samples)
    assert (out.logits - want[:, -SECOND.shape[1] :]).abs().max() < 2e-4
    dense = family.logits(run.model, whole)
    assert (out.logits - dense[:, -SECOND.shape[1] :]).abs().max() > 0.01, "pruning must matter"
    assert [sample.turns for sample in (*first, *samples)] == [1, 2]
    assert samples[0].stages == first[0].stages


class _Asked:
    """What `masked_reference` reads of a run, with other inputs."""

    def __init__(self, family, model, inputs):
        self.family, self.model, self.inputs = family, model, inputs


@families
def test_the_trace_counts_the_questions_of_each_cache(family, tmp_path):
    model, inputs = family.model(), one(family)
    with torch.no_grad(), family.prune(model, build(family, "sparsevlm"), inputs) as trace:
        cache = DynamicCache(config=model.get_decoder().config)
        ids, turns = inputs["input_ids"], []
        first = family.generate(model, inputs, past_key_values=cache)
        turns.append(trace.samples[0].turns)
        branch = deepcopy(cache)
        ids = torch.cat([ids, first, SECOND], 1)
        for number in range(2):
            whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            answer = family.generate(model, whole, past_key_values=cache)
            turns.append(trace.samples[0].turns)
            ids = torch.cat([ids, answer, SECOND + number], 1)
        model(input_ids=torch.cat([first[:, -1:], SECOND], 1), past_key_values=branch)
        turns.append(trace.samples[0].turns)
        model(input_ids=SECOND[:, :1], past_key_values=branch)  # a word of the answer
        turns.append(trace.samples[0].turns)
        kept = trace.samples
        assert sv.Trace.load(trace.save(tmp_path / "trace.json.gz")).samples == kept
        family.generate(model, inputs)
        turns.append(trace.samples[0].turns)
    assert turns == [1, 2, 3, 2, 2, 1]


def test_a_batch_goes_on_and_chosen_rows_have_their_own_survivors():
    family = FAMILIES["llava"]
    model, inputs = family.model(), family.inputs()
    with torch.no_grad(), family.prune(model, build(family, "sparsevlm"), inputs) as trace:
        out = model(**inputs, use_cache=True)
        first, cache = trace.samples, out.past_key_values
        cache.batch_select_indices(torch.tensor([2, 0, 1]))
        mask = inputs["attention_mask"][[2, 0, 1]]
        mask = torch.cat([mask, torch.ones(3, 5, dtype=mask.dtype)], 1)
        model(input_ids=SECOND.expand(3, -1), past_key_values=cache, attention_mask=mask)
        assert [one.stages for one in trace.samples] == [first[row].stages for row in (2, 0, 1)]


# --- The whole conversation afresh ----------------------------------------------------------------


@families
@pytest.mark.parametrize("method", ["sparsevlm", "sparsevlm-plus", "fastv", "dart", "pdrop"])
def test_only_the_last_question_rates(family, method):
    """With all words after the image that is what happens anyway; with fewer, the turns between
    rate nothing, stay, and the scores are the attention of the last words."""
    model, inputs = family.model(), one(family)
    whole = conversation(inputs, SECOND)
    pruner, found = build(family, method), []
    words = int((~family.visual(whole)).sum()) - _before(family, whole)
    for count in (None, words, 5):
        with family.prune(model, pruner, whole, question_tokens=count) as trace:
            logits = family.logits(model, whole)
        found.append((logits, trace.samples))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    if method in ("fastv", "pdrop"):  # the last token rates, however many there are
        assert found[0][1] == found[2][1]
        return
    last, every = found[2][1][0], found[0][1][0]
    assert last.tokens_out == every.tokens_out
    assert last.stages != every.stages
    for stage in last.stages:
        assert all(words - 5 <= place < words for place in stage.raters)
        assert method == "dart" or stage.raters


def _before(family, inputs):
    return int(family.visual(inputs)[0].nonzero()[0])


@families
@pytest.mark.parametrize("method", ["sparsevlm-all-text", "sparsevlm-plus"])
def test_the_last_words_are_those_chosen_by_hand(family, method):
    """The same as if the reader had switched them on and all others off."""
    model, whole = family.model(), conversation(one(family), SECOND)
    pruner = build(family, method, raters="all_text")
    words = int((~family.visual(whole)).sum()) - _before(family, whole)
    by_hand = AdjustedPruner(pruner, raters=tuple(range(words - 5, words)))
    found = []
    for how, count in ((pruner, 5), (by_hand, None), (pruner, None)):
        with family.prune(model, how, whole, question_tokens=count) as trace:
            family.logits(model, whole)
        found.append(trace.samples[0].stages)
    assert [stage.raters for stage in found[0]] == [stage.raters for stage in found[1]]
    assert [stage.kept for stage in found[0]] == [stage.kept for stage in found[1]]
    assert found[0][0].scores == pytest.approx(found[1][0].scores, rel=1e-3, abs=1e-7)
    assert [stage.kept for stage in found[0]] != [stage.kept for stage in found[2]]


def test_a_graph_is_about_one_length_of_the_question():
    family = FAMILIES["llava"]
    model, whole, found = family.model(), conversation(one(family), SECOND), []
    pruner = build(family, "sparsevlm")
    for replayed in (False, True):
        with capture(model) if replayed else nullcontext() as graphs:
            for count in (None, 5, 5):
                how = {"static": True, "question_tokens": count}
                with torch.no_grad(), family.prune(model, pruner, whole, **how) as trace:
                    out = model(**whole, use_cache=True)
                    kept = trace.samples
                    step = model(input_ids=SECOND, past_key_values=out.past_key_values)
                    assert trace.samples[0].turns == 2
                found.append((out.logits, step.logits, kept))
    assert (graphs.captures, graphs.replays) == (2, 3)
    for want, got in zip(found[:3], found[3:], strict=True):
        assert torch.equal(want[0], got[0]) and torch.equal(want[1], got[1])
        assert want[2] == got[2]


def test_what_a_picture_becomes_does_not_depend_on_the_question():
    """So decisions remembered from one question are its survivors under another one."""
    family = FAMILIES["llava"]
    model, first = family.model(), one(family)
    second = {**first, "input_ids": torch.cat([first["input_ids"][:, :-5], SECOND], 1)}
    second["attention_mask"] = torch.ones_like(second["input_ids"])
    remembered, caches = Remembered(build(family, "sparsevlm")), []
    for inputs in (first, second):
        with torch.no_grad(), family.prune(model, remembered, inputs):
            caches.append(model(**inputs, use_cache=True).past_key_values)
    for one_, other in zip(*(cache.layers for cache in caches), strict=True):
        picture = slice(0, other.keys.shape[2] - 6)
        torch.testing.assert_close(one_.keys[:, :, picture], other.keys[:, :, picture])
        torch.testing.assert_close(one_.values[:, :, picture], other.values[:, :, picture])


def test_the_comparison_runs_as_documented():
    right = measure(64, 3)
    assert right.shape == (3, len(ARMS))
    assert right[:, 0].all(), "mini-llava answers a lone question"
    assert "64 tokens, 3 pairs" in report(64, right)


@pytest.mark.parametrize("how", ["static", "without a cache", "beams", "in a batch"])
@pytest.mark.parametrize("family", [FAMILIES["llava"], FAMILIES["qwen2-vl"]], ids=NAMES[:2])
def test_the_last_question_in_every_way_of_running(family, how):
    model, inputs = family.model(), family.inputs()
    counts = (5, 3, 4)
    pruner = build(family, "sparsevlm")
    with family.prune(model, pruner, inputs, question_tokens=counts) as trace:
        tokens, want = family.generate(model, inputs), trace.samples
    options, more = {"question_tokens": counts}, {}
    if how == "static":
        options["static"] = True
    if how == "in a batch":
        for row, count in enumerate(counts):
            alone = family.row(inputs, row)
            with family.prune(model, pruner, alone, question_tokens=count) as trace:
                assert torch.equal(family.generate(model, alone)[0], tokens[row])
            assert trace.samples[0].stages[0].kept == want[row].stages[0].kept
        return
    if how == "without a cache":
        more["use_cache"] = False
    if how == "beams":
        more["num_beams"] = 2
    with family.prune(model, pruner, inputs, **options) as trace:
        found = family.generate(model, inputs, **more)
    if how == "beams":
        repeated = [sample for sample in want for _ in range(2)]
        assert [s.stages for s in trace.samples] == [s.stages for s in repeated]
        return
    assert [[x.kept for x in s.stages] for s in trace.samples] == [
        [x.kept for x in s.stages] for s in want
    ]
    assert torch.equal(found, tokens)


def test_the_picture_is_not_encoded_again():
    """Asked afresh in the memory of the first question, the tower does not run again."""
    family = FAMILIES["llava"]
    model, inputs = family.fresh(), one(family)
    whole, pruner, runs = conversation(inputs, SECOND), build(family, "sparsevlm"), []
    tower = model.model.vision_tower
    inner = next(module for module in tower.modules() if isinstance(module, torch.nn.Conv2d))
    inner.register_forward_hook(lambda *_: runs.append(1))
    with SharedPrefix(0) as shared:
        shared.install(model)
        with family.prune(model, pruner, inputs):
            family.generate(model, inputs)
        with family.prune(model, pruner, whole, question_tokens=5) as trace:
            tokens = family.generate(model, whole)
    assert len(runs) == 1
    features = model.get_image_features(whole.pop("pixel_values"))
    handed = {**whole, "mm_encoder_outputs": {"image": features}}
    with family.prune(model, pruner, whole, question_tokens=5) as other:
        assert torch.equal(family.generate(model, handed), tokens)
    assert other.samples == trace.samples
    assert len(runs) == 2
    with family.prune(model, pruner, inputs, question_tokens=5) as fresh:
        again = {**whole, "pixel_values": inputs["pixel_values"]}
        assert torch.equal(family.generate(model, again), tokens)
    assert fresh.samples == trace.samples


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            0,
            "question_tokens=0 for sample 0, after whose last image 6 tokens come; give",
        ),
        (7, "from 1 to 6"),
        ((3, 3), "one for each of the 3 samples"),
        ((), "one for each of the 3 samples"),
    ],
)
def test_numbers_that_cannot_be(given, said):
    family = FAMILIES["llava"]
    inputs = family.inputs()
    with family.prune(family.model(), build(family, "sparsevlm"), inputs, question_tokens=given):
        with pytest.raises(ValueError, match=said):
            family.logits(family.model(), inputs)


def test_all_words_and_the_last_ones_are_a_contradiction():
    family = FAMILIES["llava"]
    pruner = build(family, "sparsevlm", text="whole_prompt")
    with pytest.raises(ValueError, match="leave one of them out"):
        family.prune(family.model(), pruner, family.inputs(), question_tokens=3).__enter__()
