"""Classes with what a model says of each, of one text or of several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..explanation import Explanation
from ..probabilities import logits_to_scores
from ..word_sums import Array


class ClassRow(NamedTuple):
    """A class.

    Attributes:
        name: What it is called.
        scores: Its probability in each text; for a regression the value.
        logits: Its logit in each.
    """

    name: str
    scores: tuple[float, ...]
    logits: tuple[float, ...]


def likeliest_first(logits: Array) -> list[int]:
    """Gives the indices of the classes by their logits (C,), the highest first."""
    return [int(place) for place in np.argsort(-logits, kind="stable")]


def class_rows(
    explanation: Explanation, order: Sequence[int], logits: Sequence[Array]
) -> Iterator[ClassRow]:
    """Yields classes.

    Args:
        explanation: Of the first text.
        order: Which classes, in which order.
        logits: Those of each text, (C,).
    """
    of_texts = np.stack(logits)
    scores = logits_to_scores(of_texts.astype(np.float32), explanation.problem_type)
    for place in order:
        yield ClassRow(
            explanation.class_names[place],
            tuple(scores[:, place].tolist()),
            tuple(of_texts[:, place].tolist()),
        )
