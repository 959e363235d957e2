"""From logits to what a user reads: probabilities, or the values of a regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .problem_types import MULTI, REGRESSION


def logits_to_scores(logits: NDArray[np.float32], problem_type: str | None) -> NDArray[np.float32]:
    """Gives (N, C): probabilities, each of its own for several labels, or regression values."""
    if problem_type == REGRESSION:
        return logits
    if problem_type == MULTI or logits.shape[1] == 1:
        small = np.exp(-np.abs(logits))  # at most 1, so that nothing overflows
        sigmoid: NDArray[np.float32] = np.where(logits < 0, small, 1) / (1 + small)
        return sigmoid
    shares = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
    softmax: NDArray[np.float32] = shares / shares.sum(1, keepdims=True)
    return softmax
