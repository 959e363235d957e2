"""All that a token brings along side by side, so that a batch takes one look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tables import FoldedTables, TokenTables

    Array = NDArray[np.float32]
    Integers = NDArray[np.intp]

# Rows that fill whole vectors of 16 bytes are copied fastest.
_NUMBERS_PER_VECTOR = 4


class TokenRows:
    """Rows of queries, keys and values.

    Args:
        tables: The tables of a folded model.
        scale: What queries are multiplied with.

    Attributes:
        query: The columns of the query; likewise for key, direct and context values, and both.
        head_dim: Numbers in a query.
        padding: (2,), the indices of a token and a bigram whose rows are 0.

    Raises:
        InputError: If a number in the tables is NaN or infinite.
    """

    def __init__(self, tables: FoldedTables, scale: float) -> None:
        tokens = tables.tokens
        parts = (tokens.query, tokens.key, tokens.direct_values, tokens.context_values)
        stops = np.cumsum([part.shape[1] for part in parts]).tolist()
        self.query, self.key, self.direct, self.context = (
            slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)
        )
        self.head_dim = tokens.query.shape[1]
        self.values = slice(self.direct.start, self.context.stop)
        self._tokens = _join(tokens, scale)
        self._ngrams = None if tables.ngrams is None else _join(tables.ngrams, scale)
        self.padding = (len(tokens.query), 0 if self._ngrams is None else len(self._ngrams) - 1)

    def take(self, token_ids: Integers, bigrams: Integers | None) -> Array:
        """Gives the rows (..., R) of tokens (...) after the tokens that make bigrams (...)."""
        # Ids were checked; to let NumPy clip them is what makes it copy at once.
        rows = self._tokens.take(token_ids, axis=0, mode="clip")
        if self._ngrams is not None and bigrams is not None:
            rows += self._ngrams.take(bigrams, axis=0, mode="clip")
        return rows


def _join(tables: TokenTables, scale: float) -> Array:
    """Gives the rows (N + 1, R), the last one of 0."""
    query = tables.query * np.float32(scale)
    parts = (query, tables.key, tables.direct_values, tables.context_values)
    for part in parts:
        check_finite(part)
    width = sum(part.shape[1] for part in parts)
    whole_vectors = -(-width // _NUMBERS_PER_VECTOR) * _NUMBERS_PER_VECTOR
    rows = np.zeros((len(tables.query) + 1, whole_vectors), dtype=np.float32)
    np.concatenate(parts, axis=1, out=rows[:-1, :width])
    return rows


def check_finite(numbers: Array) -> None:
    """Refuses what broken weights give.

    Raises:
        InputError: If a number is NaN or infinite.
    """
    if not np.isfinite(numbers).all():
        raise InputError(
            "expected tables and logits that are numbers, got NaN or infinity: the model's weights "
            "are broken (training may have diverged). Train it again with a lower --learning-rate."
        )
