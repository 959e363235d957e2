"""Logits of tokenized texts on the model's own device, as training and evaluation need them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from .batching import TokenizedTexts
from .modeling_hf_attn import HfAttnClassifier


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
