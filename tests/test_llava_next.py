"""LLaVA-NeXT: pictures in tiles, whose number of tokens follows their shape."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_llava_next as tiny
import torch
from contract.cases import FAMILIES
from contract.runs import TOWER, build, fits
from contract.several import SEVERAL
from PIL import Image
from test_bench_static import waits_in_cuts
from tiny_checkpoints import VICUNA, letters_tokenizer, picture, save_tiny
from transformers import (
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessorPil,
    LlavaNextModel,
    LlavaNextProcessor,
    MistralConfig,
)

import sparsevlm as sv
from sparsevlm.core.raters import select_raters
from sparsevlm.core.recycling import reconstruct, select_top
from sparsevlm.core.schedule import recycled_counts
from sparsevlm.integrations.answering import Answerer
from sparsevlm.methods.per_tile import PerTile, shares
from sparsevlm.models.llava_next import num_tokens, tile_tokens, tiles, views_of
from sparsevlm.models.prompts import prompt_builder
from sparsevlm.runtime.adapter import find_adapter

CASE = FAMILIES["llava-next"]
RELEASED = LlavaNextConfig()


# --- The number of tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "tokens"), [
    ((336, 336), 1176), ((1000, 1000), 2928), ((480, 640), 2340), ((640, 480), 2352),
    ((336, 672), 1752), ((1008, 336), 2376), ((1, 1000), 576),
])  # fmt: skip
def test_a_picture_has_as_many_tokens_as_its_shape_leaves(size, tokens):
    """Of the whole 576, then of the tiles without what was padded, and one behind each row."""
    assert num_tokens(size, RELEASED) == tokens
    rows, columns = tile_tokens(size, RELEASED)
    assert tokens == 576 + rows * (columns + 1)


def test_the_number_is_that_of_the_processor():
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(size={"shortest_edge": 336}),
        letters_tokenizer(VICUNA), patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    drawn = np.random.default_rng(0).integers(1, 2000, (300, 2)).tolist()
    wanted = processor._get_num_multimodal_tokens(drawn).num_image_tokens
    assert [num_tokens(size, RELEASED) for size in drawn] == wanted


# --- The prompt -----------------------------------------------------------------------------------


def test_the_builder_makes_what_the_model_takes():
    """The pixels are the processor's, the placeholders fit, and a row without picture is text."""
    model = CASE.model()
    builder = prompt_builder("llava_next", model.config, letters_tokenizer(VICUNA))
    pictures = [Image.linear_gradient("L").convert("RGB").resize(s[::-1]) for s in tiny.SIZES]
    made = builder.inputs(["What?", "Why?", "Where?", "Who?"], [*([one] for one in pictures), []])
    counts = (made["input_ids"] == tiny.IMAGE_TOKEN).sum(1).tolist()
    assert counts == [*tiny.NUM_VISUAL, 0]
    assert made["image_sizes"].tolist() == list(map(list, tiny.SIZES))
    assert made["pixel_values"].shape == (3, 5, 3, tiny.SIDE, tiny.SIDE)
    with torch.no_grad(), sv.prune(model, build(CASE, "sparsevlm")) as trace:
        model.generate(**made, max_new_tokens=2, do_sample=False, suppress_tokens=[4])
    assert [sample.num_visual for sample in trace.samples] == counts


@pytest.mark.parametrize("text", [
    MistralConfig(), LlamaConfig(vocab_size=64064), LlamaConfig(vocab_size=128320),
])  # fmt: skip
def test_another_language_model_has_another_conversation(text):
    config = LlavaNextConfig(text_config=text)
    with pytest.raises(ValueError, match="known for Vicuna only .* or give prompt_builder a templ"):
        prompt_builder("llava_next", config, None)
    from sparsevlm.models.prompts.llava import VICUNA_V1

    assert prompt_builder("llava_next", config, None, template=VICUNA_V1).template is VICUNA_V1


# --- The budget and what is refused ---------------------------------------------------------------


