"""Which tokens of texts, and of pairs of texts, are kept where there are too many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunks import Index, ranges


class Kept(NamedTuple):
    """What is kept of the tokens of N texts, which stand one after the other.

    Attributes:
        places: (sum of lengths,), where each token that is kept stood; None if all are.
        lengths: (N,), how many are kept of each text.
        cut: (N,), whether any is not.
    """

    places: Index | None
    lengths: Index
    cut: NDArray[np.bool_]


def keep_single(lengths: Index, max_length: int | None, side: str) -> Kept:
    """Keeps the first tokens of each text, or if the left side is cut the last.

    Args:
        lengths: (N,), tokens of each text.
        max_length: The most to keep of a text; None for all.
        side: "right" or "left".
    """
    if max_length is None or lengths.max(initial=0) <= max_length:
        return Kept(None, lengths, np.zeros(len(lengths), dtype=np.bool_))
    kept = np.minimum(lengths, max_length)
    return Kept(ranges(_starts(lengths, kept, side), kept), kept, kept < lengths)


def keep_pairs(first: Index, second: Index, max_length: int | None, side: str) -> Kept:
    """Keeps tokens of both texts of each pair, and puts a separator between them.

    The tokens of all first texts come first, then those of all second texts, then one separator.

    Args:
        first: (N,), tokens of each first text.
        second: (N,), tokens of each second text.
        max_length: The most of a pair, the separator included; None for all.
        side: "right" or "left".
    """
    kept = _longest_first(first, second, max_length)
    separator = int(first.sum() + second.sum())
    starts = [
        _starts(first, kept[0], side),
        np.full_like(first, separator),
        first.sum() + _starts(second, kept[1], side),
    ]
    sizes = np.stack([kept[0], np.ones_like(first), kept[1]], axis=1)
    places = ranges(np.stack(starts, axis=1).ravel(), sizes.ravel())
    return Kept(places, sizes.sum(1), (kept[0] < first) | (kept[1] < second))


def _longest_first(first: Index, second: Index, max_length: int | None) -> tuple[Index, Index]:
    """Gives how much is kept of each text of a pair: the longer loses first, then both alike."""
    if max_length is None:
        return first, second
    room = max_length - 1  # for the separator
    shorter, longer = np.minimum(first, second), np.maximum(first, second)
    fits = first + second <= room
    longer_kept = np.where(fits, longer, np.maximum(shorter, room - shorter))
    both = shorter + longer_kept > room
    shorter_kept = np.where(both, room // 2, shorter)
    longer_kept = np.where(both, room // 2 + room % 2, longer_kept)
    swapped = first > second
    return (
        np.where(swapped, longer_kept, shorter_kept),
        np.where(swapped, shorter_kept, longer_kept),
    )


def _starts(lengths: Index, kept: Index, side: str) -> Index:
    starts = np.cumsum(lengths) - lengths
    return starts + (lengths - kept) if side == "left" else starts
