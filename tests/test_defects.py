"""Where the official code fails or goes silently wrong: its rule, what it gives, what ours gives.

The official rules are written out here in a few lines of our own; DEVIATIONS.md lists them.
"""

from __future__ import annotations

import copy
import functools
import pickle
import warnings

import pytest
import torch
from tiny import BEFORE, IMAGE_TOKEN, NUM_LAYERS, NUM_VISUAL, row, tiny_inputs, tiny_llava
from transformers import LlamaConfig, LlamaForCausalLM

import sparsevlm as sv
from sparsevlm.core.budget import OFFICIAL_KEEP, schedule_for
from sparsevlm.core.raters import select_raters, text_relevance
from sparsevlm.core.recycling import select_top
from sparsevlm.core.schedule import mean_tokens_out, recycled_counts
from sparsevlm.core.scoring import mean_over_heads, score
from sparsevlm.core.sparsity import num_kept, numerical_rank
from sparsevlm.models.llava import Llava

SHORT = {"max_new_tokens": 3, "suppress_tokens": [IMAGE_TOKEN], "pad_token_id": 0}


def build(name, tokens=128, **options):
    return sv.make_pruner(
        name, tokens=tokens, num_layers=NUM_LAYERS, num_visual=NUM_VISUAL, **options
    )


def pruned(model, inputs, pruner):
    """Logits and samples of one prefill."""
    with torch.no_grad(), sv.prune(model, pruner) as trace:
        logits = model(**inputs).logits
    return logits, trace.samples


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_one_word_has_no_official_rater(sdpa_model):
    visual, text = noise(9, 4), noise(1, 4)
    relevance = text_relevance(visual, text)
    raters = (relevance > relevance.mean()).nonzero().flatten()
    assert raters.numel() == 0, "1 > 1 is false"
    attention = noise(2, 1, 9).softmax(-1)
    assert score(mean_over_heads(attention[:, raters])).isnan().all(), "the mean over no row"

    assert select_raters(visual, text).tolist() == [0]
    for name in ("sparsevlm", "sparsevlm-v1.0", "sparsevlm-paper"):
        _, (sample,) = pruned(sdpa_model, tiny_inputs((1,)), build(name))
        for stage in sample.stages:
            assert stage.raters == [0] and torch.tensor(stage.scores).isfinite().all()


def test_no_rater_makes_official_v10_drop_every_visual_token(sdpa_model):
    rank = int(torch.linalg.matrix_rank(torch.zeros(0, NUM_VISUAL)))
    kept = min(int(rank * 13.5), NUM_VISUAL - 1)
    assert (rank, kept, recycled_counts(NUM_VISUAL - kept)[1]) == (0, 0, 18)
    # The count itself is copied, for a rating of zeros is no error of ours ...
    assert numerical_rank(torch.zeros(3, NUM_VISUAL)) == num_kept(NUM_VISUAL, 0, 13.5, 0) == 0
    # ... but a prompt always has a rater, so the rank is at least 1.
    _, (sample,) = pruned(sdpa_model, tiny_inputs((1,)), build("sparsevlm-v1.0", 192))
    assert (len(sample.stages[0].kept), len(sample.stages[0].groups)) == (13, 17)


