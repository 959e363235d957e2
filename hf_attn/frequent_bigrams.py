"""The pairs of neighbouring tokens that occur often enough to have rows of their own."""

from __future__ import annotations

import numpy as np
import torch

from .arguments import ModelArguments
from .batching import TokenizedTexts
from .modeling_hf_attn import HfAttnForSequenceClassification


def give_rows_to_bigrams(
    model: HfAttnForSequenceClassification, arguments: ModelArguments, texts: TokenizedTexts
) -> None:
    """Lets a fresh model know the frequent pairs of the training texts, and no others.

    A model that the run starts from keeps its own pairs; and where the settings ask for no least
    frequency, all pairs are hashed into the rows.

    Args:
        model: The model as it was built.
        arguments: What it was built from.
        texts: The training texts.
    """
    rows = model.config.ngram_buckets
    if arguments.model is None and rows and arguments.ngram_min_frequency:
        pairs = frequent_bigrams(texts, arguments.ngram_min_frequency)
        model.model.set_known_bigrams(pairs[: rows - 1])


def frequent_bigrams(texts: TokenizedTexts, min_frequency: int) -> torch.Tensor:
    """Gives the pairs (P, 2) of neighbouring tokens in texts, the most frequent first.

    The first token of a text makes a pair with the pad id before it.

    Args:
        texts: The texts.
        min_frequency: Fewest times that a pair must occur.
    """
    ids = texts.token_ids.astype(np.int64)
    previous = np.roll(ids, 1)
    previous[texts.starts[texts.lengths > 0]] = texts.pad_token_id
    pairs, counts = np.unique((previous << 32) + ids, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts >= min_frequency)]
    chosen = pairs[order]
    return torch.from_numpy(np.stack([chosen >> 32, chosen & 0xFFFFFFFF], 1))
