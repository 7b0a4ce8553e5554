"""v1.5 against the recorded tensors of the official code, on a whole model."""

from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases
from golden_run import check_decoding, check_scores, run

import sparsevlm as sv

V15 = [(budget, case) for budget in (192, 128, 64) for case in cases(f"model_v15_{budget}")]
EXTRA = list(cases("model_extra"))


def v15(budget: int) -> sv.SparseVLM:
    # The recordings were made with the official noise set to 0.
    return sv.make_pruner("sparsevlm", tokens=budget, num_layers=32, num_visual=576, ties="strict")


def check_cuts(sample, gold) -> None:
    counts = []
    for cut in sample.cuts:
        prefix = f"layer{cut.after_layer}/"
        want = {k.removeprefix(prefix): v for k, v in gold.items() if k.startswith(prefix)}
        check_scores(cut.scores, want["score"])
        assert cut.kept + cut.group_ids == want["after_src"].tolist()
        assert cut.raters == gold["raters"].tolist()
        created = [i for i in cut.group_ids if i >= sample.num_visual + sum(counts)]
        counts.append(len(want["merged"]))
        assert len(created) == counts[-1]
        assert cut.num_left == len(want["after_src"])
        check_groups(cut, created, want, sample)


def check_groups(cut, created, want, sample) -> None:
    """The recycled tokens of this cut, group by group, where all are original tokens."""
    recycled, assign = want["recycled_src"].tolist(), want["assign"].tolist()
    if max(recycled) >= sample.num_visual:
        return
    groups = dict(zip(cut.group_ids, cut.groups, strict=True))
    for label, identity in enumerate(created):
        expected = [r for r, a in zip(recycled, assign, strict=True) if a == label]
        assert groups[identity] == expected


def check_positions(result, gold) -> None:
    current = gold["pos_from_layer0"]
    for layer, seen in enumerate(result["prefill_positions"]):
        current = gold.get(f"pos_from_layer{layer}", current)
        assert torch.equal(seen, current), f"prefill positions of layer {layer}"
    for layer, seen in enumerate(result["decode_positions"]):
        assert torch.equal(seen, gold["decode_pos"][:, layer])


@pytest.mark.parametrize(("budget", "case"), V15)
def test_v15_model(budget, case):
    gold = arrays(f"model_v15_{budget}", case)
    embeds = arrays("inputs_tiny64", case)["embeds"]
    result = run(embeds, (35, 35 + 576), v15(budget))
    check_cuts(result["sample"], gold)
    check_positions(result, gold)
    assert torch.equal(result["kv"][0], gold["kv_len"])
    assert torch.equal(result["kv"][1:], gold["decode_kv"])
    check_decoding(result, gold)
    final = result["final"][-len(gold["final"]) :]
    torch.testing.assert_close(final, gold["final"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("case", EXTRA)
def test_v15_fewer_tokens_than_the_budget(case):
    info, gold = cases("model_extra")[case], arrays("model_extra", case)
    span = (info["pre"], info["pre"] + info["n_vis"])
    result = run(gold["embeds"], span, v15(info["budget"]), steps=len(gold["logits"]) - 1)
    check_cuts(result["sample"], gold)
    assert torch.equal(result["kv"][0], gold["kv_len"])
    check_decoding(result, gold)


def test_counts_of_the_official_token_counter():
    gold = cases("model_v15_192")["L20_s0"]
    embeds = arrays("inputs_tiny64", "L20_s0")["embeds"]
    sample = run(embeds, (35, 611), v15(192), steps=0)["sample"]
    # The official code counts after the cut of each layer; its model here has 20 layers.
    assert sum(sample.tokens_out) / 20 == pytest.approx(gold["equal_tokens_official"], abs=1e-4)
    assert [cut.num_left for cut in sample.cuts] == [309, 204, 113]
