"""Pruned Qwen2-VL, Qwen2.5-VL and Video-LLaVA give the same numbers as something known."""

from __future__ import annotations

import pytest
import torch
from family_cases import CASES, generate, logits, pruner, text_row

import sparsevlm as sv
from sparsevlm.core.schedule import PruningStage

METHODS = ["sparsevlm", "fastv", "pdrop", "random", "uniform", "tome"]
# What renumbered positions lose with M-RoPE is said in its own test.
pytestmark = pytest.mark.filterwarnings("ignore:positions=.renumbered.:UserWarning")


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_keeping_everything_is_bitwise_dense(case, attention):
    model, inputs = case.model(attention), case.inputs()
    keep_all = sv.SparseVLM(
        tuple(PruningStage(layer, max(case.counts)) for layer in (1, 4)),
        recycle=0,
        always_drop=False,
        positions="original",
    )
    want, want_tokens = logits(model, inputs), generate(model, inputs)
    with sv.prune(model, keep_all) as trace:
        assert torch.equal(logits(model, inputs), want)
        assert torch.equal(generate(model, inputs), want_tokens)
    assert [sample.tokens_out[-1] for sample in trace.samples] == list(case.counts)


def masked_reference(case, model, inputs, trace):
    """Full length, no pruning: from each cut on, the keys of dropped tokens are masked."""
    real = inputs["attention_mask"].bool()
    batch, length = real.shape
    visible = torch.ones(length, length).tril().bool() & real[:, None, :]
    handles = []
    for index, layer in enumerate(model.model.language_model.layers):
        for number, sample in enumerate(trace.samples):
            start = length - int(real[number].sum()) + len(case.before)
            for stage in (stage for stage in sample.stages if stage.layer == index - 1):
                gone = sorted(set(range(sample.num_visual)) - set(stage.kept))
                visible = visible.clone()
                visible[number][:, [start + g for g in gone]] = False
        # A row that sees nothing would be NaN; nobody looks at such a row.
        seen = visible | torch.eye(length, dtype=torch.bool)
        mask = torch.zeros(batch, 1, length, length).masked_fill(~seen[:, None], -torch.inf)
        handles.append(layer.register_forward_pre_hook(_give(mask), with_kwargs=True))
    try:
        return logits(model, inputs)
    finally:
        for handle in handles:
            handle.remove()


def _give(mask):
    return lambda module, args, kwargs: (args, {**kwargs, "attention_mask": mask})


@pytest.mark.parametrize(
    ("attention", "name", "options"),
    [("sdpa", "fastv", {}), ("sdpa", "uniform", {}), ("sdpa", "sparsevlm", {"recycle": 0}),
     ("eager", "sparsevlm", {"recycle": 0})],
)  # fmt: skip
def test_dropping_equals_masking(case, attention, name, options):
    model, inputs = case.model(attention), case.inputs()
    with sv.prune(model, pruner(case, name, **options)) as trace:
        pruned = logits(model, inputs)
    dense, reference = logits(model, inputs), masked_reference(case, model, inputs, trace)
    for row, sample in enumerate(trace.samples):
        rows = torch.tensor(sample.output_index)
        assert len(rows) < int(inputs["attention_mask"][row].sum())
        found = pruned[row, -len(rows) :]
        assert (found - reference[row, rows]).abs().max() < 2e-4
        assert (found[-1] - dense[row, -1]).abs().max() > 0.01, "pruning must matter"


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in METHODS), ("tome", {"positions": "original"})]
)
def test_cache_equals_recomputation(case, name, options):
    model, inputs = case.model(), case.inputs()
    with sv.prune(model, pruner(case, name, **options)):
        assert torch.equal(generate(model, inputs), generate(model, inputs, use_cache=False))


@pytest.mark.parametrize(
    ("name", "attention"),
    [("sparsevlm", "sdpa"), ("sparsevlm", "eager"), ("pdrop", "sdpa"), ("random", "sdpa"),
     ("uniform", "sdpa"), ("tome", "sdpa"), ("tome", "eager")],
)  # fmt: skip
def test_batch_equals_one_by_one(case, attention, name):
    """The images differ in size, so the rows of the batch are ragged."""
    model, inputs, method = case.model(attention), case.inputs(), pruner(case, name)
    with sv.prune(model, method) as trace:
        together = generate(model, inputs)
        batch = trace.samples
        for row in range(3):
            alone = generate(model, case.row(inputs, row))
            (sample,) = trace.samples
            assert torch.equal(alone[0], together[row])
            assert [c.kept for c in sample.stages] == [c.kept for c in batch[row].stages]
            assert [c.groups for c in sample.stages] == [c.groups for c in batch[row].stages]


@pytest.mark.parametrize("name", ["sparsevlm", "tome"])
def test_beams_and_prompt_lookup(case, name):
    model, inputs = case.model(), case.inputs()
    with sv.prune(model, pruner(case, name)):
        beams = generate(model, inputs, num_beams=2)
        assert torch.equal(beams, generate(model, inputs, num_beams=2, use_cache=False))
        for row in (0, 2):
            one = case.row(inputs, row)
            want = generate(model, one)
            assert torch.equal(want, generate(model, one, prompt_lookup_num_tokens=2))


def test_rows_without_an_image_stay_dense(case):
    model, inputs = case.model(), case.inputs()
    ids, mask = text_row(inputs)
    mixed = {**inputs, "input_ids": torch.cat([inputs["input_ids"], ids])}
    mixed["attention_mask"] = torch.cat([inputs["attention_mask"], mask])
    if "mm_token_type_ids" in inputs:
        mixed["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], 0 * ids])
    alone = {"input_ids": ids[:, -12:], "attention_mask": mask[:, -12:]}
    want = generate(model, alone)
    with sv.prune(model, pruner(case, "sparsevlm")) as trace:
        tokens = generate(model, mixed)
        assert [sample.num_visual for sample in trace.samples] == [*case.counts, 0]
        assert trace.samples[-1].grid is None
        assert torch.equal(tokens[:3], generate(model, inputs))
        assert torch.equal(tokens[3:], want)
        assert torch.equal(generate(model, alone), want)