def test_a_batch_mixes_its_samples_in_the_official_code(sdpa_model, inputs):
    # Raters: torch.where(...)[1] joins the words of all samples.
    relevance = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    assert torch.where(relevance > relevance.mean())[1].tolist() == [0, 2]
    # v1.0 and video read the rank with .item().
    with pytest.raises(RuntimeError, match="2 elements"):
        torch.linalg.matrix_rank(torch.rand(2, 3, 9)).item()
    # v1.5 and v2.0 write every sample's choice into the mask of the first one.
    scores = torch.tensor([[5.0, 4.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 4.0, 5.0]])
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[0][scores.topk(2, dim=1).indices] = True
    assert mask.tolist() == [[True, True, False, True, True], [False] * 5]

    assert [select_top(s, 2, 0)[0].tolist() for s in scores] == [[0, 1], [3, 4]]
    pruner = build("sparsevlm-plus", heads=2)
    together, samples = pruned(sdpa_model, inputs, pruner)
    for index, sample in enumerate(samples):
        alone, (single,) = pruned(sdpa_model, row(inputs, index), pruner)
        assert [stage.kept for stage in single.stages] == [stage.kept for stage in sample.stages]
        torch.testing.assert_close(together[index, -1], alone[0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", [{"do_sample": True}, {"num_beams": 2, "do_sample": False}])
def test_sampling_and_beams_fail_on_the_official_tuple(sdpa_model, inputs, how, monkeypatch):
    inputs = row(inputs, 0)
    with sv.prune(sdpa_model, build("sparsevlm")):
        answers = []
        for cached in (True, False):
            torch.manual_seed(0)
            answers.append(sdpa_model.generate(**inputs, **SHORT, **how, use_cache=cached))
    assert answers[0].shape[1] == inputs["input_ids"].shape[1] + 3
    assert torch.equal(*answers)
    forward = sdpa_model.forward

    @functools.wraps(forward)
    def official(*args, **kwargs):
        """Its forward returns a tuple, which only its own greedy search takes apart."""
        return tuple(forward(*args, **kwargs).values())

    monkeypatch.setattr(sdpa_model, "forward", official)
    with pytest.raises(AttributeError):
        sdpa_model.generate(**inputs, **SHORT, **how)


def test_a_second_image_is_text_to_the_official_code(sdpa_model, inputs):
    start, image = len(BEFORE), noise(NUM_VISUAL, 8)
    sequence = torch.cat([noise(start, 8), image, 3 * image, noise(6, 8)])
    visual, text = sequence[start : start + NUM_VISUAL], sequence[start + NUM_VISUAL :]
    raters = select_raters(visual, text)
    assert (raters < NUM_VISUAL).any(), "tokens of the second image rate the first"

    one = row(inputs, 0)
    ids = torch.cat([one["input_ids"], one["input_ids"]], dim=1)
    two = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": one["pixel_values"].repeat(2, 1, 1, 1),
    }
    questions = ids.shape[1] // 2 - start - NUM_VISUAL
    _, samples = pruned(sdpa_model, two, build("sparsevlm"))
    assert [sample.num_visual for sample in samples] == [NUM_VISUAL] * 2
    assert samples[0].tokens_out == samples[1].tokens_out
    words = [questions + start + questions, questions]  # behind each image, without the other's
    for sample, count in zip(samples, words, strict=True):
        assert max(sample.stages[0].raters) < count


def test_forty_layers_outrun_the_official_copies():
    # v1.5 gives 32 layers a second set of attention weights, and every layer uses its own.
    attached = dict.fromkeys(range(32))
    with pytest.raises(KeyError, match="32"):
        [attached[layer] for layer in range(40)]

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=40,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    pruner = sv.make_pruner("sparsevlm", tokens=30, num_layers=40, num_visual=90)
    assert [stage.layer for stage in pruner.stages] == [2, 7, 18]
    ids = torch.arange(100)[None] % 64
    with torch.no_grad(), sv.prune(model, pruner, visual_mask=(3, 93)) as trace:
        assert model(ids).logits.isfinite().all()
    assert abs(trace.mean_tokens_out - 30) <= 1


def test_other_budgets_are_a_key_error_in_the_official_code():
    with pytest.raises(KeyError):
        OFFICIAL_KEEP[100]
    assert abs(mean_tokens_out(schedule_for(100), 32, 576) - 100) <= 1


def test_padding_breaks_the_official_attention(sdpa_model, inputs):
    # A 0 in the mask makes it 4-D; it is then added in place to a bias [tokens, tokens].
    bias = torch.zeros(5, 5)
    with pytest.raises(RuntimeError, match="broadcast"):
        bias += torch.zeros(1, 1, 5, 5)

    assert (inputs["attention_mask"] == 0).any()
    logits, samples = pruned(sdpa_model, inputs, build("sparsevlm"))
    real = [len(sample.output_index) for sample in samples]
    assert all(logits[i, -n:].isfinite().all() for i, n in enumerate(real))


def test_the_video_release_calls_its_rank_rule_with_an_argument_too_few(sdpa_model, inputs):
    def official(attention, visual_start, num_visual, text_start, raters, layer_idx):
        return attention, visual_start, num_visual, text_start, raters, layer_idx

    with pytest.raises(TypeError, match="layer_idx"):
        official(None, 35, 2048, 2083, None)
    _, (sample,) = pruned(sdpa_model, row(inputs, 1), build("sparsevlm-video", None))
    (stage,) = sample.stages
    assert len(stage.kept) == len(stage.raters), "the rank is the number of raters"


def test_fourteen_heads_whatever_the_model_has(sdpa_model, inputs):
    with pytest.raises(RuntimeError, match="out of range"):
        torch.rand(4).topk(14)
    with pytest.raises(ValueError, match=r"heads=14 .* has 4; give a smaller number, e.g. heads=2"):
        pruned(sdpa_model, row(inputs, 0), build("sparsevlm-plus"))
    _, (sample,) = pruned(sdpa_model, row(inputs, 0), build("sparsevlm-plus", heads=2))
    assert len(sample.stages) == 3


def test_class_tokens_of_a_video_are_visual_tokens():
    """The paper counts 8 x 256 = 2048; the release keeps the class token of every frame: 2056."""
    mean = {}
    for num_visual in (8 * 256, 8 * 257):
        kept = num_kept(num_visual, 10, 1, 0)
        left = kept + recycled_counts(num_visual - kept)[1]
        mean[num_visual] = (num_visual + 31 * left) / 32
    assert mean == {2048: 133.75, 2056: 134.0}
    for num_visual in mean:
        pruner = sv.make_pruner("sparsevlm-video", tokens=135, num_layers=32, num_visual=num_visual)
        assert (pruner.scale, pruner.bias) == (1, 0), "nothing is tuned to one of the two counts"


# --- What the official code does not know at all ------------------------------------------------


def test_copies_and_pickles_of_a_pruned_model_are_dense(inputs):
    inputs = row(inputs, 0)
    model = tiny_llava()  # one that was called already has hooks of transformers that do not pickle
    with torch.no_grad():
        dense = copy.deepcopy(model)(**inputs).logits
        with sv.prune(model, build("sparsevlm")):
            twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
            assert model(**inputs).logits.shape[1] < dense.shape[1]
            for twin in twins:
                assert torch.equal(twin(**inputs).logits, dense)


def test_a_sliding_window_is_refused(sdpa_model):
    model = copy.deepcopy(sdpa_model)
    kinds = ["sliding_attention"] * NUM_LAYERS
    model.model.language_model.config.layer_types = kinds
    with pytest.raises(ValueError, match="sliding_attention; prune.. knows full attention only"):
        with sv.prune(model, build("sparsevlm")):
            pass
    with sv.prune(model, sv.Dense()):
        pass


def test_renumbering_is_warned_about_where_positions_have_rows_and_columns(sdpa_model, monkeypatch):
    monkeypatch.setattr(Llava, "has_mrope", True)
    with pytest.warns(UserWarning, match="rows and columns are lost"):
        with sv.prune(sdpa_model, build("sparsevlm")):
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sv.prune(sdpa_model, build("sparsevlm", positions="original")):
            pass
