"""The words of the miniature Video-LLaVA: those of the miniature LLaVA, then its own.

The old words keep their ids, so the embeddings of the base can be copied row by row.
"""

from __future__ import annotations

from functools import partial

from sparsevlm.miniature import vocabulary as base
from sparsevlm.miniature.vocabulary import BOS, EOS, IMAGE, PAD
from sparsevlm.miniature.vocabulary import WORDS as BASE_WORDS

NUM_FRAMES = 8
FRAME_WORDS = tuple(f"f{number}" for number in range(1, NUM_FRAMES + 1))
# What a thing does, as a list says it in one word; "left", "right" and "turns" have more meanings.
ACTIONS = (
    "left", "right", "up", "down", "stays", "appears", "disappears", "changes", "turns", "flashes",
)  # fmt: skip
_ENGLISH = (
    "moves move stay appear disappear change turn flash times happens first before after becomes "
    "become into do video who does go goes end start then also last when time while not clip"
).split()

WORDS = tuple(dict.fromkeys((*BASE_WORDS, "<video>", *FRAME_WORDS, *ACTIONS, *_ENGLISH)))
INDEX = {word: index for index, word in enumerate(WORDS)}
VOCABULARY_SIZE = -(-len(WORDS) // 16) * 16
VIDEO = INDEX["<video>"]

__all__ = ["BOS", "EOS", "IMAGE", "PAD", "VIDEO", "WORDS", "build_tokenizer", "encode"]


encode = partial(base.encode, index=INDEX)


def build_tokenizer():
    """As `sparsevlm.miniature.vocabulary.build_tokenizer`, with the words of clips."""
    return base.build_tokenizer(INDEX, ("<image>", "<video>"))
