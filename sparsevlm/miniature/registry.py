"""Which miniatures there are, and the kit of each: everything that depends on its architecture.

A kit is a module with

- ``BENCHMARKS``, names of the miniature benchmarks that the model answers;
- ``build_processor()``, what turns pictures and text into tensors, with ``save_pretrained``;
- ``load(folder)``, the model in float32 evaluation mode;
- ``samples(benchmark, n, seed)``, the first samples of a miniature benchmark, whole groups only;
- ``prompt(question)``, the text that the processor gets;
- ``media(sample)``, the pictures of a sample: one, or the frames of a clip, in order;
- ``batch_inputs(processor, samples)``, tensors for ``generate``, padded on the left;
- ``num_visual(config)``, visual tokens of the nominal picture or clip, from ``config.json``
  (`NUM_VISUAL` declares them, for planning loads no kit).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

KITS = {
    "mini-llava": "llava",
    "mini-llava-16": "llava",
    "mini-gemini": "mini_gemini",
    "mini-video-llava": "video_llava",
    "mini-qwen2-vl": "qwen2_vl",
}
NAMES = tuple(KITS)
STANDS_FOR = {
    "llava": "LLaVA-1.5",
    "mini_gemini": "Mini-Gemini",
    "video_llava": "Video-LLaVA",
    "qwen2_vl": "Qwen2-VL",
}
NUM_VISUAL = {
    "mini-llava": 576,
    "mini-llava-16": 576,
    "mini-gemini": 576,
    "mini-video-llava": 2056,
    "mini-qwen2-vl": 1296,
}


def kit_name(name: str) -> str:
    """Return the architecture of a miniature, the name of its package.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones.
    """
    if name not in KITS:
        raise ValueError(f"unknown miniature {name!r}; choose from {', '.join(NAMES)}")
    return KITS[name]


def get_kit(name: str) -> ModuleType:
    """Return the kit of a miniature, imported when it is asked for; see `kit_name`."""
    return import_module(f"{__package__}.{kit_name(name)}.kit")


def marker_of(model: str) -> str:
    """Return what every number of a miniature must say; "" for any other model."""
    return f"miniature model, not {STANDS_FOR[KITS[model]]}" if model in KITS else ""
