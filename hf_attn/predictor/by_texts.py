"""Encodes whole texts with the tokenizer itself, whatever it does."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..words import Words, find_words
from .chunks import Index


class OrdinaryEncoder:
    """Encodes texts with any tokenizer, and takes nothing but ids.

    Args:
        tokenizer: The tokenizer, whose truncation and padding are set here.
        max_length: The most tokens of a text, or None.
        truncation_side: "right" or "left".
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int | None, truncation_side: str) -> None:
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if max_length is not None:
            tokenizer.enable_truncation(max_length, direction=truncation_side)

    def encode(
        self, texts: list[str], pairs: list[str] | None
    ) -> tuple[NDArray[np.int32], Index, NDArray[np.bool_]]:
        """Gives (sum of lengths,) ids, (N,) lengths, and (N,) whether a text was cut."""
        encodings = self._tokenizer.encode_batch_fast(_inputs(texts, pairs))
        lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
        ids = chain.from_iterable(encoding.ids for encoding in encodings)
        cut = np.fromiter((bool(one.overflowing) for one in encodings), np.bool_, len(encodings))
        return np.fromiter(ids, np.int32, int(lengths.sum())), lengths, cut

    def words(self, texts: list[str], pairs: list[str] | None) -> Words:
        """Gives the words of the texts."""
        return find_words(self._tokenizer.encode_batch(_inputs(texts, pairs)), texts, pairs)


def _inputs(texts: list[str], pairs: list[str] | None) -> list[Any]:
    return texts if pairs is None else list(zip(texts, pairs, strict=True))
