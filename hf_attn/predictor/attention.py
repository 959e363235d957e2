"""The attention that tokens receive from a text, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .exponentials import base

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .distances import Distances

    Array = NDArray[np.float32]

# Between these, sums of exponentials that were not shifted first lose nothing.
_SMALLEST_SUM, _LARGEST_SUM = 1e-25, 1e30
_SMALLEST = np.finfo(np.float32).tiny
# Up to so many multiplications OpenBLAS, which NumPy comes with, starts no threads of its own: they
# would run beside those that were asked for, and wait for each other on a busy machine.
MOST_MULTIPLICATIONS = 1 << 18


def attention_received(
    query: Array,
    columns: Array,
    weights: Array,
    distances: Distances | None,
    counted: Array | None,
) -> Array:
    """Gives the attention received, a = p A, (..., 1, T), of texts or of blocks of queries.

    Args:
        query: (..., Q, K), in the base of the exponential.
        columns: (..., K, T), keys.
        weights: (..., 1, Q), how the text weighs the tokens of the queries, p.
        distances: What the distances (..., Q, T) between the queries and the keys do.
        counted: (..., T, 1), 1 at tokens and 0 at padding; None where all are tokens.
    """
    with np.errstate(all="ignore"):
        received, sums = _unshifted(query, columns, weights, distances, counted)
        # NaN fails here, too. A query of padding may see nothing.
        is_sound = (sums < _LARGEST_SUM) & ((sums > _SMALLEST_SUM) | (weights == 0))
    if is_sound.all():
        return received
    return _shifted(query, columns, weights, distances, counted)


def _unshifted(
    query: Array,
    columns: Array,
    weights: Array,
    distances: Distances | None,
    counted: Array | None,
) -> tuple[Array, Array]:
    """Takes exponentials of the scores as they are, and gives their sums (..., 1, Q), too."""
    weighed = _products(query, columns)
    base()[0](weighed, out=weighed)
    if distances is not None:
        weighed *= distances.factors
    if counted is None:
        ones = np.ones(weighed.shape[-1], dtype=np.float32)
        sums = (weighed.reshape(-1, len(ones)) @ ones).reshape(weights.shape)
    else:
        sums = (weighed @ counted).reshape(weights.shape)
        np.maximum(sums, _SMALLEST, out=sums)  # it is 0 where padding sees padding only
    return (weights / sums) @ weighed, sums


def _shifted(
    query: Array,
    columns: Array,
    weights: Array,
    distances: Distances | None,
    counted: Array | None,
) -> Array:
    """Takes the largest score of a row away first, as it may be too large for a float32."""
    scores = _products(query, columns)
    if distances is not None:
        scores += distances.scores
    if counted is not None:
        scores[np.broadcast_to(counted.swapaxes(-1, -2) == 0, scores.shape)] = -np.inf
    largest = scores.max(-1, keepdims=True)
    scores -= np.where(np.isfinite(largest), largest, 0)
    weighed = base()[0](scores, out=scores)
    sums = np.maximum(weighed.sum(-1), _SMALLEST).reshape(weights.shape)
    received: Array = (weights / sums) @ weighed
    return received


def _products(query: Array, columns: Array) -> Array:
    """Gives query (..., Q, K) times columns (..., K, T)."""
    num_keys = columns.shape[-1]
    at_once = max(1, MOST_MULTIPLICATIONS // (query.shape[-2] * query.shape[-1]))
    if num_keys <= at_once:
        return query @ columns
    products = np.empty((*query.shape[:-1], num_keys), dtype=np.float32)
    for start in range(0, num_keys, at_once):
        some = slice(start, start + at_once)
        np.matmul(query, columns[..., some], out=products[..., some])
    return products
