"""One adapter per family of models; importing this package registers them all."""

from __future__ import annotations

from sparsevlm.families import llava as llava
from sparsevlm.families import qwen_vl as qwen_vl
from sparsevlm.families import video_llava as video_llava
from sparsevlm.families.mini_gemini import adapter as adapter
