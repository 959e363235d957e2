"""The words of many texts and what each adds, as columns: objects are made of few.

Shapes: N texts, n tokens, W words in all texts, P words chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..words import Words


class WordContribution(NamedTuple):
    """A word and what it adds to the reading of its text.

    Attributes:
        word: As it stands in the text; the name of a special token.
        start: Its first character, counted in the text (in the pair if `in_pair`).
        end: One past its last character.
        contribution: In logits.
        in_pair: Whether it stands in the second text of a pair.
    """

    word: str
    start: int
    end: int
    contribution: float
    in_pair: bool


class WordColumns(NamedTuple):
    """Words of N texts, the texts one after the other.

    Attributes:
        counts: (N,), how many words there are of each text.
        words: P words as they stand in the texts; the names of special tokens.
        starts: P places of their first characters.
        ends: P places past their last ones.
        contributions: (P,), what they add, in logits.
        in_pair: P times whether the word stands in the second text of a pair.
    """

    counts: NDArray[np.intp]
    words: list[str]
    starts: list[int]
    ends: list[int]
    contributions: NDArray[np.float64]
    in_pair: list[bool]

    def of_each_text(self) -> list[list[WordContribution]]:
        """Gives the words of each text as objects."""
        parts = self.words, self.starts, self.ends, self.contributions.tolist(), self.in_pair
        words = map(WordContribution, *parts)
        return [list(islice(words, count)) for count in self.counts.tolist()]


def word_columns(
    words: Words,
    contributions: NDArray[np.float32],
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    token_name: Callable[[int], str],
    count: int | None = None,
) -> WordColumns:
    """Gives the words of texts, all of them or those that add most.

    Args:
        words: Their words.
        contributions: (n,), what each token adds.
        texts: N texts.
        pairs: N second texts, if there are any.
        token_name: Gives the name of a token from its place among all tokens.
        count: How many words of each text, the largest contribution for or against first; None for
            all, in their order.
    """
    sums, counts = _sum_words(contributions, words.first_token), np.diff(words.of_text)
    chosen = np.arange(len(sums))
    if count is not None:
        chosen = _largest_of_each(np.abs(sums), words.of_text, count)
        counts = np.minimum(counts, count)
    rows = np.repeat(np.arange(len(counts)), counts).tolist()
    starts, ends = words.spans[chosen].T.tolist()
    in_pair = words.in_pair[chosen].tolist()
    places = zip(rows, starts, ends, strict=True)
    if pairs is None:
        written = [texts[row][start:end] for row, start, end in places]
    else:
        sides = (texts, pairs)
        written = [
            sides[side][row][start:end]
            for (row, start, end), side in zip(places, in_pair, strict=True)
        ]
    for place in np.flatnonzero(words.is_special[chosen]).tolist():
        written[place] = token_name(int(words.first_token[chosen[place]]))
    return WordColumns(counts, written, starts, ends, sums[chosen], in_pair)


def _sum_words(values: NDArray[np.float32], first_token: NDArray[np.int64]) -> NDArray[np.float64]:
    """Gives the sum over each word's tokens."""
    if len(first_token) == len(values):
        return values.astype(np.float64)
    return np.add.reduceat(values, first_token, dtype=np.float64)


def _largest_of_each(
    sizes: NDArray[np.float64], of_text: NDArray[np.int64], count: int
) -> NDArray[np.intp]:
    """Gives the places of the `count` largest numbers of each text, the largest first.

    Args:
        sizes: (W,), numbers of at least 0.
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
    return taken[np.argsort(text[taken], kind="stable")]
