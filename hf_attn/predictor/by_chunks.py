"""Encodes texts chunk by chunk, looking up all that came before."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from ..words import Words, group_tokens
from .chunk_encoder import ChunkEncoder, TokenSpans
from .chunk_table import ChunkTable, Numbers
from .chunks import FewChunks, Index, ManyChunks, split_few, split_many
from .memory import keep_freed_memory
from .pipelines import SEP_ID
from .truncation import keep_pairs, keep_single

# For so few characters Python's own dictionary is faster than setting up Arrow, which takes for a
# hot chunk as long as the dictionary for one and a half characters.
_FEW_CHARACTERS = 2000
_CHARACTERS_PER_HOT_CHUNK = 1.5
# Of longer texts no more is read than is kept.
_MANY_CHARACTERS = 1 << 16
_CHARACTERS_PER_TOKEN = 8
_WHITE_SPACE = re.compile(r"[ \t-\r]")
# Between two of these nothing is shared either, though `unigram` marks where a chunk begins.
_LONE, _HAN = r"[!-/:-@\[-^`{-~]", "[\u4e00-\u9fff]"
_CUT = re.compile(rf"{_WHITE_SPACE.pattern}|(?<={_LONE})(?={_LONE})|(?<={_HAN})(?={_HAN})")
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
        keep_freed_memory()
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._chunk_encoder = ChunkEncoder(tokenizer)
        self._table = ChunkTable(self._chunk_encoder)
        self._max_length = max_length
        self._side = truncation_side
        marks_beginnings = isinstance(tokenizer.model, Unigram) and truncation_side == "left"
        self._cut = _WHITE_SPACE if marks_beginnings else _CUT

    def encode(
        self, texts: list[str], pairs: list[str] | None
    ) -> tuple[NDArray[np.int32], Index, NDArray[np.bool_]]:
        """Gives (sum of lengths,) ids, (N,) lengths, and (N,) whether a text was cut."""
        token_ids, lengths = self._encode_all(self._shortened(texts) if pairs is None else texts)
        if pairs is None:
            kept = keep_single(lengths, self._max_length, self._side)
        else:
            more_ids, pair_lengths = self._encode_all(pairs)
            token_ids = np.concatenate([token_ids, more_ids, np.array([SEP_ID], np.int32)])
            kept = keep_pairs(lengths, pair_lengths, self._max_length, self._side)
        if kept.places is not None:
            token_ids = token_ids[kept.places]
        return token_ids, kept.lengths, kept.cut

    def words(self, texts: list[str], pairs: list[str] | None) -> Words:
        """Gives the words of the texts."""
        if pairs is None:
            spans, lengths = self._find_tokens(texts, self._shortened(texts))
            sides = np.zeros(len(spans.starts), np.int64)
            kept = keep_single(lengths, self._max_length, self._side)
        else:
            spans, lengths = self._find_tokens(texts, texts)
            more_spans, pair_lengths = self._find_tokens(pairs, pairs)
            spans = TokenSpans.concatenate([spans, more_spans, _SEPARATOR])
            sides = np.repeat([0, 1, -1], [lengths.sum(), pair_lengths.sum(), 1])
            kept = keep_pairs(lengths, pair_lengths, self._max_length, self._side)
        if kept.places is not None:
            spans = spans.take(kept.places)
            sides = sides[kept.places]
        # What is left of a word that was cut begins with the first token of its text.
        of_token = np.repeat(np.arange(len(texts)) * 3, kept.lengths) + sides
        begins = spans.begin_word | (np.diff(of_token, prepend=-2) != 0)
        offsets = np.stack([spans.starts, spans.ends], axis=1)
        return group_tokens(begins, offsets, kept.lengths, sides, sides < 0)

    def _encode_all(self, texts: list[str]) -> tuple[Numbers, Index]:
        """Gives the ids of all tokens of the texts, and (N,) how many each has."""
        table = self._table
        chunks = _split(texts, table)
        positions, counts = table.positions(table.numbers(chunks.values))
        if table.is_full:
            self._table = ChunkTable(self._chunk_encoder)
        return table.token_ids(positions), _sums(counts, chunks.of_text)

    def _find_tokens(self, texts: list[str], shortened: list[str]) -> tuple[TokenSpans, Index]:
        """Gives where all tokens of the texts stand, and (N,) how many each text has."""
        table = self._table
        chunks = _split(shortened, table)
        numbers = table.numbers(chunks.values)
        positions, counts = table.positions(numbers)
        before = chunks.characters_before()
        if self._side == "left":
            lost = [len(text) - len(short) for text, short in zip(texts, shortened, strict=True)]
            before += np.repeat(lost, np.diff(chunks.of_text))
        spans = table.spans(numbers, positions).moved(np.repeat(before, counts))
        return spans, _sums(counts, chunks.of_text)

    def _shortened(self, texts: list[str]) -> list[str]:
        """Leaves out of very long texts what would be cut anyway.

        Not for pairs: of two texts the one that has more tokens loses more.
        """
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
            cut = self._cut.search(text, len(text) - size if self._side == "left" else size)
            if cut is None:
                break
            part = text[cut.end() :] if self._side == "left" else text[: cut.start()]
            _, (length,) = self._encode_all([part])
            if length > max_length:
                return part
            size *= 4
        return text


def _split(texts: list[str], table: ChunkTable) -> FewChunks | ManyChunks:
    few = _FEW_CHARACTERS + _CHARACTERS_PER_HOT_CHUNK * table.num_hot
    return split_few(texts) if sum(map(len, texts)) <= few else split_many(texts)


def _sums(counts: NDArray[np.int32], of_text: Index) -> Index:
    """Gives (N,) the tokens of each text, from (M,) those of its chunks."""
    return np.diff(np.concatenate([[0], np.cumsum(counts)])[of_text])
