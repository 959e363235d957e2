"""Texts whose tokens all attend to each other at once, padded to the longest of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .attention import Attention
    from .distances import DistanceScores
    from .flat_texts import FlatTexts
    from .length_groups import Group
    from .token_rows import TokenRows

    Array = NDArray[np.float32]

# A longer text attends in blocks of queries with about as many scores.
_MOST_SCORES = 1 << 18
_LEAST_QUERIES = 32
# A product with keys that lie in columns is twice as fast; for fewer keys the copy costs more.
_LEAST_KEYS_TO_COPY = 33


class WholeTexts:
    """Pools a group of B texts of up to T tokens.

    Attributes:
        pooled: (B, W), what the texts add to the bias, as values.
    """

    def __init__(
        self,
        texts: FlatTexts,
        group: Group,
        rows: TokenRows,
        attention: Attention,
        distances: DistanceScores,
    ) -> None:
        length = group.longest
        self.places = texts.starts[group.texts][:, None] + np.arange(length)
        counted = None
        if group.is_padded:
            is_token = np.arange(length) < group.lengths[:, None]
            self.places = np.where(is_token, self.places, texts.padding)
            counted = is_token.astype(np.float32)[:, :, None]
        row = texts.rows(rows, self.places)
        self._weights = texts.weights.take(self.places)[:, None]
        query, columns = row[..., rows.query], row[..., rows.key].swapaxes(1, 2)
        if length >= _LEAST_KEYS_TO_COPY:
            columns = np.ascontiguousarray(columns)
        if len(group.texts) * length * length <= _MOST_SCORES:
            self._received = attention.received(
                query, columns, self._weights, distances.of_text(length), counted
            )
        else:
            self._received = np.zeros_like(self._weights)
            most = max(_LEAST_QUERIES, _MOST_SCORES // (len(group.texts) * length))
            for start in range(0, length, most):
                some = slice(start, start + most)
                some_query = query[:, some]
                between = distances.between(start, some_query.shape[1], length)
                self._received += attention.received(
                    some_query, columns, self._weights[:, :, some], between, counted
                )
        self._direct, self._context = row[..., rows.direct], row[..., rows.context]
        self.pooled = (self._weights @ self._direct + self._received @ self._context)[:, 0]

    def contributions(self, direction: Array) -> Array:
        """Gives what tokens (B, T) add to a sum of values with the weights (B, W)."""
        direct = (self._direct @ direction[:, :, None])[..., 0]
        context = (self._context @ direction[:, :, None])[..., 0]
        return self._weights[:, 0] * direct + self._received[:, 0] * context
