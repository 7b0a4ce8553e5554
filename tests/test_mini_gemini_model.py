"""Mini-Gemini: what must hold whatever the weights; errors, sizes, files."""

from __future__ import annotations

import pytest
import torch
from tiny_mini_gemini import small_config, small_inputs, small_mini_gemini
from torch import nn
from transformers import Qwen2Config

from sparsevlm.models.mini_gemini.checkpoint import official_name
from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.modeling import MiniGeminiForConditionalGeneration
from sparsevlm.models.mini_gemini.vision import PatchInfoMining, windows

VIEWS = ["base", "hd"]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def small():
    return small_mini_gemini()


def features(model, inputs):
    return model.model.get_image_features(inputs["pixel_values"], inputs["pixel_values_aux"])


# --- Mining ----------------------------------------------------------------------------------


@pytest.mark.parametrize("views", VIEWS)
def test_mining_that_finds_nothing_leaves_llava(views):
    model = small_mini_gemini(views=views)
    value = model.model.mining.value[1]
    value.weight.zero_()
    value.bias.zero_()
    inputs = small_inputs(model.config)
    tokens = model.model._clip(inputs["pixel_values"].reshape(-1, 3, 28, 28))
    plain = model.model.projector(tokens).reshape(2, -1, 16, 64)
    if views == "hd":
        plain = torch.cat([plain[:, 4:], plain[:, :4]], dim=1)
    torch.testing.assert_close(features(model, inputs), plain.flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_token_sees_its_own_window_only(small):
    tokens, aux = torch.randn(1, 16, 32), torch.randn(1, 80, 16, 16)
    before = small.model.mining(tokens, aux)
    aux[:, :, 4:8, 8:12] = 0.5  # the window in row 1, column 2
    changed = (small.model.mining(tokens, aux) - before).abs().amax(-1)[0]
    assert changed.nonzero().flatten().tolist() == [6]


def half_precision_mining(token, cells):
    """Mining without projections: one token, one channel value per cell."""
    mining = PatchInfoMining(32, 32)
    mining.query = mining.key = mining.value = nn.Identity()
    aux = torch.tensor(cells).half().reshape(1, 1, 2, 2).expand(1, 32, 2, 2)
    return mining(torch.full((1, 1, 32), token).half(), aux)


def test_keys_are_divided_before_the_product():
    # 50 x 50 x 32 is infinite in float16, 50 x (50 / sqrt 32) x 32 is not.
    found = half_precision_mining(50.0, [40.0, 45.0, 50.0, 55.0])
    assert torch.equal(found, torch.full_like(found, 105.0))


def test_infinite_products_become_the_largest_number():
    # All four products overflow, so all four cells count alike.
    found = half_precision_mining(400.0, [400.0, 404.0, 408.0, 412.0])
    assert torch.equal(found, torch.full_like(found, 806.0))


@pytest.mark.parametrize(("cells", "tokens"), [(18, 16), (16, 15)])
def test_a_map_that_cannot_be_shared_out(cells, tokens):
    with pytest.raises(ValueError, match=f"{cells} x {cells} cells cannot be shared out"):
        windows(torch.zeros(1, 2, cells, cells), tokens)


def test_hd_order():
    model = small_mini_gemini(views="hd")
    base = small_mini_gemini()
    inputs = small_inputs(model.config, (5,))
    # Every view painted in its own colour: the whole image, the last view, comes first.
    paint = torch.arange(5.0)[None, :, None, None, None].expand(1, 5, 3, 28, 28)
    model.model.mining.value[1].weight.zero_()
    base.model.mining.value[1].weight.zero_()
    got = features(model, {**inputs, "pixel_values": paint}).reshape(5, 16, 64)
    alone = small_inputs(base.config, (5,))
    for place, view in enumerate([4, 0, 1, 2, 3]):
        want = features(base, {**alone, "pixel_values": paint[:, view]})[0]
        torch.testing.assert_close(got[place], want, atol=1e-5, rtol=1e-5)


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i: i.pop("pixel_values_aux"), "without pixel_values_aux"),
        (lambda i: i.update(pixel_values=i["pixel_values"][..., :14]), "takes pixel_values"),
        (lambda i: i.update(pixel_values_aux=i["pixel_values_aux"][:1]), "takes pixel_values"),
        (lambda i: i["input_ids"][0, 8:9].fill_(7), "31 placeholders"),
        (lambda i: i.pop("pixel_values"), "no pixel_values"),
        (lambda i: i.pop("input_ids"), "exactly one of input_ids"),
        (lambda i: i.update(inputs_embeds=torch.zeros(2, 4, 64)), "exactly one of input_ids"),
        (lambda i: (i.pop("input_ids"), i.update(inputs_embeds=torch.zeros(2, 28, 64))),
         "came with inputs_embeds"),
    ],
)  # fmt: skip
def test_refusals(small, change, words):
    inputs = small_inputs(small.config)
    change(inputs)
    with pytest.raises(ValueError, match=words):
        small(**inputs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size_aux": 60}, "multiple of 16"),
        ({"image_global": True}, "image_global"),
        ({"image_aspect_ratio": "anyres"}, "'pad' or 'square', got 'anyres'"),
        ({"text_config": Qwen2Config()}, "one of llama, gemma, got 'qwen2'"),
    ],
)
def test_configurations_that_do_not_fit(options, words):
    sizes = small_config().to_dict()
    with pytest.raises(ValueError, match=words):
        MiniGeminiConfig(**{**sizes, **options})


