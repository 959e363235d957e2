"""From logits to what a user reads: probabilities, or the values of a regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .problem_types import MULTI, REGRESSION

THRESHOLD = 0.5  # of a label among several, where it has none of its own


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


def reach(scores: ArrayLike, thresholds: float | Sequence[float]) -> NDArray[np.bool_]:
    """Tells which probabilities are at least as high as a threshold, compared in float32.

    So a probability that is printed as 0.7 reaches 0.7.

    Args:
        scores: (..., C), or (N,) with one threshold.
        thresholds: One number for all, or C.
    """
    reached: NDArray[np.bool_] = np.asarray(scores, np.float32) >= np.asarray(
        thresholds, np.float32
    )
    return reached


def predicted_labels(
    probabilities: ArrayLike, thresholds: Sequence[float] | None
) -> NDArray[np.bool_]:
    """Tells which of several labels are predicted.

    Args:
        probabilities: (..., C), each of its own.
        thresholds: The probability from which on each label is predicted; None for one half.
    """
    return reach(probabilities, THRESHOLD if thresholds is None else thresholds)


def check_abstention(abstain_below: float | None, problem_type: str | None) -> None:
    """Refuses a least probability that no model can have.

    Raises:
        InputError: If it is not in [0, 1], or if the model gives values.
    """
    if abstain_below is None:
        return
    if problem_type == REGRESSION:
        raise InputError(
            "abstain_below is for probabilities, and this model gives values: leave it out."
        )
    is_number = isinstance(abstain_below, (int, float, np.number))
    if not is_number or not 0 <= abstain_below <= 1:
        raise InputError(f"abstain_below must be a probability, 0 to 1, got {abstain_below!r}.")
