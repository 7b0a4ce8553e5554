"""Ship a trained miniature: Hugging Face files in half precision, with checksums."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from transformers import GenerationConfig, LlavaProcessor, PreTrainedModel

from sparsevlm.miniature.registry import get_miniature
from sparsevlm.miniature.vocabulary import BOS, EOS, PAD
from sparsevlm.miniature.weights import CHECKSUMS, sha256
from sparsevlm.models.prompt_builder import PromptBuilder
from sparsevlm.models.prompts.clip import clip_processor
from sparsevlm.models.prompts.llava import LlavaPromptBuilder
from sparsevlm.models.prompts.mini_gemini import MiniGeminiPromptBuilder
from sparsevlm.models.prompts.qwen_vl import QwenPromptBuilder


def export(model: PreTrainedModel, folder: Path, name: str = "mini-llava") -> None:
    """Write a trained model as float16 safetensors with its tokenizer, processor and checksums.

    ``name`` decides the processor. The folder is written atomically: everything is written beside
    it and renamed.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, do_sample=False, max_new_tokens=8
    )
    model.half().save_pretrained(partial)
    builder = get_miniature(name).builder(model.config)
    builder.tokenizer.save_pretrained(partial)
    if processor := _processor(builder):
        processor.save_pretrained(partial)
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(partial.iterdir())]
    (partial / CHECKSUMS).write_text("".join(lines), "utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(partial, folder)


def _processor(builder: PromptBuilder):
    """What transformers can load beside the tokenizer to make the same pixels."""
    if isinstance(builder, MiniGeminiPromptBuilder):
        return None
    if isinstance(builder, QwenPromptBuilder):
        return builder.image_processor("image")
    vision = builder.config.vision_config
    images = clip_processor(vision.image_size, builder.fit, builder.mean, builder.std)
    if not isinstance(builder, LlavaPromptBuilder):
        return images
    return LlavaProcessor(
        image_processor=images, tokenizer=builder.tokenizer, patch_size=vision.patch_size,
        vision_feature_select_strategy=builder.config.vision_feature_select_strategy,
        num_additional_image_tokens=1, image_token="<image>",
    )  # fmt: skip
