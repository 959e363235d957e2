"""Encodes texts chunk by chunk, looking up all that came before."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..words import Words, group_tokens
from .chunk_encoder import ChunkEncoder, TokenSpans
from .chunk_table import ChunkTable
from .chunks import Index, characters_before, split
from .pipelines import SEP_ID
from .truncation import keep_pairs, keep_single

# Up to so many characters Python's own dictionary is faster than setting up Arrow.
_FEW_CHARACTERS = 4000
# Of longer texts no more is read than is kept.
_MANY_CHARACTERS = 1 << 16
_CHARACTERS_PER_TOKEN = 8
_WHITE_SPACE = " \t\n\v\f\r"
_WHITE_SPACE_PATTERN = re.compile(f"[{_WHITE_SPACE}]")
# A separator reads nothing of a text, and is a word of its own.
_SEPARATOR = TokenSpans(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.bool_))


class ChunkwiseEncoder:
    """Encodes texts with one of our tokenizers, for which chunks are independent.

    Args:
        tokenizer: The tokenizer, whose truncation and padding are switched off here.
        max_length: The most tokens of a text, or None.
        truncation_side: "right" or "left".
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int | None, truncation_side: str) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._chunk_encoder = ChunkEncoder(tokenizer)
        self._table = ChunkTable(self._chunk_encoder)
        self._max_length = max_length
        self._side = truncation_side

    def encode(
        self, texts: list[str], pairs: list[str] | None
    ) -> tuple[NDArray[np.int32], Index, NDArray[np.bool_]]:
        """Gives (sum of lengths,) ids, (N,) lengths, and (N,) whether a text was cut."""
        token_ids, lengths = self._encode_all(self._shortened(texts))
        if pairs is None:
            kept = keep_single(lengths, self._max_length, self._side)
        else:
            more_ids, pair_lengths = self._encode_all(self._shortened(pairs))
            token_ids = np.concatenate([token_ids, more_ids, np.array([SEP_ID], np.int32)])
            kept = keep_pairs(lengths, pair_lengths, self._max_length, self._side)
        if kept.places is not None:
            token_ids = token_ids[kept.places]
        return token_ids, kept.lengths, kept.cut

    def words(self, texts: list[str], pairs: list[str] | None) -> Words:
        """Gives the words of the texts."""
        spans, lengths = self._find_tokens(texts)
        sides = np.zeros(len(spans.starts), np.int64)
        if pairs is None:
            kept = keep_single(lengths, self._max_length, self._side)
        else:
            more_spans, pair_lengths = self._find_tokens(pairs)
            spans = TokenSpans.concatenate([spans, more_spans, _SEPARATOR])
            sides = np.repeat([0, 1, -1], [len(sides), len(more_spans.starts), 1])
            kept = keep_pairs(lengths, pair_lengths, self._max_length, self._side)
        if kept.places is not None:
            spans = spans.take(kept.places)
            sides = sides[kept.places]
        # What is left of a word that was cut begins with the first token of its text.
        of_token = np.repeat(np.arange(len(texts)) * 3, kept.lengths) + sides
        begins = spans.begin_word | (np.diff(of_token, prepend=-2) != 0)
        offsets = np.stack([spans.starts, spans.ends], axis=1)
        return group_tokens(begins, offsets, kept.lengths, sides, sides < 0)

    def _encode_all(self, texts: list[str]) -> tuple[NDArray[np.int32], Index]:
        """Gives the ids of all tokens of the texts, and (N,) how many each has."""
        if self._table.is_full:
            self._table = ChunkTable(self._chunk_encoder)
        table = self._table
        if sum(map(len, texts)) <= _FEW_CHARACTERS:
            chunks = [text.split() for text in texts]
            numbers, _ = table.numbers_of_few(list(chain.from_iterable(chunks)))
            of_text = np.cumsum([0, *map(len, chunks)])
        else:
            in_chunks = split(texts)
            numbers, of_text = table.numbers(in_chunks.values), in_chunks.of_text
        positions, counts = table.positions(numbers)
        return table.token_ids(positions), _sums(counts, of_text)

    def _find_tokens(self, texts: list[str]) -> tuple[TokenSpans, Index]:
        """Gives where all tokens of the texts stand, and (N,) how many each text has."""
        shortened = self._shortened(texts)
        chunks, table = split(shortened), self._table
        numbers = table.numbers(chunks.values)
        positions, counts = table.positions(numbers)
        spans = table.spans(numbers, positions)
        before = characters_before(chunks)
        if self._side == "left":
            lost = [len(text) - len(short) for text, short in zip(texts, shortened, strict=True)]
            before += np.repeat(lost, np.diff(chunks.of_text))
        return spans.moved(np.repeat(before, counts)), _sums(counts, chunks.of_text)

    def _shortened(self, texts: list[str]) -> list[str]:
        """Leaves out of very long texts what would be cut anyway."""
        if self._max_length is None or max(map(len, texts), default=0) <= _MANY_CHARACTERS:
            return texts
        return [
            text if len(text) <= _MANY_CHARACTERS else self._shorten(text, self._max_length)
            for text in texts
        ]

    def _shorten(self, text: str, max_length: int) -> str:
        """Gives one end of a text that has more tokens than are kept, or the whole text."""
        size = max(max_length * _CHARACTERS_PER_TOKEN, _MANY_CHARACTERS)
        while size < len(text):
            if self._side == "left":
                end = len(text) - size
                part = text[max(text.rfind(space, 0, end) for space in _WHITE_SPACE) + 1 :]
            else:
                found = _WHITE_SPACE_PATTERN.search(text, size)
                part = text[: found.start()] if found else text
            _, (length,) = self._encode_all([part])
            if length > max_length:
                return part
            size *= 4
        return text


def _sums(counts: Index, of_text: Index) -> Index:
    """Gives (N,) the tokens of each text, from (M,) those of its chunks."""
    return np.diff(np.concatenate([[0], np.cumsum(counts)])[of_text])
