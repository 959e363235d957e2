"""Texts whose tokens all attend to each other, padded to the longest of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .attention import MOST_MULTIPLICATIONS, attention_received

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .distances import DistanceScores
    from .flat_texts import FlatTexts
    from .length_groups import Group
    from .token_rows import TokenRows

    Array = NDArray[np.float32]

# Attention scores that are computed at once: they stay in the cache.
_MOST_SCORES = 1 << 17
_LEAST_QUERIES = 8
# A product with keys that lie in columns is twice as fast; for fewer keys the copy costs more.
_LEAST_KEYS_TO_COPY = 33


class WholeTexts:
    """Pools a group of B texts of up to T tokens.

    Attributes:
        places: (B, T), where the tokens stand in the flat texts.
        pooled: (B, W), what the texts add to the bias, as values.
    """

    def __init__(
        self,
        texts: FlatTexts,
        group: Group,
        rows: TokenRows,
        distances: DistanceScores,
    ) -> None:
        blocks = blocks_of_queries(group.longest, rows.head_dim)
        length = blocks[0] * blocks[1]
        self.places = texts.starts[group.texts][:, None] + np.arange(length)
        counted = None
        if group.lengths[0] != length:
            is_token = np.arange(length) < group.lengths[:, None]
            self.places = np.where(is_token, self.places, texts.padding)
            counted = is_token.astype(np.float32)[:, :, None]
        row = texts.rows(rows, self.places)
        query, columns = row[..., rows.query], row[..., rows.key].swapaxes(1, 2)
        if length >= _LEAST_KEYS_TO_COPY:
            columns = np.ascontiguousarray(columns)
        self._weights = texts.weights.take(self.places)[:, None]
        self._received = (
            attention_received(
                query, columns, self._weights, distances.between(0, length, length), counted
            )
            if blocks[0] == 1
            else _received_from_blocks(blocks, query, columns, self._weights, distances, counted)
        )
        self._direct, self._context = row[..., rows.direct], row[..., rows.context]
        # One product of both weights with both kinds of values is faster than one for each.
        both = np.concatenate([self._weights, self._received], axis=1) @ row[..., rows.values]
        width = both.shape[2] // 2
        self.pooled = both[:, 0, :width] + both[:, 1, width:]

    def contributions(self, direction: Array) -> Array:
        """Gives what tokens (B, T) add to a sum of values with the weights (B, W)."""
        direct = (self._direct @ direction[:, :, None])[..., 0]
        context = (self._context @ direction[:, :, None])[..., 0]
        return self._weights[:, 0] * direct + self._received[:, 0] * context


def blocks_of_queries(length: int, head_dim: int) -> tuple[int, int]:
    """Gives how many blocks of how many queries a text attends in, and is padded for."""
    most = max(_LEAST_QUERIES, MOST_MULTIPLICATIONS // (length * head_dim))
    num_blocks = -(-length // most)
    return num_blocks, -(-length // num_blocks)


def _received_from_blocks(
    blocks: tuple[int, int],
    query: Array,
    columns: Array,
    weights: Array,
    distances: DistanceScores,
    counted: Array | None,
) -> Array:
    """Gives the attention received (B, 1, T) from a few blocks of queries at a time."""
    num_blocks, num_queries = blocks
    num_texts, length, _ = query.shape
    query = query.reshape(num_texts, num_blocks, num_queries, -1)
    weights = weights.reshape(num_texts, num_blocks, 1, num_queries)
    columns, counted = columns[:, None], None if counted is None else counted[:, None]
    received = np.zeros((num_texts, 1, length), dtype=np.float32)
    at_once = max(1, _MOST_SCORES // (num_texts * num_queries * length))
    for start in range(0, num_blocks, at_once):
        some = slice(start, min(start + at_once, num_blocks))
        between = distances.between(start * num_queries, (some.stop - start) * num_queries, length)
        if between is not None:
            between = between.in_blocks(num_queries)
        received += attention_received(
            query[:, some], columns, weights[:, some], between, counted
        ).sum(axis=1)
    return received
