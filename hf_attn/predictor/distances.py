"""What the distance between two tokens does to their attention score."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .exponentials import base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tables import FoldedTables

    Array = NDArray[np.float32]

# For so many keys factors are copied, as a product with short rows apart is slow, and kept: those
# of all lengths take 9 MB.
_MOST_KEYS_KEPT = 192
_LEAST_REACH = 1024


class Distances(NamedTuple):
    """What the distances between Q queries and T keys do to their scores.

    Attributes:
        scores: (..., Q, T), in the base of the exponential; -inf beyond the window.
        factors: (..., Q, T), their exponentials.
    """

    scores: Array
    factors: Array

    def in_blocks(self, num_queries: int) -> Distances:
        """Gives the same (blocks, num_queries, T)."""
        shape = (-1, num_queries, self.scores.shape[1])
        return Distances(self.scores.reshape(shape), self.factors.reshape(shape))


class DistanceScores:
    """Scores of the distances j - i from query i to key j, and their exponentials.

    Attributes:
        window: The largest distance that is seen, 0 for any.
    """

    def __init__(self, tables: FoldedTables) -> None:
        self.window = tables.attention_window
        self._by_distance = np.zeros(1, dtype=np.float32)
        if tables.distance_scores is not None:
            self._by_distance = tables.distance_scores
        self._does_nothing = not (self.window or self._by_distance.any())
        self._line = self._line_of(_LEAST_REACH)
        self._kept: dict[tuple[int, int, int], Distances] = {}

    def between(self, first_query: int, num_queries: int, num_keys: int) -> Distances | None:
        """Gives what distances do between some tokens and the first ones, or None if nothing.

        Args:
            first_query: The token that the first query is of.
            num_queries: How many queries there are.
            num_keys: How many keys there are, from token 0 on.
        """
        if self._does_nothing:
            return None
        asked = (first_query, num_queries, num_keys)
        if asked in self._kept:
            return self._kept[asked]
        line, reach = self._line, max(first_query + num_queries, num_keys)
        if len(line.scores) < 2 * reach:
            self._line = line = self._line_of(2 * reach)
        # Row i begins at the distance of token 0 from its query, one before that of row i - 1.
        offset = 4 * (len(line.scores) // 2 - first_query)
        scores, factors = (
            np.ndarray((num_queries, num_keys), np.float32, numbers, offset, (-4, 4))
            for numbers in line
        )
        found = Distances(scores, factors)
        if num_keys <= _MOST_KEYS_KEPT:
            self._kept[asked] = found = Distances(scores, np.ascontiguousarray(factors))
        return found

    def _line_of(self, reach: int) -> Distances:
        """Gives what the distances from -reach to reach do, (2 reach + 1,)."""
        distance = np.arange(-reach, reach + 1)
        farthest = len(self._by_distance) // 2
        exponential, scale = base()
        scores = self._by_distance[distance.clip(-farthest, farthest) + farthest] * scale
        if self.window:
            scores[np.abs(distance) > self.window] = -np.inf
        scores = scores.astype(np.float32)
        with np.errstate(over="ignore"):  # attention then shifts the scores
            return Distances(scores, exponential(scores))
