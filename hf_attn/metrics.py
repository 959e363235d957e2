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

from .problem_types import ProblemType


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
    """Micro- and macro-F1 of the classes with a logit above 0, and P@1 of the highest one."""

    value = datasets.List(datasets.Value("float64"))

    def _compute(
        self, predictions: list[list[float]], references: list[list[float]]
    ) -> dict[str, float]:
        logits, truth = np.asarray(predictions), np.asarray(references) > 0.5
        chosen = logits > 0
        highest = truth[np.arange(len(truth)), logits.argmax(-1)]
        return {
            "micro_f1": float(metrics.f1_score(truth, chosen, average="micro", zero_division=0)),
            "macro_f1": float(metrics.f1_score(truth, chosen, average="macro", zero_division=0)),
            "precision_at_1": float(highest.mean()),
        }


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
    problem_type: ProblemType, logits: NDArray[Any], labels: NDArray[Any]
) -> dict[str, float]:
    """Gives the scores of a model's logits.

    Args:
        problem_type: The kind of task.
        logits: (N, C).
        labels: (N,) class ids or values, or (N, C) 0 and 1 for several labels.

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
    scores: dict[str, float] = metric.compute(predictions=predictions, references=labels)
    return scores


def score_baseline(
    problem_type: ProblemType, train_labels: NDArray[Any], labels: NDArray[Any], num_labels: int
) -> dict[str, float]:
    """Gives the scores of one guess for all texts: the commonest class, or the mean value.

    Args:
        problem_type: The kind of task.
        train_labels: (N,) or (N, C), what the guess is made from.
        labels: (M,) or (M, C), what it is scored on.
        num_labels: C, the number of classes.
    """
    if problem_type == "single_label_classification":
        guess = np.bincount(train_labels, minlength=num_labels).astype(np.float64)
    elif problem_type == "regression":
        guess = np.atleast_1d(train_labels.mean(0))
    else:
        guess = np.full(num_labels, -1.0)
        guess[train_labels.mean(0).argmax()] = 1.0
    return score_logits(problem_type, np.tile(guess, (len(labels), 1)), labels)


def score_classes(
    logits: NDArray[Any], labels: NDArray[Any], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Gives precision, recall, F1 and number of texts of each class, in the model's order.

    Args:
        logits: (N, C).
        labels: (N,) class ids, or (N, C) 0 and 1 for several labels.
        names: C class names.
    """
    predictions = logits.argmax(-1) if labels.ndim == 1 else logits > 0
    columns = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(len(names)), zero_division=0
    )
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "texts": int(n)}
        for name, p, r, f, n in zip(names, *columns, strict=True)
    ]
