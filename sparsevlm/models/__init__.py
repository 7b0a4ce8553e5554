"""One adapter per architecture; importing this package registers them all."""

from __future__ import annotations

from sparsevlm.models import llava as llava
from sparsevlm.models import qwen_vl as qwen_vl
from sparsevlm.models import video_llava as video_llava
from sparsevlm.models.mini_gemini import adapter as adapter
