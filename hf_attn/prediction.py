"""Class scores for texts, in the texts' order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts
from .modeling_hf_attn import HfAttnClassifier


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
        label: The class with the highest score; for regression the name of the value.
        score: Its probability; for regression the value.
        scores: Name and probability of every class, highest first.
    """

    label: str
    score: float
    scores: dict[str, float]


def predict(
    texts: Sequence[str],
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pairs: Sequence[str] | None = None,
    batch_size: int = 64,
) -> list[Prediction]:
    """Classifies texts.

    Args:
        texts: N texts; an empty one gets the scores of the bias alone.
        model: The classifier.
        tokenizer: The one it was trained with.
        pairs: N second texts, for a model of pairs.
        batch_size: Texts at once.

    Returns:
        N predictions, in the order of the texts.
    """
    logits = predict_logits(model, TokenizedTexts.from_texts(texts, tokenizer, pairs), batch_size)
    names = model.config.class_names
    return [_prediction(row, names) for row in logits_to_scores(logits, model.config.problem_type)]


def predict_logits(
    model: HfAttnClassifier, texts: TokenizedTexts, batch_size: int = 64
) -> NDArray[np.float32]:
    """Gives the logits (N, C) of tokenized texts, whatever length they have."""
    ordered, order = texts.sorted_by_length()
    logits = np.zeros((len(texts), model.num_labels), dtype=np.float32)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            rows = range(start, min(start + batch_size, len(texts)))
            batch = {k: v.to(model.device) for k, v in ordered.batch(rows).items()}
            batch.pop("labels", None)
            logits[order[rows.start : rows.stop]] = model(**batch).logits.float().cpu().numpy()
    return logits


@contextlib.contextmanager
def evaluating(model: HfAttnClassifier) -> Iterator[None]:
    """Puts the model into evaluation mode, and back into the mode it was in."""
    was_training = model.training
    if was_training:  # to tell every module takes longer than to classify a text
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def logits_to_scores(logits: NDArray[np.float32], problem_type: str | None) -> NDArray[np.float32]:
    """Gives (N, C): probabilities, each of its own for several labels, or regression values."""
    values = torch.from_numpy(logits)
    if problem_type == "regression":
        return logits
    if problem_type == "multi_label_classification" or logits.shape[1] == 1:
        return values.sigmoid().numpy()
    return values.softmax(-1).numpy()


def _prediction(row: NDArray[np.float32], names: list[str]) -> Prediction:
    order = np.argsort(-row, kind="stable")
    scores = {names[index]: float(row[index]) for index in order}
    best = names[order[0]]
    return Prediction(best, scores[best], scores)
