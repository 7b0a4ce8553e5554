"""The families under test: a tiny model each, a ragged batch for it, and where its tokens are.

A family joins with one entry in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import tiny_llava_next as llava_next
import tiny_llava_onevision as onevision
import tiny_mini_gemini as mini_gemini
import tiny_qwen_vl as qwen
import tiny_video_llava as video
import torch
from spread import spread
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import sparsevlm as sv

NUM_LAYERS, VOCABULARY, BEFORE, IMAGE_TOKEN = 8, 128, (1, 10, 11), 4
LENGTHS = (6, 11, 9)
KERNELS = ("sdpa", "eager")
TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
    "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip


def small_llava(seed: int = 0, attention: str = "sdpa") -> LlavaForConditionalGeneration:
    """LLaVA with 12 x 12 visual tokens."""
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        image_size=48, patch_size=4, projection_dim=32,
    )  # fmt: skip
    config = LlavaConfig(
        text_config=LlamaConfig(vocab_size=VOCABULARY, **TEXT), vision_config=vision,
        image_token_id=IMAGE_TOKEN, vision_feature_layer=-1, image_seq_length=144,
        vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip
    kind = LlavaForConditionalGeneration
    return spread(kind._from_config(config, attn_implementation=attention), seed)


def small_llama(seed: int = 0, attention: str = "sdpa") -> LlamaForCausalLM:
    """A language model; ids from `VOCABULARY` on stand for visual tokens, each once."""
    config = LlamaConfig(vocab_size=VOCABULARY + 144, **TEXT)
    return spread(LlamaForCausalLM._from_config(config, attn_implementation=attention), seed)


def left_padded(lengths: tuple[int, ...], visual: Callable, generator) -> dict[str, Tensor]:
    """Rows of three tokens, the visual tokens and a question."""
    rows = []
    for length in lengths:
        question = torch.randint(5, VOCABULARY, (length,), generator=generator).tolist()
        rows.append([*BEFORE, *visual(), *question])
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        ),
    }


def llava_inputs(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> dict[str, Tensor]:
    """A batch of one image per row."""
    generator = torch.Generator().manual_seed(seed)
    inputs = left_padded(lengths, lambda: [IMAGE_TOKEN] * 144, generator)
    return {**inputs, "pixel_values": torch.randn(len(lengths), 3, 48, 48, generator=generator)}


def llama_inputs(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> dict[str, Tensor]:
    """A batch whose visual tokens are other ones in every row."""
    generator = torch.Generator().manual_seed(seed)
    return left_padded(
        lengths, lambda: (VOCABULARY + torch.randperm(144, generator=generator)).tolist(), generator
    )


def plain_row(inputs: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """One sample of a batch, without its padding."""
    real = inputs["attention_mask"][index].bool()
    shape = inputs["input_ids"].shape
    return {
        name: value[index][real][None] if value.shape == shape else value[index : index + 1]
        for name, value in inputs.items()
    }


@dataclass(frozen=True)
class Family:
    """A family under test.

    Attributes
    ----------
    build, inputs, row
        ``build(seed=..., attention=...)`` a model, ``inputs()`` a left-padded batch of three,
        ``row(inputs, index)`` one of them.
    visual_ids
        Token ids of the visual tokens. They are never generated, but by a model that is told where
        the visual tokens are.
    counts, grids
        Visual tokens and grid of every picture of ``inputs()``, one in each row, or ``per_sample``.
    num_visual
        A middle size, for `make_pruner`.
    told
        Whether the model must be told where its visual tokens are.
    has_mrope
        Whether positions have rows and columns.
    has_tower, has_tiles
        Whether it has a CLIP vision tower, with a CLS token; whether it sees pictures in tiles.
    """

    name: str
    build: Callable[..., nn.Module]
    inputs: Callable[..., dict[str, Tensor]]
    row: Callable[[dict[str, Tensor], int], dict[str, Tensor]]
    visual_ids: tuple[int, ...]
    counts: tuple[int, ...]
    grids: tuple[tuple[int, ...] | None, ...]
    num_visual: int = 144
    told: bool = False
    has_mrope: bool = False
    has_tower: bool = False
    has_tiles: bool = False
    per_sample: tuple[int, ...] = (1, 1, 1)

    def fresh(self, attention: str = "sdpa", seed: int = 0) -> nn.Module:
        """A new model; the same one for the same seed."""
        with torch.random.fork_rng():
            # Parameters with one dimension keep what transformers gives them, at random.
            torch.manual_seed(seed)
            return self.build(seed=seed, attention=attention)

    def model(self, attention: str = "sdpa") -> nn.Module:
        """One model per test run: pruning leaves it as it was."""
        return _model(self.name.removesuffix("-several"), attention)

    def visual(self, inputs: dict[str, Tensor]) -> Tensor:
        """Where the visual tokens are, ``[batch, tokens]`` bool."""
        return torch.isin(inputs["input_ids"], torch.tensor(self.visual_ids))

    def prune(self, model: nn.Module, pruner: sv.Pruner, inputs: dict[str, Tensor], **options):
        """The context manager, told about the visual tokens where it must be."""
        if self.told:
            options["visual_mask"] = self.visual(inputs)
        return sv.prune(model, pruner, **options)

    @torch.no_grad()
    def logits(self, model: nn.Module, inputs: dict[str, Tensor], **options) -> Tensor:
        """Logits of one forward."""
        return model(**inputs, **options).logits

    def generate(self, model: nn.Module, inputs: dict[str, Tensor], **options) -> Tensor:
        """The new tokens, greedy unless the options say otherwise."""
        return self._generate(model, inputs, **options)[:, inputs["input_ids"].shape[1] :]

    def answer(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Greedy tokens of one sample, and the logits ``[vocabulary]`` behind the prompt."""
        found = self._generate(model, inputs, return_dict_in_generate=True, output_logits=True)
        return found.sequences[:, inputs["input_ids"].shape[1] :], found.logits[0][0]

    @torch.no_grad()
    def _generate(self, model: nn.Module, inputs: dict[str, Tensor], **options):
        how = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, **options}
        if not self.told:
            how["suppress_tokens"] = list(self.visual_ids)
        return model.generate(**inputs, **how)


