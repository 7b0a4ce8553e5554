"""CDPruner: a subset that is diverse and relevant to the question, by a determinantal process.

Source
------
CDPruner (arXiv 2506.10967), section 3; behavior of the official `llava_arch.py` and
`clip_encoder.py`. The paper takes the similarity to the question for relevance; the code, which is
followed here, takes its negative.

Difference
----------
A language model has no text tower, so its CLIP has to be given. ``words`` is a substitute for a
model without one, and not the published method: projected tokens are compared with the embeddings
of the words after the image (DEVIATIONS.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from sparsevlm.core.interface import PruningContext, Selection
from sparsevlm.methods.bases import InputPruner

if TYPE_CHECKING:
    from torch import Tensor

WORDS = "words"
INSTRUCTION = "Answer the question using a single word or phrase."
SEGMENT = 77  # token ids that CLIP's text tower takes
TINY = 1e-6


@dataclass(frozen=True)
class CDPruner(InputPruner):
    """Greedy determinantal selection, similarity weighted by relevance; in raster order.

    Parameters
    ----------
    stages, positions
        See `InputPruner`.
    clip
        Folder of the CLIP whose vision tower the model has, with its text tower and tokenizer;
        ``"words"``: the substitute.
    """

    clip: str = ""

    name: ClassVar[str] = "cdpruner"

    @property
    def needs_tower(self) -> bool:
        """Whether the vision tower is looked at: not by the substitute."""
        return self.clip != WORDS

    @classmethod
    def with_words(
        cls, tokens: int, num_layers: int, num_visual: int, positions: str = "renumbered"
    ) -> CDPruner:
        """The substitute at a budget."""
        found = cls.for_budget(tokens, num_layers, num_visual)
        return cls(found.stages, positions, WORDS)

    def select(self, context: PruningContext) -> Selection:
        """Similarity of the projected tokens, relevance in CLIP's space."""
        if self.clip == WORDS:
            image, text = context.inputs_visual, context.inputs_text
        else:
            clip, tokenizer = loaded(self.clip)
            clip.to(context.visual.device)
            image = image_embeddings(clip, context.seen.tower().hidden)
            question = context.seen.question().replace(INSTRUCTION, "").strip()
            text = text_embeddings(clip, tokenizer(question).input_ids)
        weight = relevance(image, text)
        return Selection(greedy(context.visual, weight, self.count(context)).sort().values)


@lru_cache(maxsize=1)
def loaded(folder: str) -> tuple[Any, Any]:
    """A CLIP in float32 and its tokenizer, from the disk."""
    from transformers import AutoTokenizer, CLIPModel

    if not folder:
        raise ValueError(
            "CDPruner compares the question with the image in CLIP's space, and the model has no "
            "text tower: give clip=, a folder with the CLIP that its vision tower comes from "
            '(openai/clip-vit-large-patch14-336 for LLaVA-1.5), or use "cdpruner-words"'
        )
    try:
        clip = CLIPModel.from_pretrained(folder, local_files_only=True).float().eval()
        return clip, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except OSError as error:
        raise ValueError(
            f"clip={folder!r} is no CLIP on this machine; give the folder, or the name after "
            f"`hf download {folder}`"
        ) from error


def image_embeddings(clip: Any, hidden: Tensor) -> Tensor:
    """``[n, channels]`` in CLIP's space of the tower's ``[n, hidden]``."""
    wide = clip.config.vision_config.hidden_size
    if hidden.shape[-1] != wide:
        raise ValueError(
            f"the model's vision tower has {hidden.shape[-1]} channels and the given CLIP {wide}: "
            "give clip= the CLIP that the tower comes from"
        )
    return clip.visual_projection(clip.vision_model.post_layernorm(hidden.float()))


def text_embeddings(clip: Any, ids: list[int]) -> Tensor:
    """``[segments, channels]`` of a text in CLIP's space: its ids, cut into rows of `SEGMENT`."""
    import torch

    rows = -(-len(ids) // SEGMENT)
    padded = torch.zeros(rows * SEGMENT, dtype=torch.int64, device=clip.device)
    padded[: len(ids)] = torch.tensor(ids, device=clip.device)
    mask = (torch.arange(len(padded), device=clip.device) < len(ids)).long()
    found = clip.get_text_features(padded.view(rows, -1), attention_mask=mask.view(rows, -1))
    return getattr(found, "pooler_output", found)


def relevance(image: Tensor, text: Tensor) -> Tensor:
    """``[n]`` from about 0 to 1: the less similar to the rows of the text on average, the more."""
    from torch.nn.functional import normalize

    image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
    found = -(image @ text.T).mean(dim=1)
    return (found - found.min() + TINY) / (found.max() - found.min()).clamp_min(TINY)


def greedy(features: Tensor, weight: Tensor, count: int) -> Tensor:
    """The greedy most probable subset of a determinantal point process.

    Parameters
    ----------
    features
        ``[n, channels]``, compared by cosine.
    weight
        ``[n]`` relevance.
    count
        How many.

    Returns
    -------
    Tensor
        ``[count]`` indices in the order of selection.
    """
    import torch
    from torch.nn.functional import normalize

    unit = normalize(features.float(), dim=-1)
    kernel = weight[:, None] * (unit @ unit.T) * weight
    gain, order = kernel.diagonal().clone(), []
    rows = kernel.new_zeros(count, len(kernel))
    for step in range(count):
        best = gain.argmax()[None]
        known = rows[:step]
        row = kernel.index_select(0, best)[0] - known.index_select(1, best)[:, 0] @ known
        # Beyond the kernel's rank gains are rounding noise, and may be negative.
        rows[step] = row / gain.index_select(0, best).clamp_min(torch.finfo(gain.dtype).tiny).sqrt()
        gain = (gain - rows[step].square()).index_fill(0, best, -math.inf)
        order.append(best)
    return torch.cat(order)
