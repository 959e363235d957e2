"""The mean token feature of texts, from which contributions are counted."""

from __future__ import annotations

import torch

from .batching import TokenizedTexts
from .explainability import check_unfolded
from .modeling_hf_attn import HfAttnForSequenceClassification

_TOKENS_AT_ONCE = 1 << 17


@torch.no_grad()
def mean_token_feature(
    model: HfAttnForSequenceClassification, texts: TokenizedTexts
) -> torch.Tensor:
    """Gives the mean feature (D,) of all tokens of the texts, bigrams included, in float32.

    Raises:
        InputError: If the model is folded.
        TypeError: If it is not a classifier of this package.
    """
    check_unfolded(model, "a mean token feature")
    embeddings = model.model.embeddings
    total = torch.zeros(model.config.hidden_size, dtype=torch.float64)
    ordered, _ = texts.sorted_by_length()
    start = 0
    while start < len(texts):
        stop = start + max(1, _TOKENS_AT_ONCE // max(int(ordered.lengths[start]), 1))
        batch = ordered.batch(range(start, min(stop, len(texts))))
        start = stop
        mask = batch["attention_mask"].to(model.device)
        features = embeddings(batch["input_ids"].to(model.device), mask, None)
        total += features[mask].cpu().double().sum(0)
    return (total / max(int(texts.lengths.sum()), 1)).float()