QWEN = {
    "inputs": qwen.tiny_qwen_inputs, "row": qwen.qwen_row,
    "visual_ids": (qwen.IMAGE_TOKEN, qwen.VIDEO_TOKEN), "counts": qwen.NUM_VISUAL,
    "grids": qwen.CELLS, "has_mrope": True,
}  # fmt: skip
VIDEO = (video.NUM_VIDEO, video.NUM_IMAGE, video.NUM_VIDEO)
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "llava", small_llava, llava_inputs, plain_row, (IMAGE_TOKEN,), (144,) * 3,
            ((12, 12),) * 3, has_tower=True,
        ),
        Family(
            "llama", small_llama, llama_inputs, plain_row,
            tuple(range(VOCABULARY, VOCABULARY + 144)), (144,) * 3, ((12, 12),) * 3, told=True,
        ),
        Family(
            "llava-next", llava_next.tiny_llava_next, llava_next.tiny_llava_next_inputs, plain_row,
            (llava_next.IMAGE_TOKEN,), llava_next.NUM_VISUAL, (None,) * 3, 110, has_tiles=True,
        ),
        Family(
            "llava-onevision", onevision.tiny_llava_onevision,
            onevision.tiny_llava_onevision_inputs, onevision.onevision_row,
            (onevision.IMAGE_TOKEN, onevision.VIDEO_TOKEN), onevision.NUM_VISUAL, (None,) * 3, 91,
            has_tiles=True,
        ),
        Family("qwen2-vl", qwen.tiny_qwen2_vl, **QWEN),
        Family("qwen2.5-vl", qwen.tiny_qwen2_5_vl, **QWEN),
        Family(
            "video-llava", video.tiny_video_llava, video.tiny_video_inputs, video.video_row,
            (video.IMAGE_TOKEN, video.VIDEO_TOKEN), VIDEO, ((4, 6, 6), (6, 6), (4, 6, 6)), 100,
            has_tower=True,
        ),
        Family(
            "mini-gemini", mini_gemini.tiny_mini_gemini, mini_gemini.tiny_mini_gemini_inputs,
            mini_gemini.row, (mini_gemini.IMAGE_TOKEN,), (256,) * 3, ((16, 16),) * 3, 256,
            has_tower=True,
        ),
    )
}  # fmt: skip


@cache
def _model(name: str, attention: str) -> nn.Module:
    return FAMILIES[name].fresh(attention)
