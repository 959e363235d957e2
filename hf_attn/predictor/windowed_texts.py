"""Texts whose tokens attend within a window, in blocks, so that cost is linear in length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .attention import attention_received

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .distances import Distances, DistanceScores
    from .flat_texts import FlatTexts
    from .length_groups import Group
    from .token_rows import TokenRows

    Array = NDArray[np.float32]

# Attention scores that are computed at once: they stay in the cache.
_MOST_SCORES = 1 << 17
# Smaller blocks would spend their time on being started, larger ones on keys that few queries see.
_LEAST_QUERIES, _MOST_QUERIES = 16, 64
_KEYS_TO_COPY = 512


def queries_in_a_block(window: int) -> int:
    """Gives how many queries, Q, see a block of Q + 2 window keys."""
    return min(max(window // 2, _LEAST_QUERIES), _MOST_QUERIES)


def longest_whole(window: int) -> int | None:
    """Gives from more tokens than how many on windows are faster; None without a window."""
    return 80 + 3 * window if window else None


class WindowedTexts:
    """Pools a group of B texts, laid out in a row with a gap as wide as the window before each.

    The gap keeps other texts beyond the window. Each text begins with a block of queries, so that
    no block is of two.

    Attributes:
        places: (M,), where the tokens of the row stand in the flat texts.
        pooled: (B, W), what the texts add to the bias, as values.
    """

    def __init__(
        self,
        texts: FlatTexts,
        group: Group,
        rows: TokenRows,
        distances: DistanceScores,
    ) -> None:
        self._texts, self._rows = texts, rows
        window = self._window = distances.window
        size = self._size = queries_in_a_block(window)
        self._blocks = -(-(group.lengths + window) // size)
        first_block = np.cumsum(self._blocks) - self._blocks
        # Behind the last block there are keys, but no queries.
        self._blocks_behind = -(-2 * window // size)
        total = int(self._blocks.sum())
        self.places = np.full((total + self._blocks_behind) * size, texts.padding)
        # Where tokens go, and where they come from, less their number in the group.
        number = np.cumsum(group.lengths) - group.lengths
        to = np.repeat(first_block * size + window - number, group.lengths)
        from_ = np.repeat(texts.starts[group.texts] - number, group.lengths)
        numbers = np.arange(len(to))
        self.places[numbers + to] = numbers + from_
        self._weights = texts.weights.take(self.places)
        self._received = np.zeros_like(self._weights)
        between = distances.between(window, size, size + 2 * window)
        at_once = max(1, _MOST_SCORES // (size * (size + 2 * window)))
        self._parts = [
            slice(start, min(start + at_once, total)) for start in range(0, total, at_once)
        ]
        pooled = np.concatenate([self._pool(part, between) for part in self._parts])
        self.pooled = np.add.reduceat(pooled, first_block)

    def _pool(self, part: slice, distances: Distances | None) -> Array:
        """Gives what some blocks of queries add to their texts, (blocks, W)."""
        size, num = self._size, part.stop - part.start
        seen = size + 2 * self._window
        some = self._tokens(part, self._blocks_behind)
        row = self._texts.rows(self._rows, self.places[some])
        counted = (self.places[some] != self._texts.padding).astype(np.float32)
        # Keys as columns, once for all blocks that see them, and by pieces that stay in the cache.
        key = row[:, self._rows.key]
        columns = np.empty((key.shape[1], len(key)), dtype=np.float32)
        for start in range(0, len(key), _KEYS_TO_COPY):
            columns[:, start : start + _KEYS_TO_COPY] = key[start : start + _KEYS_TO_COPY].T
        queries = slice(self._window, self._window + num * size)
        query, direct = (
            row[queries, part_].reshape(num, size, -1)
            for part_ in (self._rows.query, self._rows.direct)
        )
        weights = self._weights[some][queries].reshape(num, 1, size)
        received = attention_received(
            query,
            _overlapping(columns, (num, len(columns), seen), (size, columns.shape[1], 1)),
            weights,
            distances,
            _overlapping(counted, (num, seen, 1), (size, 1, 1)),
        )
        width, context = row.shape[1], self._rows.context
        values = _overlapping(
            row, (num, seen, context.stop - context.start), (size * width, width, 1), context.start
        )
        self._add_up(received[:, 0], self._received[some])
        return (weights @ direct + received @ values)[:, 0]

    def _add_up(self, received: Array, total: Array) -> None:
        """Adds what each block's keys (blocks, Q + 2 window) received to the tokens' total (M,)."""
        num, size = len(received), self._size
        for start in range(0, received.shape[1], size):
            part = received[:, start : start + size]
            total[start : start + num * size].reshape(num, size)[:, : part.shape[1]] += part

    def _tokens(self, part: slice, more_blocks: int) -> slice:
        """Gives the tokens of some blocks, and of more behind them."""
        return slice(part.start * self._size, (part.stop + more_blocks) * self._size)

    def contributions(self, direction: Array) -> Array:
        """Gives what tokens (M,) add to a sum of values with the weights (B, W)."""
        # The window before its first block belongs to a text, too: all of it is padding.
        direction = direction.repeat(self._blocks, axis=0)[:, :, None]
        added = np.zeros_like(self._received)
        for part in self._parts:
            num = part.stop - part.start
            first = part.start * self._size + self._window
            some = slice(first, first + num * self._size)
            row = self._texts.rows(self._rows, self.places[some])
            direct, context = (
                (row[:, columns].reshape(num, self._size, -1) @ direction[part]).ravel()
                for columns in (self._rows.direct, self._rows.context)
            )
            added[some] = self._weights[some] * direct + self._received[some] * context
        return added


def _overlapping(
    array: Array, shape: tuple[int, ...], steps: tuple[int, ...], first: int = 0
) -> Array:
    """Gives a view of a contiguous array whose blocks share numbers.

    Args:
        array: The array.
        shape: The shape of the view.
        steps: How many numbers apart its neighbours along each axis are.
        first: The number that it begins with.
    """
    strides = tuple(step * array.itemsize for step in steps)
    return np.ndarray(shape, np.float32, array, first * array.itemsize, strides)
