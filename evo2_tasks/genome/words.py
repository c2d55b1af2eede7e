"""Composition of sequences: how often each word of three bases occurs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

WORD_LENGTH: Final = 3

WORDS: Final = tuple("".join(word) for word in product("ACGT", repeat=WORD_LENGTH))
"""All words, in alphabetical order."""

Counts = npt.NDArray[np.int64]

_CODES: Final = np.full(256, 4, dtype=np.uint8)
_CODES[list(b"ACGT")] = range(4)


def count_words(pieces: Iterable[str]) -> Counts:
    """Count the words of a sequence; those with another letter than A, C, G and T do not count.

    Args:
        pieces: The bases in upper case, in pieces of any length.

    Returns:
        Numbers of the words, in the order of ``WORDS``. (64,)
    """
    counts = np.zeros(len(WORDS), dtype=np.int64)
    held = ""
    for piece in pieces:
        text = held + piece
        codes = _CODES[np.frombuffer(text.encode("ascii", errors="replace"), dtype=np.uint8)]
        num = max(0, len(codes) - WORD_LENGTH + 1)
        words = np.zeros(num, dtype=np.int64)
        is_dna = np.ones(num, dtype=np.bool_)
        for place in range(WORD_LENGTH):
            letters = codes[place : place + num]
            words = 4 * words + letters
            is_dna &= letters < 4
        counts += np.bincount(words[is_dna], minlength=len(WORDS))
        held = text[-(WORD_LENGTH - 1) :]
    return counts


def word_distance(one: Counts, other: Counts) -> float | None:
    """Half of the sum of the differences of the shares: 0 for equal shares, 1 for no common word.

    None if one of the two has no words.
    """
    if not one.sum() or not other.sum():
        return None
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def gc_of_words(counts: Counts) -> float | None:
    """Share of G and C among the first bases of the words; None if there are none."""
    if not counts.sum():
        return None
    is_gc = np.array([word[0] in "GC" for word in WORDS])
    return float(counts[is_gc].sum() / counts.sum())
