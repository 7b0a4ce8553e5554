"""The families again: a batch of samples with two images, with one, and with three side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .cases import FAMILIES, Family

# Whose pictures the samples show: of two sizes, where the model takes those; Video-LLaVA's images.
SHOWN = {
    "llava": ((0, 1), (2,), (1, 0, 2)), "llama": ((0, 1), (2,), (1, 0, 2)),
    "llava-next": ((0, 1), (2,), (1, 0, 2)), "qwen2-vl": ((0, 1), (1,), (1, 0, 0)),
    "qwen2.5-vl": ((0, 1), (1,), (1, 0, 0)), "video-llava": ((1, 1), (1,), (1, 1, 1)),
}  # fmt: skip


def prompt_of(family: Family, rows: Sequence[int], apart: bool = True) -> dict[str, Tensor]:
    """One sample that shows the pictures of some rows of a batch, which all differ.

    With a question after each of them, or side by side with one question.
    """
    parts = [family.row(family.inputs(), row) for row in rows]
    places, found = [], {}
    for number, part in enumerate(parts):
        visual = family.visual(part)[0].tolist()
        first, last = visual.index(True), len(visual) - visual[::-1].index(True)
        start = 0 if number == 0 else (1 if apart else first)
        places.append(slice(start, len(visual) if apart or part is parts[-1] else last))
    for name in {name: None for part in parts for name in part}:
        having = [part[name] for part in parts if name in part]
        if having[0].shape == parts[0]["input_ids"].shape or name == "input_ids":
            pieces = zip(having, places, strict=True)
            found[name] = torch.cat([one[:, place] for one, place in pieces], 1)
        elif name.startswith("pixel_values"):
            found[name] = torch.cat([one * (-1) ** k for k, one in enumerate(having)])
        else:
            found[name] = torch.cat(having)
    return found


def batch_of(prompts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The samples with padding on the left."""
    longest, found = max(one["input_ids"].shape[1] for one in prompts), {}
    for name in {name: None for one in prompts for name in one}:
        having = [one[name] for one in prompts if name in one]
        if all(one[name].shape == one["input_ids"].shape for one in prompts if name in one):
            pad = torch.nn.functional.pad
            having = [pad(one, (longest - one.shape[1], 0)) for one in having]
        found[name] = torch.cat(having)
    return found


def _several(family: Family) -> Family:
    shown = SHOWN[family.name]
    numbers = [row for rows in shown for row in rows]
    # Qwen's own positions refuse images without marks between them, and a mask does not tell them.
    apart = family.told or family.has_mrope
    prompts = [prompt_of(family, rows, apart or len(rows) < 3) for rows in shown]
    return replace(
        family,
        name=f"{family.name}-several",
        inputs=lambda: batch_of(prompts),
        row=lambda inputs, index: dict(prompts[index]),
        counts=tuple(family.counts[row] for row in numbers),
        grids=tuple(family.grids[row] for row in numbers),
        num_visual=36 if family.name == "video-llava" else family.num_visual,
        per_sample=tuple(map(len, shown)),
    )


SEVERAL = {f"{name}-several": _several(FAMILIES[name]) for name in SHOWN}