def test_the_budget_is_shared_by_whole_tiles_and_newlines():
    """All tokens compete: the best rated stay, wherever they are."""
    inputs = CASE.inputs()
    with CASE.prune(CASE.model(), build(CASE, "fastv"), inputs) as trace:
        CASE.logits(CASE.model(), inputs)
    for sample in trace.samples:
        (stage,) = sample.stages
        scores = torch.tensor(stage.scores)
        assert stage.kept == scores.topk(len(stage.kept)).indices.sort().values.tolist()
    kept = [token for sample in trace.samples for token in sample.stages[0].kept]
    assert min(kept) < 36 < max(kept)


def test_each_row_has_the_pixels_of_its_picture():
    inputs = CASE.inputs()
    adapter = find_adapter(CASE.model())
    for row, (shown,) in enumerate(adapter.pictures(inputs, [[n] for n in CASE.counts])):
        assert torch.equal(adapter.pixels(inputs, shown), inputs["pixel_values"][row, 0])


def changed(**fields):
    return {**CASE.inputs(), **fields}


@pytest.mark.parametrize(("inputs", "said"), [
    (lambda: changed(image_sizes=None), "pixel_values came without image_sizes"),
    (lambda: changed(image_sizes=torch.tensor([tiny.SIZES[0]] * 3)),
     "sample 1 has 168 image placeholders, but its images give 114, 114 visual tokens"),
    (lambda: changed(pixel_values=None, image_sizes=None), "no image was given"),
])  # fmt: skip
def test_inputs_that_are_refused(inputs, said):
    with CASE.prune(CASE.model(), build(CASE, "uniform"), inputs()):
        with pytest.raises(ValueError, match=said):
            CASE.logits(CASE.model(), inputs())


def test_cls_tokens_do_not_fit_into_tiles():
    model = CASE.fresh()
    model.config.vision_feature_select_strategy = "full"
    with pytest.raises(ValueError, match="selects 'full' features, whose CLS tokens do not fit"):
        with sv.prune(model, build(CASE, "uniform")):
            pass


def test_a_picture_that_was_encoded_before_another():
    model, inputs = CASE.model(), CASE.inputs()
    pixels, sizes = inputs.pop("pixel_values"), inputs.pop("image_sizes")
    with torch.no_grad(), sv.prune(model, build(CASE, "random")):
        encoded = model.get_image_features(pixels, sizes)
        other = model.get_image_features(-pixels, sizes)
        model(**inputs, mm_encoder_outputs={"image": other})
        with pytest.raises(ValueError, match="give the pixels with the question"):
            model(**inputs, mm_encoder_outputs={"image": encoded})


# --- A budget per tile ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [
    (336, 336), (1000, 1000), (480, 640), (640, 480), (336, 672), (1008, 336), (100, 1000),
    (1, 1000), (47, 13), (90, 641),
])  # fmt: skip
def test_each_token_is_of_the_view_that_the_model_takes_it_from(size):
    """The model's own packing, of features that say which view and which cell they are from."""
    count, side, newline = prod(tiles(size, RELEASED)) + 1, 24, -1.0
    cells = torch.arange(float(side**2))
    made = torch.stack([torch.stack([cells * 0 + view, cells], 1) for view in range(count)])
    (packed,), _ = LlavaNextModel.pack_image_features(
        SimpleNamespace(config=RELEASED), [made], torch.tensor([size]), "default",
        torch.full((2,), newline),
    )  # fmt: skip
    labels, grids = views_of(size, RELEASED)
    assert len(labels) == len(packed) and grids[0] == (side, side)
    of, last = packed[:, 0].tolist(), None
    places: dict[float, list] = {}
    for token, view in enumerate(of):
        last = view = last if view == newline else view
        cell = None if packed[token, 1] == newline else divmod(int(packed[token, 1]), side)
        places.setdefault(view, []).append((labels[token].item(), cell))
    # One label for each view, in the order of the views, and as many cells as its grid.
    assert [{label for label, _ in found} for found in places.values()] == [
        {number} for number in range(len(grids))
    ]
    for (rows, columns), found in zip(grids, places.values(), strict=True):
        seen = [cell for _, cell in found if cell is not None]
        assert rows * columns == len(found) and seen == sorted(seen)
        assert rows == len({row for row, _ in seen})
        assert columns == len({column for _, column in seen}) + (len(seen) < len(found))


