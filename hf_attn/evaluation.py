"""How well a classifier does on labelled texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

from numpy.typing import NDArray

from .batching import TokenizedTexts
from .metrics import (
    calibration_error,
    score_answered,
    score_baseline,
    score_classes,
    score_logits,
)
from .modeling_hf_attn import HfAttnClassifier
from .prediction import predict_logits
from .probabilities import check_abstention
from .problem_types import MULTI, REGRESSION, SINGLE, ProblemType


@dataclass(frozen=True)
class Evaluation:
    """The scores of a classifier on N texts.

    Attributes:
        texts: N.
        scores: Accuracy, macro-F1 and calibration error; or micro-F1, macro-F1 and P@1; or Pearson,
            Spearman, MSE.
        baseline: The same of one guess for all texts: the commonest class, or the mean value.
        classes: Precision, recall, F1 and number of texts of each class; empty for regression.
        answered: With a least probability `abstain_below`, the `coverage`, or share of texts whose
            likeliest class reaches it, and the `accuracy` on those; None if not asked for.
    """

    texts: int
    scores: dict[str, float]
    baseline: dict[str, float]
    classes: list[dict[str, Any]]
    answered: dict[str, float | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Gives the evaluation as JSON takes it."""
        return asdict(self)


def evaluate_texts(
    model: HfAttnClassifier,
    texts: TokenizedTexts,
    *,
    train_labels: NDArray[Any] | None = None,
    batch_size: int = 64,
    abstain_below: float | None = None,
) -> Evaluation:
    """Scores a classifier on labelled texts.

    Args:
        model: The classifier.
        texts: N tokenized texts with labels.
        train_labels: What the baseline guesses from; None takes the labels of `texts`.
        batch_size: Texts at once.
        abstain_below: Score also the texts alone whose likeliest class has this probability.

    Raises:
        InputError: If `abstain_below` is no probability, or the model is one of values.
        ValueError: If the texts have no labels.
    """
    labels = texts.labels
    if labels is None:
        raise ValueError("Expected labelled texts, got texts without labels.")
    names = model.config.class_names
    task = cast(ProblemType, model.config.problem_type) or _task_of(labels, len(names))
    check_abstention(abstain_below, task)
    logits = predict_logits(model, texts, batch_size)
    thresholds = model.config.label_thresholds
    scores = score_logits(task, logits, labels, thresholds)
    if task == SINGLE:
        scores["calibration_error"] = calibration_error(logits, labels)
    answered = None
    if abstain_below is not None:
        answered = score_answered(task, logits, labels, abstain_below)
    guess_from = labels if train_labels is None else train_labels
    return Evaluation(
        texts=len(texts),
        scores=scores,
        baseline=score_baseline(task, guess_from, labels, len(names)),
        classes=[] if task == REGRESSION else score_classes(logits, labels, names, thresholds),
        answered=answered,
    )


def _task_of(labels: NDArray[Any], num_labels: int) -> ProblemType:
    """Gives the task of a model that was saved without one, as its loss would infer it."""
    if num_labels == 1:
        return REGRESSION
    return SINGLE if labels.dtype.kind == "i" else MULTI
