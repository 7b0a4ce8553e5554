"""A captured prefill gives what pruning gives: logits, cache, trace and the tokens after it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from contract.cases import FAMILIES
from contract.runs import build
from miniature_batch import batch
from transformers import DynamicCache

import sparsevlm as sv
from sparsevlm.miniature.registry import get_miniature
from sparsevlm.miniature.weights import load_miniature
from sparsevlm.runtime.capture import capture
from sparsevlm.runtime.graphs import cuda_graph


def told(family, inputs):
    return {"visual_mask": family.visual(inputs)} if family.told else {}


def prefill(family, model, inputs):
    """Logits, and keys and values of every layer: their lengths differ by the stages."""
    cache = DynamicCache()
    logits = family.logits(model, inputs, past_key_values=cache)
    return [logits, *(tensor for layer in cache.layers for tensor in (layer.keys, layer.values))]


def assert_same(found, want):
    for one, other in zip(found, want, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "method", "lengths"),
    [
        ("llava", "sparsevlm", (6, 9, 9)), ("llama", "sparsevlm", (6, 11)),
        ("llava", "pdrop", (6,)), ("llava", "tome", (9, 9)),
    ],
)  # fmt: skip
def test_one_graph_gives_what_pruning_gives_for_every_prompt(name, method, lengths):
    """Also in a padded batch, and from the attention of the layer to come (PyramidDrop)."""
    family = FAMILIES[name]
    model, pruner = family.model(), build(family, method)
    prompts = [family.inputs(lengths, seed) for seed in (0, 1)]
    want = []
    for inputs in prompts:
        with family.prune(model, pruner, inputs, static=True) as trace:
            want.append((prefill(family, model, inputs), trace.samples))
    with capture(model, **told(family, prompts[0])) as graphs:
        for inputs, (tensors, samples) in zip(prompts, want, strict=True):
            with family.prune(model, pruner, inputs, static=True) as trace:
                assert_same(prefill(family, model, inputs), tensors)
                assert trace.samples == samples
    assert (graphs.captures, graphs.replays, len(graphs.operators)) == (1, 2, 1)
    kept = [samples[0].stages[0].kept for _, samples in want]
    assert kept[0] != kept[1], "the two prompts must differ in what survives"


@pytest.mark.parametrize("name", ["llava", "qwen2-vl"])
def test_decoding_goes_on_from_a_replayed_cache(name):
    """Greedy tokens. Qwen2-VL keeps positions in rows and columns."""
    family = FAMILIES[name]
    model, inputs, pruner = family.model(), family.inputs(), build(family, "sparsevlm")
    inputs = family.row(inputs, 2)
    with sv.prune(model, pruner, static=True):
        want = family.generate(model, inputs, max_new_tokens=6)
        with capture(model) as graphs:
            for _ in range(2):
                assert torch.equal(family.generate(model, inputs, max_new_tokens=6), want)
    assert (graphs.captures, graphs.replays) == (1, 2)


def test_the_dense_model_is_captured_too():
    family = FAMILIES["llava"]
    model, inputs = family.model(), family.inputs()
    want = prefill(family, model, inputs)
    with capture(model):
        assert_same(prefill(family, model, inputs), want)


def test_the_bundled_model_from_pixels_to_words():
    """Captured or not, and also with what a CPU does by default."""
    model, builder = load_miniature("mini-llava")
    pruner = sv.make_pruner(
        "sparsevlm", tokens=64, num_layers=model.config.text_config.num_hidden_layers,
        num_visual=576,
    )  # fmt: skip
    samples = get_miniature("mini-llava").samples("pope", 2, 0)
    prompts = [batch("mini-llava", builder, [sample]) for sample in samples]
    how = {"max_new_tokens": 4, "do_sample": False}
    with sv.prune(model, pruner) as trace:
        want = [(model.generate(**inputs, **how), trace.samples[0].stages) for inputs in prompts]
    with sv.prune(model, pruner, static=True) as trace, capture(model) as graphs:
        for inputs, (tokens, stages) in zip(prompts, want, strict=True):
            assert torch.equal(model.generate(**inputs, **how), tokens)
            found = trace.samples[0].stages
            assert [stage.kept for stage in found] == [stage.kept for stage in stages]
    lengths = {inputs["input_ids"].shape for inputs in prompts}
    assert (graphs.captures, graphs.replays) == (len(lengths), 2)


def test_another_layout_is_an_error_beyond_the_limit():
    family = FAMILIES["llava"]
    model = family.model()
    with capture(model, limit=1) as graphs:
        family.logits(model, family.inputs((6,)))
        with pytest.raises(RuntimeError, match="as many as limit=1 allows"):
            family.logits(model, family.inputs((9,)))
        family.logits(model, family.inputs((6,), 1))
    assert (graphs.captures, graphs.replays) == (1, 2)


def test_graphs_are_kept_by_pruner_and_layout_also_outside_the_block():
    """Two rows of the same shape, once the one padded, once the other."""
    family = FAMILIES["llava"]
    model, graphs = family.model(), capture(family.model())
    for method, lengths in (("fastv", (6, 9)), ("fastv", (9, 6)), ("uniform", (6, 9)),
                            ("fastv", (6, 9))):  # fmt: skip
        pruner, inputs = build(family, method), family.inputs(lengths)
        with sv.prune(model, pruner, static=True):
            want = prefill(family, model, inputs)
        with graphs, sv.prune(model, pruner, static=True):
            assert_same(prefill(family, model, inputs), want)
    assert (graphs.captures, graphs.replays) == (3, 4)


def test_a_backend_runs_in_place_of_the_graph():
    family = FAMILIES["llama"]
    model, inputs = family.model(), family.inputs((6,))
    seen = []

    def backend(graph, given):
        seen.append([tensor.shape for tensor in given])
        return lambda *new: [2 * tensor for tensor in graph(*new)]

    want = prefill(family, model, inputs)
    with capture(model, visual_mask=(3, 147), backend=backend):
        found = prefill(family, model, inputs)
    assert seen[0][0] == (1, 153, 64)
    torch.testing.assert_close(found, [2 * tensor for tensor in want])


def test_weights_are_not_baked_in_and_the_model_is_as_before():
    family = FAMILIES["llama"]
    model, inputs = family.fresh(), family.inputs((6,))
    with capture(model, visual_mask=(3, 147)) as graphs:
        first = family.logits(model, inputs)
        with torch.no_grad():
            model.model.layers[3].mlp.up_proj.weight.mul_(1.5)
        second = family.logits(model, inputs)
        assert graphs.captures == 1
    assert "forward" not in vars(model.model)
    assert torch.equal(family.logits(model, inputs), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_captured_model_runs_itself(copied):
    family = FAMILIES["llama"]
    model, inputs = family.fresh(), family.inputs((6,))
    with capture(model, visual_mask=(3, 147)) as graphs:
        twin = copied(model)
        with torch.no_grad():
            twin.model.layers[3].mlp.up_proj.weight.mul_(1.5)
        found = [family.logits(twin, inputs)]
        assert graphs.replays == 0
    found.append(family.logits(twin, inputs))
    with capture(twin, visual_mask=(3, 147)) as graphs:
        found.append(family.logits(twin, inputs))
        assert graphs.replays == 1
    with torch.no_grad():
        model.model.layers[3].mlp.up_proj.weight.mul_(1.5)
    for logits in found:
        assert torch.equal(logits, family.logits(model, inputs))


@pytest.mark.parametrize("method", ["random", "dart"])
def test_a_choice_that_looks_at_values_is_refused(method):
    family = FAMILIES["llava"]
    model, inputs, pruner = family.model(), family.inputs((6,)), build(family, method)
    with sv.prune(model, pruner, static=True), capture(model) as graphs:
        with pytest.raises(ValueError, match="cannot be captured: it needs values"):
            family.logits(model, inputs)
    assert graphs.captures == 0


@pytest.mark.parametrize("method", ["sparsevlm", "sparsevlm-paper", "sparsevlm-v1.0"])
def test_cuts_that_are_not_static_are_refused(method):
    family = FAMILIES["llava"]
    with sv.prune(family.model(), build(family, method), static=False), capture(family.model()):
        with pytest.raises(ValueError, match="needs counts that are known beforehand: give prune"):
            family.logits(family.model(), family.inputs((6,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_cache": False}, "the call says use_cache=False"),
        ({"output_hidden_states": True}, "a prefill with output_hidden_states"),
        ({"output_attentions": True}, "a prefill with output_attentions"),
        ({"attention_mask": torch.ones(1, 1, 153, 153)}, "2-D attention_mask"),
    ],
)
def test_what_a_graph_does_not_give_is_refused(options, message):
    family = FAMILIES["llama"]
    inputs = {"input_ids": family.inputs((6,))["input_ids"], **options}
    with capture(family.model(), visual_mask=(3, 147)):
        with pytest.raises(ValueError, match=message):
            family.logits(family.model(), inputs)


def test_a_model_in_training_and_a_second_capture_are_refused():
    family = FAMILIES["llava"]
    model = family.fresh().train()
    with capture(model):
        with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
            family.logits(model, family.inputs((6,)))
        with pytest.raises(RuntimeError, match=r"leave the outer capture\(\) first"):
            with capture(model):
                pass
    assert "forward" not in vars(model.model.language_model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_graph_gives_what_pruning_gives():
    family = FAMILIES["llava"]
    model, pruner = family.fresh().cuda(), build(family, "sparsevlm")
    with sv.prune(model, pruner), capture(model, backend=cuda_graph) as graphs:
        found = [
            prefill(family, model, {k: v.cuda() for k, v in family.inputs((6,), seed).items()})
            for seed in (0, 1)
        ]
    assert graphs.captures == 1
    for seed, one in enumerate(found):
        with sv.prune(model, pruner):
            inputs = {k: v.cuda() for k, v in family.inputs((6,), seed).items()}
            torch.testing.assert_close(one, prefill(family, model, inputs))
