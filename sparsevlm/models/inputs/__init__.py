"""Model inputs from pictures, frames and questions, without torchvision.

The processors of Qwen-VL and Video-LLaVA refuse to load without it, because of their video parts.
These functions need a tokenizer, Pillow and the model's config; each returns what the model takes.
"""

from __future__ import annotations

from sparsevlm.models.inputs.llava import llava_inputs as llava_inputs
from sparsevlm.models.inputs.qwen_vl import qwen_vl_inputs as qwen_vl_inputs
from sparsevlm.models.inputs.samples import Sample as Sample
from sparsevlm.models.inputs.video_llava import video_llava_inputs as video_llava_inputs