# --- Sizes and files -------------------------------------------------------------------------


def test_full_size():
    with torch.device("meta"):
        model = MiniGeminiForConditionalGeneration(MiniGeminiConfig())
    config = model.config
    assert (config.num_visual, config.window, config.aux_channels) == (576, 8, 2880)
    assert config.image_token_id == 32000
    shapes = {official_name(name): list(w.shape) for name, w in model.state_dict().items()}
    clip = [name for name in shapes if name.startswith("model.vision_tower.")]
    aux = [name for name in shapes if name.startswith("model.vision_tower_aux.")]
    assert (len(clip), len(aux)) == (391, 340)
    assert sum(p.numel() for p in model.model.vision_tower_aux.parameters()) == 196_227_264
    bridge = {name: shape for name, shape in shapes.items() if "mm_" in name or "vlm_uni" in name}
    want = {"mm_projector.0": [4096, 1024], "mm_projector.2": [4096, 4096]}
    for name, channels in (("query", 1024), ("aux", 2880), ("val", 2880)):
        want[f"vlm_uni_{name}_projector.0"] = [channels]
        want[f"vlm_uni_{name}_projector.1"] = [1024, channels]
    assert bridge == {
        **{f"model.{name}.weight": shape for name, shape in want.items()},
        **{f"model.{name}.bias": shape[:1] for name, shape in want.items()},
    }
    assert len(bridge) == 16 and len(shapes) == 16 + 391 + 340 + 291


def test_hd_sizes():
    config = MiniGeminiConfig(image_size_aux=1536, image_grid=2, image_global=True)
    assert (config.num_views, config.num_visual, config.window) == (5, 2880, 8)


@pytest.mark.parametrize("text", ["llama", "gemma"])
def test_saved_and_loaded(tmp_path, text):
    model = small_mini_gemini(text, "hd")
    model.save_pretrained(tmp_path)
    again = MiniGeminiForConditionalGeneration.from_pretrained(tmp_path)
    assert not again.training and again.config.num_visual == 80
    for key in ("image_token_id", "image_size_aux", "image_grid", "image_global"):
        assert getattr(again.config, key) == getattr(model.config, key)
    for key in ("text_config", "vision_config", "aux_config"):
        assert type(getattr(again.config, key)) is type(getattr(model.config, key))
    inputs = small_inputs(model.config)
    assert torch.equal(model(**inputs).logits, again(**inputs).logits)
