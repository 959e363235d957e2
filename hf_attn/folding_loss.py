"""What a folded model's smaller numbers cost: its logits and labels beside those of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts
from .evaluation import evaluate_texts
from .modeling_hf_attn import HfAttnClassifier
from .prediction import predict_logits
from .probabilities import logits_to_scores, predicted_labels
from .problem_types import REGRESSION, SINGLE, problem_type_of

# Of the texts that are made where no data is given.
_TEXTS, _MOST_TOKENS, _SEED = 1000, 60, 0


@dataclass(frozen=True)
class FoldingLoss:
    """What folding changed, measured on N texts.

    Attributes:
        texts: N.
        source: What the texts are: the name of the data, or "drawn words".
        largest_logit_difference: The largest difference of a logit.
        changed_labels: How many texts get other labels; None for a regression.
        metrics: Scores "before" and "after"; None without labels.
    """

    texts: int
    source: str
    largest_logit_difference: float
    changed_labels: int | None
    metrics: dict[str, dict[str, float]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Gives the loss as JSON takes it."""
        return asdict(self)


def measure_loss(
    model: HfAttnClassifier, folded: HfAttnClassifier, texts: TokenizedTexts, source: str
) -> FoldingLoss:
    """Compares what a classifier and its folded form say of texts.

    Args:
        model: The classifier.
        folded: Its folded form.
        texts: N tokenized texts; with labels both are scored on them.
        source: What the texts are called.
    """
    before, after = (predict_logits(one, texts) for one in (model, folded))
    task = problem_type_of(model.config)
    changed = None
    if task == SINGLE:
        changed = int((before.argmax(1) != after.argmax(1)).sum())
    elif task != REGRESSION:
        thresholds = model.config.label_thresholds
        chosen = (
            predicted_labels(logits_to_scores(logits, task), thresholds)
            for logits in (before, after)
        )
        changed = int(np.not_equal(*chosen).any(1).sum())
    metrics = None
    if texts.labels is not None:
        scored = (evaluate_texts(one, texts).scores for one in (model, folded))
        metrics = dict(zip(("before", "after"), scored, strict=True))
    difference = float(np.abs(before - after).max(initial=0))
    return FoldingLoss(len(texts), source, difference, changed, metrics)


def draw_texts(
    tokenizer: PreTrainedTokenizerBase, token_counts: Mapping[str, int] | None
) -> TokenizedTexts:
    """Gives 1,000 texts of up to 60 tokens, drawn as often as they occurred in training.

    Args:
        tokenizer: What gives the tokens.
        token_counts: How often each occurred; without them all are drawn alike.
    """
    vocabulary = tokenizer.get_vocab()
    counts = dict.fromkeys(vocabulary, 1) if token_counts is None else token_counts
    known = {vocabulary[token]: count for token, count in counts.items() if token in vocabulary}
    ids = np.array(sorted(known), np.int32)
    weights = np.array([known[token_id] for token_id in ids.tolist()], np.float64)
    random = np.random.default_rng(_SEED)
    lengths = random.integers(1, _MOST_TOKENS + 1, _TEXTS)
    drawn = random.choice(ids, int(lengths.sum()), p=weights / weights.sum())
    return TokenizedTexts.from_ids(np.split(drawn, np.cumsum(lengths)[:-1]), tokenizer)
