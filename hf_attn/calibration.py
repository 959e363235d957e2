"""Fits a temperature, and thresholds for several labels, to what a classifier says of texts.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, softmax

from .batching import TokenizedTexts
from .evaluation import evaluate_texts
from .modeling_hf_attn import HfAttnForSequenceClassification
from .prediction import predict_logits
from .probabilities import THRESHOLD, logits_to_scores
from .problem_types import MULTI, REGRESSION, ProblemType

logger = logging.getLogger(__name__)

# A temperature outside would be the sign of texts that say nothing about it.
COLDEST, HOTTEST = 0.05, 20.0
# A label of fewer texts than these has the threshold of all labels together.
LEAST_TEXTS = 100


@dataclass(frozen=True)
class Calibration:
    """What was fitted after a training, and the scores before it.

    Attributes:
        split: Where it was fitted.
        temperature: What the logits were divided by; 1 where none fits better than all others.
        label_thresholds: The probability from which on each of several labels is predicted; None
            for one class.
        before: Name of a split to its scores without both.
    """

    split: str
    temperature: float
    label_thresholds: list[float] | None
    before: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Gives the calibration as JSON takes it."""
        return asdict(self)


def calibrate(
    model: HfAttnForSequenceClassification,
    texts: Mapping[str, TokenizedTexts],
    *,
    split: str = "validation",
    average: str = "micro",
    batch_size: int = 64,
) -> Calibration | None:
    """Divides a classifier's logits by a temperature, and sets the thresholds of several labels.

    Which class is the likeliest stays the same. Thresholds come after the temperature.

    Args:
        model: The classifier, which changes. One of several labels must have no thresholds yet.
        texts: Name of a split to its tokenized and labelled texts.
        split: What to fit it on: texts that the model was not trained on.
        average: As `fit_thresholds` takes it.
        batch_size: Texts at once.

    Returns:
        What was fitted; None for a regression, which has no probabilities, or without texts.
    """
    task = cast(ProblemType, model.config.problem_type)
    if task == REGRESSION or split not in texts or not len(texts[split]):
        return None
    before = {
        name: evaluate_texts(model, texts[name], batch_size=batch_size).scores
        for name in (split, "test")
        if name in texts
    }
    labels = cast("NDArray[Any]", texts[split].labels)
    temperature = fit_temperature(task, predict_logits(model, texts[split], batch_size), labels)
    if temperature == 1:
        logger.info("no temperature between %g and %g fits %s best", COLDEST, HOTTEST, split)
    model.score.divide_logits(temperature)
    thresholds = None
    if task == MULTI:
        logits = predict_logits(model, texts[split], batch_size)
        thresholds = fit_thresholds(logits_to_scores(logits, task), labels, average)
        model.config.label_thresholds = thresholds
    return Calibration(split, temperature, thresholds, before)


def fit_temperature(task: ProblemType, logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Gives the temperature whose quotients of the logits have the lowest negative log-likelihood.

    The loss is convex in 1 / temperature, so the one place where its slope is 0 is looked for, in
    float64. There may be none between 0.05 and 20: where every text is right, the loss falls
    without end the colder it gets, and where the logits tell nothing, the hotter. Neither says how
    sure the model may be, so its probabilities stay then.

    Args:
        task: Of one class or of several labels.
        logits: (N, C).
        labels: (N,) class ids, or (N, C) 0 and 1 for several labels.

    Returns:
        The temperature; 1 where there is none.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """
    logits = logits.astype(np.float64)
    if task == MULTI:
        of_truth = (labels * logits).sum()
    else:
        of_truth = np.take_along_axis(logits, labels[:, None].astype(np.intp), 1).sum()

    def slope(inverse: float) -> float:
        """Gives the slope of the loss of all texts at 1 / temperature."""
        scores = expit(inverse * logits) if task == MULTI else softmax(inverse * logits, axis=1)
        return float((scores * logits).sum() - of_truth)

    least, most = 1 / HOTTEST, 1 / COLDEST
    if not slope(least) < 0 < slope(most):
        return 1.0
    return float(1 / brentq(slope, least, most, xtol=1e-12))


def fit_thresholds(
    probabilities: NDArray[Any], labels: NDArray[Any], average: str = "micro"
) -> list[float]:
    """Gives for each label the probability from which on it is predicted.

    The highest micro-F1 has one threshold for all where probabilities are right, and one number
    that is fitted on all labels holds for rare ones, too. The highest macro-F1 has one for each.
    But a threshold that is fitted on few texts is that of their accidents, so labels of fewer than
    100 keep the one for all.

    Args:
        probabilities: (N, C), each of its own, in float32.
        labels: (N, C), 0 and 1.
        average: The F1 to make high: "micro", of all decisions, or "macro", of each label.

    Returns:
        C numbers in (0, 1). A label is predicted where its probability is as high.

    Source: Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure"; Yang
    2001, "A Study of Thresholding Strategies for Text Categorization", on the rare labels.
    """
    truth = labels > THRESHOLD
    shared = best_threshold(probabilities.ravel(), truth.ravel())
    if average == "micro":
        return [shared] * labels.shape[1]
    return [
        best_threshold(probabilities[:, label], truth[:, label]) if count >= LEAST_TEXTS else shared
        for label, count in enumerate(truth.sum(0).tolist())
    ]


def best_threshold(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    """Gives the threshold of the highest F1, of several the nearest to one half.

    Args:
        scores: (N,), probabilities in float32.
        truth: (N,).

    Returns:
        One half, or the middle between two neighbouring scores; one half without a true label.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = np.append(scores[order].astype(np.float32), np.float32(0))
    last = np.flatnonzero(ordered[:-1] > ordered[1:])  # of each run of equal scores
    if not truth.any() or not len(last):
        return THRESHOLD
    hits = np.cumsum(truth[order])[last]
    f1 = 2 * hits / (last + 1 + truth.sum())
    upper, lower = ordered[last], ordered[last + 1]
    middle = ((upper.astype(np.float64) + lower) / 2).astype(np.float32)
    middle = np.where(middle > lower, middle, upper)
    middle[(lower < THRESHOLD) & (upper >= THRESHOLD)] = THRESHOLD
    f1[(middle <= 0) | (middle >= 1)] = -1
    best = np.flatnonzero(f1 == f1.max())
    if f1.max() <= 0:
        return THRESHOLD
    return float(middle[best[np.abs(middle[best] - THRESHOLD).argmin()]])