def test_newlines_behind_nothing_are_of_the_tile_that_was_there():
    assert views_of((1000, 1), RELEASED)[1] == [(24, 24), (24, 1), (24, 1), (24, 1)]


def by_turns(total, sizes):
    """The next token goes where a view is furthest behind its share."""
    parts = [0] * len(sizes)
    for _ in range(total):
        claims = [size / (2 * part + 1) for size, part in zip(sizes, parts, strict=True)]
        parts[claims.index(max(claims))] += 1
    return tuple(parts)


def test_shares_follow_the_sizes_and_never_grow_where_the_budget_falls():
    for sizes in [(576, 576, 600), (576, 144, 150), (36, 30, 36, 30, 36), (7, 1, 2)]:
        before = sizes
        for total in range(sum(sizes), -1, -1):
            found = shares(total, sizes)
            assert found == by_turns(total, sizes) and sum(found) == total
            assert all(part <= more for part, more in zip(found, before, strict=True))
            assert all(abs(part - total * size / sum(sizes)) < 2
                       for part, size in zip(found, sizes, strict=True))  # fmt: skip
            before = found


SEVERAL_CASE = SEVERAL["llava-next-several"]
HOW = {
    "a padded batch": (CASE, {}), "generate": (CASE, {"how": "generate"}),
    "several images": (SEVERAL_CASE, {}),
    "several images, generate": (SEVERAL_CASE, {"how": "generate"}),
    "without waiting": (CASE, {"static": True}),
}  # fmt: skip


def kept(samples):
    """Of every picture and stage."""
    return [[stage.kept for stage in one.stages] for one in samples]


def traced(case, pruner, how="logits", static=None, **options):
    """What is left of every picture."""
    inputs = case.inputs()
    with case.prune(case.model(), pruner, inputs, static=static) as trace:
        getattr(case, how)(case.model(), inputs, **options)
    return trace.samples


def labels_of(case, sample_number):
    size = tiny.SIZES[tiny.NUM_VISUAL.index(case.counts[sample_number])]
    return views_of(size, case.model().config)[0]


@pytest.mark.parametrize("name", HOW)
def test_fastv_keeps_the_best_of_every_view(name):
    """The scores are those of a shared budget, whose best are in the test above."""
    case, how = HOW[name]
    shared = traced(case, build(case, "fastv"), **how)
    apart = traced(case, build(case, "fastv", budget="per_tile"), **how)
    for number, (one, other) in enumerate(zip(shared, apart, strict=True)):
        (stage,), (found,), labels = one.stages, other.stages, labels_of(case, number)
        scores = torch.tensor(stage.scores)
        parts = by_turns(len(stage.kept), labels.bincount().tolist())
        want = []
        for view, part in enumerate(parts):
            own = (labels == view).nonzero().flatten()
            want += own[scores[own].topk(part).indices].tolist()
        assert found.kept == sorted(want) != stage.kept
        assert found.scores == pytest.approx(stage.scores) and found.raters == stage.raters
        assert other.tokens_in == one.tokens_in and other.tokens_out == one.tokens_out


COUNTED = [
    name for name, method in sv.METHODS.items()
    if method.budget == "shared" and fits(CASE, name)
    and name not in ("dense", "sparsevlm-paper", "sparsevlm-v1.0", "sparsevlm-video", *TOWER)
]  # fmt: skip


@pytest.mark.parametrize("method", COUNTED)
def test_both_ways_leave_as_many_tokens(method):
    """With a budget of most tokens too, where a method drops one of each picture."""
    for tokens in (30, 105):
        shared, apart = (
            traced(CASE, build(CASE, method, tokens, budget=budget))
            for budget in ("shared", "per_tile")
        )
        for one, other in zip(shared, apart, strict=True):
            assert (one.tokens_in, one.tokens_out) == (other.tokens_in, other.tokens_out)


