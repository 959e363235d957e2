"""Texts of like length, put together so that they are scored at once with little padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Integers = NDArray[np.intp]

# Attention scores of a group: they stay in the cache, and are many beside the calls of a group.
_MOST_SCORES = 1 << 17
# What the calls of one more group cost, and the look-ups of one token, in attention scores.
_SCORES_PER_GROUP = 10_000
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

    @property
    def is_padded(self) -> bool:
        """Whether some texts are shorter than others."""
        return bool(self.lengths[0] != self.lengths[-1])


def group_by_length(
    lengths: Integers, longest_whole: int | None, tokens_in_windows: int
) -> Iterator[Group]:
    """Yields groups, those of the longest texts first, of all texts but empty ones.

    Args:
        lengths: (N,), tokens of each text.
        longest_whole: From more tokens than these on texts are scored in windows, where padding
            costs nothing; None if never.
        tokens_in_windows: How many tokens a group that is scored in windows has, or one text more.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    first = int(np.searchsorted(ordered, 1))
    stop = len(order)
    if longest_whole is not None:
        whole = int(np.searchsorted(ordered, longest_whole, side="right"))
        while stop > whole:
            total = np.cumsum(ordered[whole:stop][::-1])
            start = stop - max(1, int(np.searchsorted(total, tokens_in_windows)))
            yield Group(order[start:stop], ordered[start:stop])
            stop = start
    starts = np.flatnonzero(np.diff(ordered[first:stop], prepend=0)) + first
    for start, end in _ranges(starts.tolist(), ordered[starts].tolist(), stop):
        num = max(1, round((end - start) * int(ordered[end - 1]) ** 2 / _MOST_SCORES))
        bounds = np.linspace(start, end, min(num, end - start) + 1).astype(int).tolist()
        for low, high in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
            yield Group(order[low:high], ordered[low:high])


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
