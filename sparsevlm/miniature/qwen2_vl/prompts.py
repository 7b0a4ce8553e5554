"""Words of the miniature Qwen2-VL and its prompt: the picture between two marks."""

from __future__ import annotations

from sparsevlm.miniature.qwen2_vl.model import MARKS
from sparsevlm.miniature.vocabulary import BOS, IMAGE, INDEX, asked

BEFORE = ("<s>", "USER", ":", "<vision_start>")
AFTER = ("<vision_end>",)
IDS = INDEX | MARKS


def encode(words: list[str] | tuple[str, ...]) -> list[int]:
    """Ids of words; a word outside the vocabulary raises KeyError (training text is closed)."""
    return [IDS[word] for word in words]


def prompt(question: str) -> str:
    """The prompt as text, with one ``<image>`` in place of all visual tokens."""
    return " ".join((*BEFORE[1:], "<image>", *AFTER, question, "ASSISTANT", ":"))


def prompt_ids(question: str, num_visual: int) -> list[int]:
    """Token ids of a question about a picture of ``num_visual`` tokens.

    Words that the vocabulary does not have become ``<unk>``.

    Raises
    ------
    ValueError
        The question is empty.
    """
    unknown = INDEX["<unk>"]
    text = [INDEX.get(word, unknown) for word in (*asked(question).split(), "ASSISTANT", ":")]
    return [BOS, *encode(BEFORE[1:]), *[IMAGE] * num_visual, *encode(AFTER), *text]