@torch.no_grad()
def test_the_first_stage_of_sparsevlm_is_that_of_every_view_alone():
    """By hand: raters by the view's own embeddings, groups out of its own dropped tokens."""
    inputs = CASE.row(CASE.inputs(), 1)
    model, pruner = CASE.model("eager"), build(CASE, "sparsevlm", 60, budget="per_tile")
    with CASE.prune(model, pruner, inputs) as trace:
        CASE.logits(model, inputs)
    (sample,) = trace.samples
    stage = sample.stages[0]
    dense = model(**inputs, output_attentions=True, output_hidden_states=True)
    first = CASE.visual(inputs)[0].nonzero()[0].item()
    columns = torch.arange(first, first + sample.num_visual)
    embedded, after = dense.hidden_states[0][0], dense.hidden_states[stage.layer + 1][0]
    labels, kept, groups, rated = labels_of(CASE, 1), [], [], set()
    for view, part in enumerate(by_turns(stage.num_left, labels.bincount().tolist())):
        own = (labels == view).nonzero().flatten()
        raters = select_raters(embedded[columns[own]], embedded[columns[-1] + 1 :])
        rated |= set(raters.tolist())
        rows = dense.attentions[stage.layer][0][:, columns[-1] + 1 + raters][:, :, columns[own]]
        scores = rows.mean((0, 1))
        count = next(k for k in range(part, 0, -1)
                     if k + recycled_counts(len(own) - k)[1] == part)  # fmt: skip
        keep, members = select_top(scores, count, recycled_counts(len(own) - count)[0])
        kept += own[keep].tolist()
        _, of, _ = reconstruct(after[columns[own[members]]], part - count)
        groups += [own[members][of == group].tolist() for group in range(part - count)]
    assert stage.kept == sorted(kept) and stage.raters == sorted(rated)
    assert list(map(sorted, stage.groups)) == list(map(sorted, groups))


@pytest.mark.parametrize("name", HOW)
def test_recycled_tokens_stay_with_their_view_through_all_stages(name):
    case, how = HOW[name]
    shared = traced(case, build(case, "sparsevlm", 60), **how)
    apart = traced(case, build(case, "sparsevlm", 60, budget="per_tile"), **how)
    for number, (one, other) in enumerate(zip(shared, apart, strict=True)):
        assert other.tokens_out == one.tokens_out and len(other.stages) == 3
        labels = labels_of(case, number)
        sizes, view_of = labels.bincount().tolist(), dict(enumerate(labels.tolist()))
        for stage in other.stages:
            for key, group in zip(stage.group_ids, stage.groups, strict=True):
                assert len(views := {view_of[token] for token in group}) == 1
                view_of[key] = views.pop()
            old = {key for key in stage.group_ids if key in stage.score_ids}
            left = [view_of[token] for token in (*stage.kept, *stage.group_ids)]
            parts = by_turns(stage.num_left, sizes)
            assert tuple(map(left.count, range(len(sizes)))) == parts
            # In every view what stays as itself has the highest scores.
            for view in range(len(sizes)):
                scores = {True: [], False: []}
                for key, score in zip(stage.score_ids, stage.scores, strict=True):
                    if view_of[key] == view:
                        scores[key in old or key in stage.kept].append(score)
                assert min(scores[True], default=1) >= max(scores[False], default=0)


def test_beams_and_no_cache_and_views_that_are_drawn_apart():
    pruner = build(CASE, "random", budget="per_tile")
    want = traced(CASE, pruner)
    for options in ({"num_beams": 2}, {"num_beams": 2, "use_cache": False}):
        found = traced(CASE, pruner, "generate", **options)
        assert kept(found[::2]) == kept(found[1::2]) == kept(want)
    labels, chosen = labels_of(CASE, 1), torch.zeros(CASE.counts[1])
    chosen[want[1].stages[0].kept] = 1
    assert not torch.equal(chosen[labels == 0], chosen[labels == 2])


@pytest.mark.parametrize(("method", "options", "said"), [
    ("sparsevlm-paper", {}, 'budget="per_tile" .* sparsevlm decides at run time .*use budget="sha'),
    ("sparsevlm-v1.0", {}, "sparsevlm decides at run time how many tokens stay"),
    ("dense", {}, "dense never prunes"),
    ("visionzip", {}, "visionzip looks into the vision tower"),
    ("fastv", {"budget": "per tile"}, "budget must be one of shared, per_tile; got 'per tile'"),
])  # fmt: skip
def test_methods_without_a_budget_per_tile(method, options, said):
    with pytest.raises(ValueError, match=said):
        build(CASE, method, **{"budget": "per_tile", **options})


