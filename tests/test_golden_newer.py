"""The newer methods against the recorded tensors of their authors' code."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from golden_data import FOLDER, arrays, cases
from golden_run import check_decoding, run
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

import sparsevlm as sv
from sparsevlm.core.interface import PruningContext
from sparsevlm.core.schedule import PruningStage
from sparsevlm.methods.newer import cdpruner, dart, divprune, holov, visionzip, vispruner
from sparsevlm.models.tower import TowerView
from sparsevlm.runtime import layout
from sparsevlm.runtime.adapter import Picture

SPAN = (35, 35 + 576)
MODELS = [case for case in cases("newer/dart") if case.startswith("model")]


def recorded(method: str):
    """Every function-level case of a method."""
    names = [case for case in cases(f"newer/{method}") if not case.startswith("model")]
    return pytest.mark.parametrize("case", names)


def read(method: str, case: str) -> tuple[dict, dict, dict]:
    """Scalars, shared inputs and own outputs of a case; what is int8 is sixteenths."""
    info, name = cases(f"newer/{method}")[case], f"newer/{method}"
    group = case.split("/")[0]
    inputs = {
        key: value / 16 if method == "cdpruner" and key == "projected" and group != "g6_lowrank"
        and value.dtype == torch.int64 else value
        for key, value in arrays(name, group).items() if "/" not in key
    }  # fmt: skip
    return info, inputs, arrays(name, case) if info["outputs"] else {}


def stage(count: int, layer: int = -1) -> tuple[PruningStage]:
    return (PruningStage(layer, count),)


def context(visual: torch.Tensor, text=None, layer=-1, **seen) -> PruningContext:
    """A picture before any stage; what is not given is not looked at."""
    missing = dict.fromkeys(
        ("grid", "inputs_text", "attention_rows", "prompt_key", "rotary_visual",
         "rotary_text", "attention_mean")
    )  # fmt: skip
    return PruningContext(**{
        **missing, "layer": layer, "num_layers": 8, "visual": visual, "inputs_visual": visual,
        "source": torch.arange(len(visual)), "num_visual": len(visual), "text": text,
        "seen": SimpleNamespace(**seen),
    })  # fmt: skip


def tower(attention, hidden, keys=None, cls=None) -> TowerView:
    cls = hidden[:1] if cls is None else cls
    return TowerView(
        hidden, hidden, attention, hidden if keys is None else keys, cls, (), lambda x: x
    )


def sequence(selection, visual: torch.Tensor) -> torch.Tensor:
    """What the language model is given for a picture."""
    count = len(visual)
    image = layout.ImageLayout(0, count, 0, Picture(count), visual.device)
    sample = layout.SampleLayout((image,), 1, 1, 0, visual.device)
    return layout.apply(sample, torch.cat([visual, visual[:1]]), [selection])[1][:-1]


@recorded("divprune")
def test_divprune(case):
    info, inputs, gold = read("divprune", case)
    features, count = inputs["features"], info.get("n_kept")
    if "sequence" in gold:
        kept = gold["sequence"][35:-20] - 35
        assert torch.equal(divprune.DivPrune(stage(len(kept))).select(context(features)).keep, kept)
        return
    assert torch.equal(divprune.farthest_first(features, count, repeat=True), gold["order"])
    kept = divprune.DivPrune(stage(count)).select(context(features)).keep
    assert len(kept.unique()) == count
    if not info.get("tie_rule"):  # there the official sequence has one token several times
        assert torch.equal(kept, gold["kept"])


@recorded("visionzip")
def test_visionzip(case):
    info, inputs, gold = read("visionzip", case)
    hidden, keys, attention = inputs["hidden"], inputs["keys_mean"], inputs["cls_attention"]
    scores = attention.sum(dim=0)
    dominant, contextual = info["dominant"], info["contextual"]
    keep, seeds, members, labels = visionzip.split(scores, keys[1:], dominant - 1, contextual)
    assert torch.equal(torch.cat([torch.zeros(1).long(), keep + 1]), gold["kept"])
    assert torch.equal(seeds + 1, gold["targets"])
    assert torch.equal(members + 1, gold.get("merged_from", members[:0]))
    assert torch.equal(labels, gold.get("assign", labels[:0]))
    merged = visionzip.merge(hidden[1:], seeds, members, labels)
    torch.testing.assert_close(merged, gold["contextual"])
    if contextual == round(info["n_out"] * visionzip.CONTEXTUAL):  # as for the three budgets
        seen = tower(attention, hidden[1:], keys[1:], hidden[:1])
        pruner = visionzip.VisionZip(stage(info["n_out"]))
        found = sequence(pruner.select(context(hidden[1:], tower=lambda: seen)), hidden[1:])
        torch.testing.assert_close(found, torch.cat([hidden[gold["kept"]], gold["contextual"]]))


@recorded("dart")
def test_dart(case):
    info, inputs, gold = read("dart", case)
    first, count = info["pre"], info["n_vis"]
    states, keys, weight = inputs["layer_output"], inputs["keys"], inputs["norm_weight"]
    keys = keys.transpose(0, 1)

    def norm(x):
        scale = (x.square().mean(-1, keepdim=True) + info["rms_norm_eps"]).rsqrt()
        return weight * x * scale

    visual, text = slice(first, first + count), slice(first + count, None)
    seen = context(
        states[visual], text=states[text], keys_visual=keys[visual], keys_text=keys[text],
        before=first, final_norm=norm, layer=1,
    )  # fmt: skip
    pivots = info["pivot_image_token"], info["pivot_text_token"]
    quota = info["max_num_trunction"] or count * (1 - info.get("reduction_ratio", 0))
    asked = int(quota) // sum(pivots) * sum(pivots) + pivots[0]
    pruner = dart.DART(stage(asked, 1), *pivots)
    if "official_result" in info:  # an error there; here all tokens stay, and `prune` warns
        assert torch.equal(pruner.select(seen).keep, torch.arange(count))
        return
    image = dart.longest(keys[visual], pivots[0])
    assert torch.equal(image, gold["image_pivots"])
    words = dart.longest(keys[text], pivots[1])
    assert torch.equal(words, gold.get("text_pivots", words[:0]))
    order = dart.in_picking_order(image, words, first, count)
    assert order == gold["pivot_order"].tolist()
    picked = dart.least_similar(norm(states[first:]), count, image, order, asked - pivots[0])
    assert torch.equal(torch.stack(picked), gold["picked"])
    assert torch.equal(pruner.select(seen).keep, gold["kept"])


@pytest.mark.parametrize("case", MODELS)
def test_dart_model(case):
    info, gold = cases("newer/dart")[case], arrays("newer/dart", case)
    name = info["inputs"][0].split()[-1].split("/")[0]
    embeds = arrays("inputs_tiny64", name)["embeds"]
    result = run(embeds, SPAN, dart.DART(stage(info["n_kept"], info["K"] - 1)))
    (found,) = result["sample"].stages
    assert found.kept == gold["kept"].tolist()
    for layer, seen in enumerate(result["prefill_positions"]):
        whole = torch.arange(len(embeds))
        assert torch.equal(seen, gold["position_ids"] if layer >= info["K"] else whole)
    assert torch.equal(result["kv"][0], gold["kv_lengths"])
    final = result["final"][-16:]
    torch.testing.assert_close(final, gold["final_last16"], rtol=0, atol=1e-3)
    check_decoding(result, gold)


@recorded("cdpruner")
def test_cdpruner(case):
    info, inputs, gold = read("cdpruner", case)
    text = inputs[f"text_embeds_{case.split('/')[1].split('_')[0]}"]
    weight = cdpruner.relevance(inputs["image_embeds"], text)
    torch.testing.assert_close(weight, gold["relevance"], rtol=0, atol=1e-5)
    order = cdpruner.greedy(inputs["projected"], weight, info["visual_token_num"])
    told = info.get("do_not_match_after", len(order))
    assert torch.equal(order[:told], gold["order"][:told])
    assert len(order.unique()) == len(order)


@recorded("holov")
def test_holov(case):
    info, inputs, gold = read("holov", case)
    peaked = "_peaked" if "peaked" in case else ""
    features, heads = inputs["projected"], inputs[f"cls_attention{peaked}"]
    attention, count = heads.mean(dim=0), info["new_image_token_num"]
    sizes = holov.chunk_sizes(len(features), info["num_patches"])
    assert sizes == gold["chunk_sizes"].tolist()
    scores = holov.chunk_scores(features, attention, sizes)
    torch.testing.assert_close(scores, gold["chunk_scores"])
    assert holov.quotas(scores, count) == gold["allocated"].tolist()
    pruner = holov.HoloV(stage(count), info["num_patches"])
    seen = context(features, tower=lambda: tower(heads, features))
    found = sequence(pruner.select(seen), features)
    want = torch.cat([features, torch.zeros_like(features[:1])])[gold["kept"]]
    assert torch.equal(found, want)


@recorded("vispruner")
def test_vispruner(case):
    info, inputs, gold = read("vispruner", case)
    features, attention = inputs["features"], inputs["cls_attention"]
    count, share = info["visual_token_num"], info["important_ratio"]
    pruner = vispruner.VisPruner(stage(count), important=share)
    kept = pruner.select(context(features, tower=lambda: tower(attention, features))).keep
    assert len(kept.unique()) == count
    if "official_result" in info:  # an error there; here what the deviation says
        return
    order = attention.mean(dim=0).argsort(descending=True, stable=True)
    first = info["n_important"]
    assert torch.equal(order[:first], gold.get("important", order[:0]))
    diverse = vispruner.without_duplicates(features, order[first:], count - first)
    assert torch.equal(diverse, gold.get("diverse", order[:0]))
    assert torch.equal(kept, gold["kept"])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A LLaVA with the recorded tower and projector, and the folder of the CLIP it is from."""
    found = load_file(FOLDER / "newer/tower_tiny.safetensors")
    weights = {
        key.removeprefix("weights/"): value.float()
        for key, value in found.items() if key.startswith("weights/")
    }  # fmt: skip
    told = json.loads((FOLDER / "newer/tower_tiny.json").read_text())["source"]
    config = CLIPConfig(**told["clip_config"])
    clip = CLIPModel(config).eval()
    missing, unexpected = clip.load_state_dict(weights, strict=False)
    assert not unexpected and {name.split(".")[-1] for name in missing} <= {
        "logit_scale", "position_ids",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("clip")
    clip.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(120)}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(
        single="w118 $A w119", special_tokens=[("w118", 118), ("w119", 119)]
    )
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    text = LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4,
    )  # fmt: skip
    settings = LlavaConfig(
        text_config=text, vision_config=config.vision_config, image_token_id=4,
        vision_feature_layer=-2, image_seq_length=36,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(settings).eval()
    model.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    model.model.multi_modal_projector = nn.Linear(32, 64, bias=False)
    model.model.multi_modal_projector.weight.data = found["projector/weight"].float()
    return model, str(folder)


@pytest.mark.parametrize("case", ["img0", "img1"])
def test_the_tower_is_looked_at_where_the_official_code_looks(tiny, case):
    """Layer and tensors of every method, from pixels and the question's text on."""
    (model, folder), gold = tiny, arrays("newer/tower_tiny", case)
    given = gold["image"][None]
    ids = torch.tensor([[1, *[4] * 36, 7, 8, 9]])
    seen = []
    layer = model.model.language_model.layers[0]

    def kept(pruner, question="w1"):
        """Places in the sequence, -1 for what is made anew."""
        with torch.no_grad(), sv.prune(model, pruner, questions=[question]) as trace:
            handle = layer.self_attn.register_forward_pre_hook(
                lambda module, args, kwargs: seen.append(kwargs["hidden_states"]), with_kwargs=True
            )
            model(input_ids=ids, pixel_values=given)
            handle.remove()
        return [place - 1 for place in trace.samples[0].output_index[1:-3]]

    assert kept(divprune.DivPrune(stage(8))) == sorted(gold["divprune_T8_order"].tolist())
    assert kept(vispruner.VisPruner(stage(8))) == gold["vispruner_T8_r0.5"].tolist()
    assert kept(holov.HoloV(stage(8), 4)) == gold["holov_P4_T8"].tolist()
    for length in ("short", "long"):
        words = " ".join(f"w{n}" for n in gold[f"text_ids_{length}"].tolist()[1:-1])
        words += "\nAnswer the question using a single word or phrase."
        found = kept(cdpruner.CDPruner(stage(8), clip=folder), words)
        assert found == sorted(gold[f"cdpruner_T8_{length}_order"].tolist())
    found = kept(visionzip.VisionZip(stage(12)))
    dominant = sorted(gold["visionzip_dom10_ctx2_all_indices"].tolist())[1:]
    assert found == [-2, *[place - 1 for place in dominant], -2, -2]
    normed = layer.input_layernorm(model.model.multi_modal_projector(torch.cat([
        gold["visionzip_cls_hidden"][None], gold["visionzip_dom10_ctx2_contextual"]
    ])))  # fmt: skip
    torch.testing.assert_close(seen[-1][0, [1, 11, 12]], normed, rtol=0, atol=1e-4)


@torch.no_grad()
def test_each_of_several_images_is_decided_as_recorded(tiny):
    """Two images apart in one sample, in the other order side by side in the next one."""
    model, folder = tiny
    gold = [arrays("newer/tower_tiny", case) for case in ("img0", "img1")]
    image, words = [4] * 36, [7, 8, 9]
    rows = torch.tensor([[1, *image, *words, *image, *words], [1, *words, *image, *image, *words]])
    starts = (((0, 1), (1, 40)), ((1, 4), (0, 40)))  # which image, and where it begins
    pixels = torch.stack([gold[number]["image"] for row in starts for number, _ in row])

    def kept(pruner, questions=("w1", "w1")):
        """For each image in turn its number and its tokens, -1 for what is made anew."""
        with sv.prune(model, pruner, questions=questions) as trace:
            model(input_ids=rows, pixel_values=pixels)
        left = trace.samples[0].tokens_out[-1]
        for row, told in enumerate(starts):
            index = iter(trace.samples[2 * row].output_index)
            texts = [[1], words] if row == 0 else [[1, *words], []]
            for (number, start), text in zip(told, texts, strict=True):
                for _ in text:
                    next(index)
                found = [next(index) for _ in range(left)]
                yield row, gold[number], [max(place - start, -1) for place in found]

    for _, want, found in kept(divprune.DivPrune(stage(8))):
        assert found == sorted(want["divprune_T8_order"].tolist())
    for _, want, found in kept(vispruner.VisPruner(stage(8))):
        assert found == want["vispruner_T8_r0.5"].tolist()
    for _, want, found in kept(holov.HoloV(stage(8), 4)):
        assert found == want["holov_P4_T8"].tolist()
    for _, want, found in kept(visionzip.VisionZip(stage(12))):
        dominant = sorted(want["visionzip_dom10_ctx2_all_indices"].tolist())[1:]
        assert found == [-1, *[place - 1 for place in dominant], -1, -1]
    lengths = ("short", "long")
    for own in gold:  # each image was recorded with two questions of its own
        asked = [own[f"text_ids_{length}"].tolist()[1:-1] for length in lengths]
        texts = [" ".join(f"w{number}" for number in ids) for ids in asked]
        for row, want, found in kept(cdpruner.CDPruner(stage(8), clip=folder), texts):
            if want is own:
                assert found == sorted(own[f"cdpruner_T8_{lengths[row]}_order"].tolist())
