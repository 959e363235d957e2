"""Texts of like length, put together so that they are scored at once with little padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Integers = NDArray[np.intp]

# Attention scores and tokens of a group: they stay in the cache, and cost more than the calls of
# a group do.
_MOST_SCORES = 1 << 17
_MOST_TOKENS = 1 << 13
# What the calls of one more group cost, and the look-ups of one token, in attention scores.
_SCORES_PER_GROUP = 6_000
_SCORES_PER_TOKEN = 8


@dataclass(frozen=True)
class Group:
    """Texts that are scored at once.

    Attributes:
        texts: (B,), which texts, the shortest first; none is empty.
        lengths: (B,), their tokens.
    """

    texts: Integers
    lengths: Integers

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(self.lengths[-1])


def group_by_length(lengths: Integers, longest_whole: int | None) -> Iterator[Group]:
    """Yields groups, those of the longest texts first, of all texts but empty ones.

    Args:
        lengths: (N,), tokens of each text.
        longest_whole: From more tokens than these on texts are scored in windows, where padding
            costs nothing; None if never.
    """
    # Of small numbers a stable sort is a radix sort.
    is_small = len(lengths) and lengths.max() < 1 << 15
    order = np.argsort(lengths.astype(np.int16) if is_small else lengths, kind="stable")
    ordered = lengths[order]
    first, stop = int(np.searchsorted(ordered, 1)), len(order)
    if longest_whole is not None:
        whole = max(first, int(np.searchsorted(ordered, longest_whole, side="right")))
        total = np.cumsum(ordered)
        while stop > whole:
            fits = int(np.searchsorted(total, total[stop - 1] - _MOST_TOKENS, side="right")) + 1
            start = min(max(fits, whole), stop - 1)
            yield Group(order[start:stop], ordered[start:stop])
            stop = start
    starts = np.flatnonzero(np.diff(ordered[first:stop], prepend=0)) + first
    for start, end in _ranges(starts.tolist(), ordered[starts].tolist(), stop):
        longest = int(ordered[end - 1])
        most = min(_MOST_SCORES // longest**2, _MOST_TOKENS // longest)
        num = -(-(end - start) // max(1, most))
        for part in range(num, 0, -1):
            some = slice(
                start + (end - start) * (part - 1) // num, start + (end - start) * part // num
            )
            yield Group(order[some], ordered[some])


def _ranges(starts: list[int], lengths: list[int], stop: int) -> Iterator[tuple[int, int]]:
    """Yields ranges of texts for which padding costs less than one more group would.

    Args:
        starts: Where texts of another length begin, in the order of their lengths.
        lengths: Those lengths.
        stop: Where the last texts end.
    """
    run = len(starts)
    while run:
        run -= 1
        start, end, cost = starts[run], stop, _cost(lengths[run])
        while run and (start - starts[run - 1]) * (cost - _cost(lengths[run - 1])) < (
            _SCORES_PER_GROUP
        ):
            run -= 1
            start = starts[run]
        yield start, end
        stop = start


def _cost(length: int) -> int:
    return length * (length + _SCORES_PER_TOKEN)
