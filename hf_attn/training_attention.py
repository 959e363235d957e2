"""How a model attends to a sample of texts: the entropy and the largest share that a trace shows.

Shapes: B texts, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from .batching import TokenizedTexts
from .modeling_hf_attn import HfAttnForSequenceClassification
from .prediction import evaluating

logger = logging.getLogger(__name__)

# The same texts are measured after each epoch, so a change is no matter of chance.
MAX_TEXTS = 128
# T x T weights are looked at, so long texts are cut.
MAX_TOKENS = 256
# A text of one token has nothing to choose from.
_LEAST_TOKENS = 2
_WEIGHTS_AT_ONCE = 1 << 20


def sample_texts(dataset: Any) -> TokenizedTexts | None:
    """Gives at most `MAX_TEXTS` texts evenly spaced over a data set, each cut at `MAX_TOKENS`.

    Texts of one token are left out.

    Args:
        dataset: Anything with a length whose items hold `input_ids`, and `attention_mask` where
            they are padded.

    Returns:
        The texts, longest first; None if there are none, or if they cannot be picked out.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        logger.warning(
            "attention is not traced: texts cannot be picked out of a %s. Give some with "
            "TrainingTraceCallback(texts=...).", type(dataset).__name__,
        )  # fmt: skip
        return None
    rows = np.linspace(0, len(dataset) - 1, min(len(dataset), MAX_TEXTS)).round().astype(int)
    texts = [ids for row in rows.tolist() if len(ids := _ids(dataset[row])) >= _LEAST_TOKENS]
    if not texts:
        return None
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return TokenizedTexts(np.concatenate(texts), lengths, None, 0).sorted_by_length()[0]


def _ids(item: Any) -> NDArray[np.int32]:
    ids = np.asarray(item["input_ids"], np.int32)
    if "attention_mask" in item:
        ids = ids[np.asarray(item["attention_mask"], bool)]
    return ids[:MAX_TOKENS]


def even_attention(texts: TokenizedTexts, window: int) -> tuple[float, float]:
    """Gives what [`measure_attention`] would if every token read all that it sees alike.

    Args:
        texts: The sample.
        window: Tokens that a token sees to each side; 0 for all.
    """
    if not window:
        return float(np.log(texts.lengths).mean()), float((1 / texts.lengths).mean())
    entropies, shares = [], []
    for length in texts.lengths.tolist():
        places = np.arange(length)
        seen = abs(places - places[:, None]) <= window
        weights = seen / seen.sum(1, keepdims=True)
        entropies.append(np.log(seen.sum(1)).mean())
        shares.append(weights.mean(0).max())
    return float(np.mean(entropies)), float(np.mean(shares))


@torch.inference_mode()
def measure_attention(
    model: HfAttnForSequenceClassification, texts: TokenizedTexts
) -> tuple[float, float]:
    """Gives the mean entropy of attention weights in nats, and the mean largest share received.

    Both are means over texts. The entropy of a text is the mean over its tokens, each as the one
    that reads the others: -sum_j A_ij ln A_ij. The largest share is max_j of a = p A, what the
    pooled text reads of each token.

    Args:
        model: The classifier; it is read in evaluation mode and left in the mode it was in.
        texts: N texts of at least one token, longest first.
    """
    entropies, shares = [], []
    with evaluating(model):
        for rows in _batches(texts):
            batch = {name: part.to(model.device) for name, part in texts.batch(rows).items()}
            attended = model.model(
                **batch, output_attentions=True, output_last_hidden_state=False, return_dict=True
            )
            weights = attended.attentions[0].squeeze(1)  # (B, T, T), rows of 0 at padding
            of_rows = torch.special.entr(weights).sum(-1)
            entropies.append(of_rows.sum(-1) / batch["attention_mask"].sum(-1))
            shares.append(attended.attention_received.amax(-1))
    means = [torch.cat(parts).cpu().double().mean().item() for parts in (entropies, shares)]
    return means[0], means[1]


def _batches(texts: TokenizedTexts) -> Iterator[range]:
    """Yields rows whose attention weights, padded to the first of them, are few enough."""
    start = 0
    while start < len(texts):
        fitting = max(1, _WEIGHTS_AT_ONCE // int(texts.lengths[start]) ** 2)
        yield range(start, min(start + fitting, len(texts)))
        start += fitting
