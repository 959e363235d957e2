"""Tokenized texts in flat arrays, handed out as padded batches of similar length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from .errors import InputError
from .texts import check_text

if TYPE_CHECKING:
    import datasets
    from numpy.typing import NDArray
    from transformers import BatchEncoding, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 4096
# Batches that are sorted by length together: enough to pad little, few enough to stay random.
_BATCHES_PER_GROUP = 50


class TokenizedTexts(Dataset[dict[str, torch.Tensor]]):
    """Texts as token ids, one flat array; a list of indices gives one padded batch.

    Args:
        token_ids: (sum of lengths,), the ids of all texts, one after the other.
        lengths: (N,), tokens in each text.
        labels: (N,) class ids or values, or (N, C) 0 and 1; None for texts to predict.
        pad_token_id: What fills up a batch.
        num_truncated: How many of the texts were cut at the tokenizer's maximum length.
    """

    def __init__(
        self,
        token_ids: NDArray[np.int32],
        lengths: NDArray[np.int64],
        labels: NDArray[Any] | None,
        pad_token_id: int,
        num_truncated: int = 0,
    ) -> None:
        self.token_ids = token_ids
        self.lengths = lengths
        self.starts = np.cumsum(lengths) - lengths
        self.labels = labels
        self.pad_token_id = pad_token_id
        self.num_truncated = num_truncated

    @classmethod
    def from_texts(
        cls,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        pairs: Sequence[str] | None = None,
        labels: NDArray[Any] | None = None,
    ) -> TokenizedTexts:
        """Tokenizes texts, or pairs of texts, cutting each at `tokenizer.model_max_length`."""
        ids: list[NDArray[np.int32]] = []
        num_truncated = 0
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            encoded = encode(texts[part], tokenizer, None if pairs is None else pairs[part])
            ids.extend(np.asarray(row, dtype=np.int32) for row in encoded["input_ids"])
            num_truncated += sum(bool(row.overflowing) for row in encoded.encodings or ())
        if num_truncated:
            logger.warning(
                "%d of %d texts were cut at %d tokens, the tokenizer's model_max_length",
                num_truncated, len(texts), tokenizer.model_max_length,
            )  # fmt: skip
        return cls.from_ids(ids, tokenizer, labels, num_truncated)

    @classmethod
    def from_ids(
        cls,
        ids: Sequence[Sequence[int] | NDArray[np.int32]],
        tokenizer: PreTrainedTokenizerBase,
        labels: NDArray[Any] | None = None,
        num_truncated: int = 0,
    ) -> TokenizedTexts:
        """Takes the token ids of each text."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.concatenate(ids) if len(ids) else np.empty(0)
        return cls(
            flat.astype(np.int32), lengths, labels, tokenizer.pad_token_id or 0, num_truncated
        )

    @classmethod
    def from_dataset(
        cls, dataset: datasets.Dataset, tokenizer: PreTrainedTokenizerBase
    ) -> TokenizedTexts:
        """Tokenizes a split that [`load_text_dataset`] gave, with its labels."""
        pairs = dataset["text_pair"][:] if "text_pair" in dataset.column_names else None
        return cls.from_texts(dataset["text"][:], tokenizer, pairs, label_array(dataset))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        return self.batch(indices)  # what `DataLoader` calls with the indices of a batch

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Gives the texts as one batch: ids and mask (B, T), padded on the right, and labels."""
        rows = np.asarray(indices)
        lengths = self.lengths[rows, None]
        positions = np.arange(lengths.max(initial=0))
        mask = positions < lengths
        ids = np.full(mask.shape, self.pad_token_id, dtype=np.int64)
        ids[mask] = self.token_ids[(self.starts[rows, None] + positions)[mask]]
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(self.labels[rows])
        return batch

    def sorted_by_length(self) -> tuple[TokenizedTexts, NDArray[np.int64]]:
        """Gives the same texts longest first, and (N,) where each of them stood."""
        order = np.argsort(-self.lengths, kind="stable")
        spans = [slice(self.starts[row], self.starts[row] + self.lengths[row]) for row in order]
        ids = [self.token_ids[span] for span in spans]
        texts = TokenizedTexts(
            np.concatenate(ids) if ids else self.token_ids,
            self.lengths[order],
            None if self.labels is None else self.labels[order],
            self.pad_token_id,
            self.num_truncated,
        )
        return texts, order


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, pairs: Sequence[str] | None = None
) -> BatchEncoding:
    """Tokenizes texts, or pairs of texts, cutting each at `tokenizer.model_max_length`."""
    try:
        encoded: BatchEncoding = tokenizer(
            list(texts),
            None if pairs is None else list(pairs),
            truncation=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
    except (TypeError, ValueError) as error:  # which names no text
        for text in (*texts, *(pairs or ())):
            check_text(text)
        raise InputError(f"the texts cannot be tokenized: {error}") from error
    return encoded


def label_array(dataset: datasets.Dataset) -> NDArray[Any] | None:
    """Gives a split's labels as the model takes them.

    Returns:
        (N,) int64 class ids, (N,) float32 values, or for several labels (N, C) float32 0 and 1;
        None if the split has none.
    """
    if "labels" in dataset.column_names:
        names = dataset.features["labels"].feature.names
        targets = np.zeros((len(dataset), len(names)), np.float32)
        for row, classes in enumerate(dataset["labels"]):
            targets[row, classes] = 1
        return targets
    if "label" not in dataset.column_names:
        return None
    is_class = hasattr(dataset.features["label"], "names")
    return np.asarray(dataset["label"][:], dtype=np.int64 if is_class else np.float32)


def keep_batch(batch: Any) -> Any:
    """Gives the batch as it is: the collator for [`TokenizedTexts`], which pads by itself."""
    return batch


class LengthGroupedSampler(Sampler[int]):
    """Shuffles texts so that each run of `batch_size` of them has similar lengths.

    The order depends on the seed and the epoch alone, so a resumed run sees what an
    uninterrupted one would.

    Args:
        lengths: (N,), tokens in each text.
        batch_size: Texts in a batch.
        seed: Of the shuffling.
    """

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Picks the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        shuffled = random.permutation(len(self.lengths))
        group = np.arange(len(shuffled)) // (self.batch_size * _BATCHES_PER_GROUP)
        by_length = shuffled[np.lexsort((self.lengths[shuffled], group))]
        whole = len(by_length) // self.batch_size * self.batch_size
        batches = by_length[:whole].reshape(-1, self.batch_size)
        # A batch that is not full must come last, or it would push all others out of step.
        yield from random.permutation(batches).ravel().tolist()
        yield from by_length[whole:].tolist()
