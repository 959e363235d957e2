"""What the distance between two tokens does to their attention score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .attention import Distances, base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tables import FoldedTables

    Array = NDArray[np.float32]

# Up to here the factors of a text are kept, 3 MB for all lengths; the copy pays off most for them.
_LONGEST_KEPT = 128


class DistanceScores:
    """Scores of the distances j - i from query i to key j, and their exponentials.

    Attributes:
        largest: The largest score in size.
    """

    def __init__(self, tables: FoldedTables) -> None:
        self.window = tables.attention_window
        by_distance = np.zeros(1, dtype=np.float32)
        if tables.distance_scores is not None:
            buckets = tabulate_buckets(len(tables.distance_scores), tables.max_distance)
            by_distance = tables.distance_scores[buckets].astype(np.float32)
        self.largest = float(np.abs(by_distance).max())
        exponential, scale = base()
        self._scores = by_distance * np.float32(scale)
        with np.errstate(over="ignore"):  # the largest score then says that they are too large
            self._factors = exponential(self._scores)
        self._kept: dict[int, Distances] = {}

    def of_text(self, length: int) -> Distances | None:
        """Gives what all distances between the tokens of a text do, or None if nothing."""
        if length > _LONGEST_KEPT:
            return self.between(0, length, length)
        if length not in self._kept and (distances := self.between(0, length, length)) is not None:
            self._kept[length] = Distances(
                distances.scores, np.ascontiguousarray(distances.factors)
            )
        return self._kept.get(length)

    def between(self, first_query: int, num_queries: int, num_keys: int) -> Distances | None:
        """Gives what distances do between some tokens and the keys of the first tokens.

        Args:
            first_query: The token that the first query is of.
            num_queries: How many queries there are.
            num_keys: How many keys there are, from token 0 on.
        """
        first = -(first_query + num_queries - 1)
        distance = np.arange(first, num_keys - first_query)
        is_beyond = np.abs(distance) > self.window if self.window else np.zeros(1, dtype=bool)
        if not (is_beyond.any() or self.largest):
            return None
        farthest = len(self._scores) // 2
        place = distance.clip(-farthest, farthest) + farthest
        scores = np.where(is_beyond, np.float32(-np.inf), self._scores[place])
        factors = np.where(is_beyond, np.float32(0), self._factors[place])
        # Row i of the matrix begins where query i stands, one place before that of row i - 1.
        return Distances(*(sliding_window_view(x, num_keys)[::-1] for x in (scores, factors)))


def tabulate_buckets(num_buckets: int, max_distance: int) -> NDArray[np.int64]:
    """Gives the bucket of each distance j - i from -max_distance to max_distance.

    Source: Raffel et al. 2020 (T5), section 2.1.
    """
    distance = np.arange(-max_distance, max_distance + 1)
    one_way = num_buckets // 2
    near = one_way // 2
    steps = np.abs(distance)
    # In float32, as the model does: the logarithm of a power decides between two buckets.
    beyond = np.log((steps.clip(min=near) / near).astype(np.float32))
    beyond = beyond / np.float32(math.log(max_distance / near))
    far = (near + (beyond * (one_way - near)).astype(np.int64)).clip(max=one_way - 1)
    return np.where(steps < near, steps, far) + one_way * (distance > 0)
