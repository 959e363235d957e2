"""Texts one after the other, with what each token needs from its text before attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tables import FoldedTables
    from .token_rows import TokenRows

    Array = NDArray[np.float32]
    Integers = NDArray[np.intp]


@dataclass(frozen=True)
class FlatTexts:
    """The n tokens of N texts, and one of padding behind them.

    Attributes:
        token_ids: (n + 1,).
        bigrams: (n + 1,), the bucket of each token and the one before it; None without bigrams.
        weights: (n + 1,), how its text weighs each token, p.
        starts: (N,), where each text begins.
    """

    token_ids: Integers
    bigrams: Integers | None
    weights: Array
    starts: Integers

    @property
    def padding(self) -> int:
        """Where the token of padding stands."""
        return len(self.token_ids) - 1

    def rows(self, rows: TokenRows, places: Integers) -> Array:
        """Gives the rows (..., R) of the tokens at some places (...)."""
        bigrams = None if self.bigrams is None else self.bigrams.take(places)
        return rows.take(self.token_ids.take(places), bigrams)


def flatten(
    token_ids: Integers, lengths: Integers, tables: FoldedTables, padding: tuple[int, int]
) -> FlatTexts:
    """Prepares texts for attention.

    Args:
        token_ids: (n,).
        lengths: (N,).
        tables: Those of the model.
        padding: The indices of a token's and a bigram's row of 0.
    """
    starts = np.cumsum(lengths) - lengths
    full = starts[lengths > 0]
    bigrams = None
    if tables.ngrams is not None:
        bigrams = np.append(
            hash_bigrams(token_ids, full, len(tables.ngrams.query), tables.pad_token_id),
            padding[1],
        )
    if tables.tokens.pool_scores is None:
        weights = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
    else:
        scores = tables.tokens.pool_scores[token_ids]
        if tables.ngrams is not None and tables.ngrams.pool_scores is not None:
            scores = scores + tables.ngrams.pool_scores[bigrams[:-1]]
        weights = _softmax(scores, full, lengths[lengths > 0])
    return FlatTexts(
        np.append(token_ids, padding[0]), bigrams, np.append(weights, np.float32(0)), starts
    )


def _softmax(scores: Array, starts: Integers, lengths: Integers) -> Array:
    """Gives the softmax (n,) of scores (n,) over each text; none may be empty."""
    if not len(starts):
        return scores
    weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), lengths))
    weights /= np.repeat(np.add.reduceat(weights, starts), lengths)
    return weights


def hash_bigrams(
    token_ids: Integers, starts: Integers, num_buckets: int, pad_token_id: int
) -> Integers:
    """Gives the bucket (n,) of each token and the one before it.

    Args:
        token_ids: (n,).
        starts: Where texts begin; before each stands the pad id.
        num_buckets: How many buckets there are.
        pad_token_id: The pad id.
    """
    previous = np.empty_like(token_ids)
    previous[1:] = token_ids[:-1]
    previous[starts] = pad_token_id
    # Ids stay far below 2**31, so no product leaves 63 bits; both factors are primes.
    hashed = previous * 1_000_003 + token_ids * 16_777_619
    return hashed % 2_147_483_647 % num_buckets