WITHOUT = [case for case in FAMILIES.values() if not case.has_tiles]


@pytest.mark.parametrize("case", WITHOUT, ids=lambda case: case.name)
def test_models_without_tiles(case):
    pruner, inputs = build(case, "fastv-per-tile"), case.inputs()
    with case.prune(case.model(), pruner, inputs):
        with pytest.raises(ValueError, match='sees a picture as one; use budget="shared"'):
            case.logits(case.model(), inputs)


def test_the_sizes_of_pictures_that_were_encoded_before():
    """Then nothing says where the tiles are, unless the sizes are given again."""
    model, inputs, pruner = CASE.model(), CASE.inputs(), build(CASE, "fastv-per-tile")
    want = traced(CASE, pruner)
    pixels, sizes = inputs.pop("pixel_values"), inputs.pop("image_sizes")
    with torch.no_grad(), sv.prune(model, pruner) as trace:
        encoded = {"mm_encoder_outputs": {"image": model.get_image_features(pixels, sizes)}}
        for wrong in ({}, {"image_sizes": sizes.flip(0)}, {"image_sizes": sizes[:2]}):
            with pytest.raises(ValueError, match="give image_sizes .* with the question"):
                model(**inputs, **encoded, **wrong)
        model(**inputs, **encoded, image_sizes=sizes)
        assert trace.samples == want
        CASE.generate(model, {**inputs, **encoded, "image_sizes": sizes})
        assert kept(trace.samples) == kept(want)


def test_the_record_of_a_run_says_how_its_budget_is_shared():
    shared, apart = (build(CASE, name) for name in ("fastv", "fastv-per-tile"))
    assert apart.to_json() == {**shared.to_json(), "budget": "per_tile"}
    assert apart == build(CASE, "fastv", budget="per_tile") == pickle.loads(pickle.dumps(apart))
    assert shared == build(CASE, "fastv-per-tile", budget="shared")


def test_an_evaluation_asks_with_a_budget_per_tile(tmp_path):
    save_tiny("llava_next", tmp_path)
    how = {"device": "cpu", "dtype": "float32", "tokens": 20}
    one = Answerer(str(tmp_path), method="fastv-per-tile", **how)
    other = Answerer(str(tmp_path), method="fastv", budget="per_tile", **how)
    assert one.pruner == other.pruner and one.pruner.to_json()["budget"] == "per_tile"
    assert len(one.answer(["Why?"], [[picture(40, 20)]], max_new_tokens=2)) == 1
    shared = Answerer(str(tmp_path), method="fastv", **how)
    shared.answer(["Why?"], [[picture(40, 20)]], max_new_tokens=2)
    assert one.counts == shared.counts and one.counts[0][0] == 114


def test_a_graph_of_the_decoder_alone_knows_no_tiles():
    model, inputs = CASE.model(), CASE.inputs()
    with sv.capture(model), sv.prune(model, build(CASE, "fastv-per-tile"), static=True):
        with pytest.raises(ValueError, match=r"looks at .* tiles .*leave the block of capture\(\)"):
            CASE.logits(model, inputs)


def test_a_method_that_sorts_the_tokens_anew():
    @dataclass(frozen=True)
    class Backwards(sv.ScorePruner):
        def select(self, context):
            found = super().select(context)
            return replace(found, order=torch.arange(len(found.keep)).flip(0))

    pruner = Backwards((sv.PruningStage(1, 30),), score=lambda visual, *_: visual[:, 0])
    with CASE.prune(CASE.model(), PerTile(pruner), CASE.inputs(), questions=["?"]):
        with pytest.raises(ValueError, match='yours sorts the tokens .* use budget="shared"'):
            CASE.logits(CASE.model(), CASE.inputs())


def test_the_host_waits_for_the_sizes_alone(monkeypatch):
    """Once for a picture, however many stages there are."""
    one, three = (
        waits_in_cuts(
            monkeypatch, CASE, build(CASE, f"{name}-per-tile"), CASE.inputs(), static=True
        )
        for name in ("fastv", "sparsevlm")
    )
    assert sorted(one) == sorted(three)
    assert "nonzero" not in one
