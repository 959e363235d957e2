"""The words of many texts that add most, as arrays.

Shapes: N texts, n tokens, W words in all texts, P words chosen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..words import Index, Words


class TopWords(NamedTuple):
    """Words of N texts, the texts one after the other.

    Attributes:
        counts: (N,), how many words there are of each text.
        of_text: (P,), the number of each word's text.
        spans: (P, 2), its first character and one past its last.
        in_pair: (P,), whether it stands in the second text of a pair.
        contributions: (P,), what it adds to the reading of its text.
    """

    counts: Index
    of_text: Index
    spans: Index
    in_pair: NDArray[np.bool_]
    contributions: NDArray[np.float32]


def top_words(words: Words, of_tokens: NDArray[np.float32], count: int | None) -> TopWords:
    """Gives the words of the largest contributions, for or against, the largest first.

    Args:
        words: The words of N texts; special tokens are left out.
        of_tokens: (n,), what each token adds.
        count: How many of each text; None for all, in the order of the text.
    """
    num_texts = len(words.of_text) - 1
    sums = of_tokens
    if len(words.first_token) < len(of_tokens):
        sums = np.add.reduceat(of_tokens, words.first_token)
    of_text = np.repeat(np.arange(num_texts), np.diff(words.of_text))
    chosen = np.flatnonzero(~words.is_special)
    if count is not None:
        chosen = _largest(np.where(words.is_special, -1, np.abs(sums)), words.of_text, count)
    return TopWords(
        counts=np.bincount(of_text[chosen], minlength=num_texts),
        of_text=of_text[chosen],
        spans=words.spans[chosen],
        in_pair=words.in_pair[chosen],
        contributions=sums[chosen],
    )


def _largest(sizes: NDArray[np.float32], of_text: Index, count: int) -> Index:
    """Gives the places of the `count` largest sizes (W,) of each text that are not below 0."""
    lengths = np.diff(of_text)
    order = np.lexsort((-sizes, np.repeat(np.arange(len(lengths)), lengths)))
    rank = np.arange(len(sizes)) - np.repeat(of_text[:-1], lengths)
    largest: Index = order[(rank < count) & (sizes[order] >= 0)]
    return largest
