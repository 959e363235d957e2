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
    contributions: NDArray[np.float64]


def top_words(words: Words, of_tokens: NDArray[np.float32], count: int | None) -> TopWords:
    """Gives the words of the largest contributions, for or against, the largest first.

    Args:
        words: The words of N texts; special tokens are left out.
        of_tokens: (n,), what each token adds.
        count: How many of each text; None for all, in the order of the text.
    """
    num_texts = len(words.of_text) - 1
    sums = sum_words(of_tokens, words.first_token)
    of_text = np.repeat(np.arange(num_texts), np.diff(words.of_text))
    chosen = np.flatnonzero(~words.is_special)
    if count is not None:
        chosen = _largest_of_each(
            np.where(words.is_special, -1, np.abs(sums)), words.of_text, count
        )
    return TopWords(
        counts=np.bincount(of_text[chosen], minlength=num_texts),
        of_text=of_text[chosen],
        spans=words.spans[chosen],
        in_pair=words.in_pair[chosen],
        contributions=sums[chosen],
    )


def sum_words(values: NDArray[np.float32], first_token: Index) -> NDArray[np.float64]:
    """Gives the sums (W,) over each word's tokens, from (n,)."""
    if len(first_token) == len(values):
        return values.astype(np.float64)
    sums: NDArray[np.float64] = np.add.reduceat(values, first_token, dtype=np.float64)
    return sums


def _largest_of_each(sizes: NDArray[np.float64], of_text: Index, count: int) -> Index:
    """Gives the places of the `count` largest numbers of each text, the largest first.

    Args:
        sizes: (W,), numbers; those below 0 are not taken.
        of_text: (N + 1,), where each text begins; the last is W.
        count: How many; of a shorter text all.

    Returns:
        (P,), the texts one after the other.
    """
    lengths = np.diff(of_text)
    starts, text = of_text[:-1][lengths > 0], np.repeat(np.arange(len(lengths)), lengths)
    sizes, rounds = sizes.copy(), [np.empty(0, np.intp)]
    for _ in range(min(count, int(lengths.max(initial=0)))):
        largest = np.repeat(np.maximum.reduceat(sizes, starts), lengths[lengths > 0])
        places = np.flatnonzero(sizes == largest)
        places = places[np.diff(text[places], prepend=-1) > 0]  # the first of equally large ones
        places = places[sizes[places] >= 0]
        sizes[places] = -1  # taken
        rounds.append(places)
    taken = np.concatenate(rounds)
    chosen: Index = taken[np.argsort(text[taken], kind="stable")]
    return chosen
