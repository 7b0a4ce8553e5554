"""The words of the miniature and its tokenizer: one word, one token."""

from __future__ import annotations

from sparsevlm.miniature.glyphs import GLYPHS
from sparsevlm.miniature.scenes import CARD_COLORS, HEIGHTS, SHAPE_COLORS, SHAPES, SIDES

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
COUNTS = ("0", "1", "2", "3")
OPTIONS = ("A", "B", "C", "D")
CORNER_WORDS = ("zero", "three", "four", "many")

# Words a patch can depict, and the one that every other patch depicts.
DEPICTED = (
    *SHAPES,
    "card",
    *SHAPE_COLORS,
    *CARD_COLORS,
    *GLYPHS,
    *SIDES,
    *HEIGHTS,
    "background",
)
_TEMPLATE = ("USER", "ASSISTANT", ":", "?", ".", ",")
_STATEMENTS = ("color", "shape", "there", "letter", "side", "height", "count", "corners", "beside")
_ENGLISH = (
    "what which how where is are there a an the of on in at it this has have many high image "
    "picture thing things written yes no none or and to describe side does can you see "
    "tell me about choose correct answer option with one"
).split()

WORDS = tuple(
    dict.fromkeys(
        (
            *SPECIAL,
            *_TEMPLATE,
            *DEPICTED,
            *COUNTS,
            *OPTIONS,
            *CORNER_WORDS,
            *_STATEMENTS,
            *_ENGLISH,
        )
    )
)
INDEX = {word: index for index, word in enumerate(WORDS)}
VOCABULARY_SIZE = -(-len(WORDS) // 16) * 16

PAD, BOS, EOS, UNK, IMAGE = range(5)
BEFORE_IMAGE = ("<s>", "USER", ":")


def encode(words: list[str], index: dict[str, int] = INDEX) -> list[int]:
    """Ids of words; a word outside the vocabulary raises KeyError (training text is closed)."""
    return [index[word] for word in words]


def build_tokenizer(index: dict[str, int] = INDEX, placeholders: tuple[str, ...] = ("<image>",)):
    """A word-level `PreTrainedTokenizerFast`; unknown words become <unk>.

    Parameters
    ----------
    index : dict of int
        Words to ids; a miniature with more words than the first one has its own.
    placeholders : tuple of str
        Words in place of visual tokens.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(index, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=list(placeholders),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
