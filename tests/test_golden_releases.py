"""Every release of SparseVLM against the recorded tensors of its own code, on whole models."""

from __future__ import annotations

import pytest
import torch
from golden_data import arrays, cases
from golden_run import check_decoding, check_scores, run

import sparsevlm as sv

V10 = {"model_v10_s13.5_b0": (13.5, 0), "model_v10_s9_b6": (9, 6), "model_v10_s0.8_b0": (0.8, 0)}
# The recordings were made with the official noise set to 0.
SHAPE = {"num_layers": 32, "num_visual": 576, "ties": "strict"}


def v10(scale, bias):
    return sv.make_pruner("sparsevlm-v1.0", tokens=None, scale=scale, bias=bias, **SHAPE)


def release(name: str):
    """The pruner of a file of recordings."""
    if name in V10:
        return v10(*V10[name])
    budget = int(name.split("_")[-1]) if name != "model_video" else None
    if name.startswith("model_v15") or name == "model_main_mode10_96":
        return sv.make_pruner("sparsevlm", tokens=budget, **SHAPE)
    variant = "plus" if name.startswith("model_v20") else "video"
    return sv.make_pruner(f"sparsevlm-{variant}", tokens=budget, **SHAPE)


def extra(info: dict):
    """The pruner of an odd case."""
    if info["version"] == "v10":
        return v10(info["scale"], info["bias"])
    name = {"v15": "sparsevlm", "video": "sparsevlm-video", "v20": "sparsevlm-plus"}
    return sv.make_pruner(name[info["version"]], tokens=info.get("budget"), **SHAPE)


FILES = (
    "model_v15_192",
    "model_v15_128",
    "model_v15_64",
    "model_main_mode10_96",
    *V10,
    "model_video",
    "model_v20_192",
    "model_v20_128",
    "model_v20_96",
    "model_v20_64",
)
RECORDED = [(name, case) for name in FILES for case in cases(name)]


def check_stages(sample, gold) -> None:
    counts = []
    for stage in sample.stages:
        prefix = f"layer{stage.layer}/"
        want = {k.removeprefix(prefix): v for k, v in gold.items() if k.startswith(prefix)}
        check_scores(stage.scores, want["score"])
        assert stage.kept + stage.group_ids == want["after_src"].tolist()
        assert stage.raters == gold["raters"].tolist()
        created = [i for i in stage.group_ids if i >= sample.num_visual + sum(counts)]
        counts.append(len(want["merged"]) if "merged" in want else 0)
        assert len(created) == counts[-1]
        assert stage.num_left == len(want["after_src"])
        if created:
            check_groups(stage, created, want, sample)


def check_groups(stage, created, want, sample) -> None:
    """The recycled tokens of this stage, group by group, where all are original tokens."""
    recycled, assign = want["recycled_src"].tolist(), want["assign"].tolist()
    if max(recycled) >= sample.num_visual:
        return
    groups = dict(zip(stage.group_ids, stage.groups, strict=True))
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


def check(pruner, info, gold, embeds, span, weights):
    # v1.5 was recorded with sdpa; the other releases write their attention out.
    attention = "sdpa" if pruner.variant == "v1.5" else "eager"
    steps = len(gold["logits"]) - 1
    result = run(embeds, span, pruner, steps=steps, weights=weights, attention=attention)
    sample = result["sample"]
    check_stages(sample, gold)
    assert [stage.layer for stage in sample.stages] == info["prune_layers"]
    assert [len(stage.scores) for stage in sample.stages] == info["v_in"]
    check_positions(result, gold)
    others = len(embeds) - sample.num_visual
    tokens_in = torch.tensor(sample.tokens_in[: len(gold["n_tokens"])])
    assert torch.equal(tokens_in + others, gold["n_tokens"])
    assert torch.equal(result["kv"][0], gold["kv_len"])
    if "decode_kv" in gold:
        assert torch.equal(result["kv"][1:], gold["decode_kv"])
    check_decoding(result, gold)
    final = gold.get("final", gold.get("final_last16"))
    torch.testing.assert_close(result["final"][-len(final) :], final, rtol=0, atol=1e-3)
    if info["equal_tokens_official"] is not None:
        # The official code counts after each layer, of its 20 (or 17) layers.
        layers = len(gold["n_tokens"])
        counted = sum(sample.tokens_out[:layers]) / layers
        assert counted == pytest.approx(info["equal_tokens_official"], abs=1e-4)


@pytest.mark.parametrize(("name", "case"), RECORDED)
def test_release(name, case):
    weights = "tiny128" if name.startswith("model_v20") else "tiny64"
    embeds = arrays(f"inputs_{weights}", case)["embeds"]
    check(release(name), cases(name)[case], arrays(name, case), embeds, (35, 611), weights)


@pytest.mark.parametrize("case", cases("model_extra"))
def test_odd_cases(case):
    info, gold = cases("model_extra")[case], arrays("model_extra", case)
    span = (info["pre"], info["pre"] + info["n_vis"])
    check(extra(info), info, gold, gold["embeds"], span, info["weights"])


def test_every_recording_is_compared():
    from golden_data import FOLDER

    models = {path.stem for path in FOLDER.glob("model_*.json")}
    assert models == {*FILES, "model_extra"}
    assert len(RECORDED) == 72 and len(cases("model_extra")) == 6
