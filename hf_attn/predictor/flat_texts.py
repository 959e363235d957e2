"""Texts one after the other, with what each token needs from its text before attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .token_rows import TokenRows

    Array = NDArray[np.float32]
    Integers = NDArray[np.intp]


@dataclass(frozen=True)
class FlatTexts:
    """The n tokens of N texts, and one of padding behind them.

    Attributes:
        token_ids: (n + 1,).
        bigrams: (n + 1,), the row of each token and the one before it; None without bigrams.
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


@dataclass(frozen=True)
class TextFlattener:
    """Prepares texts for attention.

    Attributes:
        padding: The indices of a token's and a bigram's row of 0.
        num_slots: Of bigrams; 0 without them.
        slots: (num_slots,), the row of each slot; None where slots are rows.
        pad_token_id: The id that stands before the first token in a bigram.
        pool_scores: (V,), of tokens; None where all tokens of a text count the same.
        ngram_pool_scores: (rows,), added to those of tokens; or None.
    """

    padding: tuple[int, int]
    num_slots: int
    slots: Integers | None
    pad_token_id: int
    pool_scores: Array | None
    ngram_pool_scores: Array | None

    def __call__(self, token_ids: Integers, lengths: Integers) -> FlatTexts:
        """Gives the texts with n token ids (n,) and their lengths (N,)."""
        starts = np.cumsum(lengths) - lengths
        is_full = lengths > 0
        bigrams = None
        if self.num_slots:
            bigrams = hash_bigrams(token_ids, starts[is_full], self.num_slots, self.pad_token_id)
            if self.slots is not None:
                bigrams = self.slots.take(bigrams)
        if self.pool_scores is None:
            weights = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
        else:
            scores = self.pool_scores[token_ids]
            if self.ngram_pool_scores is not None:
                scores += self.ngram_pool_scores[bigrams]
            weights = _softmax(scores, starts[is_full], lengths[is_full])
        return FlatTexts(
            np.append(token_ids, self.padding[0]),
            None if bigrams is None else np.append(bigrams, self.padding[1]),
            np.append(weights, np.float32(0)),
            starts,
        )


def _softmax(scores: Array, starts: Integers, lengths: Integers) -> Array:
    """Gives the softmax (n,) of scores (n,) over each text; none may be empty."""
    if not len(starts):
        return scores
    weights: Array = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), lengths))
    weights /= np.repeat(np.add.reduceat(weights, starts), lengths)
    return weights


def hash_bigrams(
    token_ids: Integers, starts: Integers, num_slots: int, pad_token_id: int
) -> Integers:
    """Gives the slot (n,) of each token and the one before it.

    Args:
        token_ids: (n,).
        starts: Where texts begin; before each stands the pad id.
        num_slots: How many slots there are.
        pad_token_id: The pad id.
    """
    previous = np.empty_like(token_ids)
    previous[1:] = token_ids[:-1]
    previous[starts] = pad_token_id
    # Ids stay far below 2**31, so no product leaves 63 bits; both factors are primes.
    hashed = previous.astype(np.int64) * 1_000_003
    hashed += token_ids.astype(np.int64) * 16_777_619
    hashed %= 2_147_483_647
    hashed %= num_slots
    return hashed.astype(np.intp)
