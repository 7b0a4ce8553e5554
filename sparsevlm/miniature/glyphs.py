"""A 5 x 7 pixel font for the letters on the cards.

A, B, C, D, G, I, O and Q are left out: the first four name the options of a multiple-choice
question, the others look like each other at this size.
"""

from __future__ import annotations

from functools import cache

import numpy as np

# Seven rows per letter, five bits per row, most significant bit on the left.
_ROWS = {
    "E": "1f 10 10 1e 10 10 1f",
    "F": "1f 10 10 1e 10 10 10",
    "H": "11 11 11 1f 11 11 11",
    "J": "07 02 02 02 02 12 0c",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1f",
    "M": "11 1b 15 15 11 11 11",
    "N": "11 19 19 15 13 13 11",
    "P": "1e 11 11 1e 10 10 10",
    "R": "1e 11 11 1e 14 12 11",
    "S": "0f 10 10 0e 01 01 1e",
    "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e",
    "V": "11 11 11 11 0a 0a 04",
    "W": "11 11 11 15 15 1b 11",
    "X": "11 11 0a 04 0a 11 11",
    "Y": "11 11 0a 04 04 04 04",
    "Z": "1f 01 02 04 08 10 1f",
}
GLYPHS = tuple(_ROWS)


@cache
def glyph_mask(letter: str) -> np.ndarray:
    """The letter as a [7, 5] float32 mask of zeros and ones."""
    rows = [int(row, 16) for row in _ROWS[letter].split()]
    bits = [[(row >> (4 - column)) & 1 for column in range(5)] for row in rows]
    mask = np.array(bits, np.float32)
    return mask
