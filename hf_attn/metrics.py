"""Scores of predictions for each kind of task, beside what always guessing the same would get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from .probabilities import logits_to_scores, predicted_labels, reach
from .problem_types import MULTI, SINGLE, ProblemType

# As many as Guo et al. have.
_BINS = 15


class _TextMetric(evaluate.Metric):  # type: ignore[misc]
    """An `evaluate` metric that is defined here, so that nothing is downloaded for it."""

    value: Any

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: what the model gives; references: what is true.",
            features=datasets.Features(predictions=self.value, references=self.value),
        )


class SingleLabelMetric(_TextMetric):
    """Accuracy and macro-F1 of predicted class ids."""

    value = datasets.Value("int64")

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {
            "accuracy": float(metrics.accuracy_score(references, predictions)),
            "macro_f1": float(
                metrics.f1_score(references, predictions, average="macro", zero_division=0)
            ),
        }


class MultiLabelMetric(_TextMetric):
    """Micro- and macro-F1 of the classes that reach their thresholds, and P@1 of the highest."""

    value = datasets.List(datasets.Value("float64"))

    def _compute(
        self,
        predictions: list[list[float]],
        references: list[list[float]],
        thresholds: Sequence[float] | None = None,
    ) -> dict[str, float]:
        logits, truth = np.asarray(predictions, np.float32), np.asarray(references) > 0.5
        chosen = predicted_labels(logits_to_scores(logits, MULTI), thresholds)
        highest = truth[np.arange(len(truth)), logits.argmax(-1)]
        # One column of labels would be taken for two classes, and their accuracy for micro-F1.
        only = truth.shape[1] == 1
        pairs = (truth[:, 0], chosen[:, 0]) if only else (truth, chosen)
        micro, macro = (
            float(metrics.f1_score(*pairs, average="binary" if only else average, zero_division=0))
            for average in ("micro", "macro")
        )
        return {"micro_f1": micro, "macro_f1": macro, "precision_at_1": float(highest.mean())}


class RegressionMetric(_TextMetric):
    """Pearson's and Spearman's correlation (0 where all values are the same), and MSE."""

    value = datasets.Value("float64")

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        constant = min(np.ptp(predictions), np.ptp(references)) == 0
        return {
            "pearson": 0.0 if constant else float(stats.pearsonr(predictions, references)[0]),
            "spearman": 0.0 if constant else float(stats.spearmanr(predictions, references)[0]),
            "mse": float(metrics.mean_squared_error(references, predictions)),
        }


_METRICS: dict[str, type[_TextMetric]] = {
    "single_label_classification": SingleLabelMetric,
    "multi_label_classification": MultiLabelMetric,
    "regression": RegressionMetric,
}


def score_logits(
    problem_type: ProblemType,
    logits: NDArray[Any],
    labels: NDArray[Any],
    thresholds: Sequence[float] | None = None,
) -> dict[str, float]:
    """Gives the scores of a model's logits.

    Args:
        problem_type: The kind of task.
        logits: (N, C).
        labels: (N,) class ids or values, or (N, C) 0 and 1 for several labels.
        thresholds: The probability from which on each of several labels is predicted; None for one
            half.

    Returns:
        Accuracy and macro-F1; or micro-F1, macro-F1 and P@1; or Pearson, Spearman and MSE.
    """
    if problem_type == "single_label_classification":
        predictions = logits.argmax(-1)
    elif problem_type == "regression":
        predictions = logits.reshape(labels.shape)
    else:
        predictions = logits
    metric = _METRICS[problem_type](keep_in_memory=True)
    more = {"thresholds": thresholds} if problem_type == MULTI else {}
    scores: dict[str, float] = metric.compute(predictions=predictions, references=labels, **more)
    return scores


def calibration_error(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Gives the expected calibration error: how far the likeliest class's probability is off.

    Texts are put into 15 bins of equal width by that probability; the error is the mean distance
    between a bin's mean probability and its accuracy, weighted by its texts.

    Args:
        logits: (N, C).
        labels: (N,), class ids.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    highest = logits_to_scores(logits.astype(np.float64), SINGLE).max(1)
    is_right = logits.argmax(1) == labels
    bins = np.ceil(highest * _BINS).astype(np.intp)  # the upper end of a bin belongs to it
    distances = np.bincount(bins, weights=highest - is_right)
    return float(np.abs(distances).sum() / max(len(labels), 1))


def score_answered(
    problem_type: ProblemType, logits: NDArray[Any], labels: NDArray[Any], abstain_below: float
) -> dict[str, float | None]:
    """Gives how many texts a model answers that abstains where it is unsure, and how well.

    Args:
        problem_type: Of one class or of several labels.
        logits: (N, C).
        labels: (N,) class ids, or (N, C) 0 and 1 for several labels.
        abstain_below: The least probability of the likeliest class that is an answer.

    Returns:
        `abstain_below`; `coverage`, the share of texts that are answered; and `accuracy`, the share
        of those whose likeliest class is true, None where none is answered.
    """
    best = logits.argmax(1)
    rows = np.arange(len(best))
    is_right = labels[rows, best] > 0.5 if labels.ndim == 2 else best == labels
    answered = reach(logits_to_scores(logits, problem_type)[rows, best], abstain_below)
    return {
        "abstain_below": abstain_below,
        "coverage": float(answered.mean()) if len(best) else 0.0,
        "accuracy": float(is_right[answered].mean()) if answered.any() else None,
    }


def score_baseline(
    problem_type: ProblemType, train_labels: NDArray[Any], labels: NDArray[Any], num_labels: int
) -> dict[str, float]:
    """Gives the scores of one guess for all texts: the commonest class, or the mean value.

    A guess of a class comes with the shares of the classes as its probabilities.

    Args:
        problem_type: The kind of task.
        train_labels: (N,) or (N, C), what the guess is made from.
        labels: (M,) or (M, C), what it is scored on.
        num_labels: C, the number of classes.
    """
    if problem_type == "single_label_classification":
        counts = np.bincount(train_labels, minlength=num_labels)
        guess = np.log(np.maximum(counts, np.finfo(np.float64).tiny))
    elif problem_type == "regression":
        guess = np.atleast_1d(train_labels.mean(0))
    else:
        guess = np.full(num_labels, -1.0)
        guess[train_labels.mean(0).argmax()] = 1.0
    logits = np.tile(guess, (len(labels), 1))
    scores = score_logits(problem_type, logits, labels)
    if problem_type == SINGLE:
        scores["calibration_error"] = calibration_error(logits, labels)
    return scores


def score_classes(
    logits: NDArray[Any],
    labels: NDArray[Any],
    names: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Gives precision, recall, F1 and number of texts of each class, in the model's order.

    Args:
        logits: (N, C).
        labels: (N,) class ids, or (N, C) 0 and 1 for several labels.
        names: C class names.
        thresholds: As `score_logits` takes them.
    """
    if labels.ndim == 1:
        predictions = logits.argmax(-1)
    else:
        predictions = predicted_labels(logits_to_scores(logits, MULTI), thresholds)
    counted = list(range(len(names)))
    if labels.shape[1:] == (1,):  # which would be taken for two classes
        labels, predictions, counted = labels[:, 0], predictions[:, 0], [1]
    columns = metrics.precision_recall_fscore_support(
        labels, predictions, labels=counted, zero_division=0
    )
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "texts": int(n)}
        for name, p, r, f, n in zip(names, *columns, strict=True)
    ]
