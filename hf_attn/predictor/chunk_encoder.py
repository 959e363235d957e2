"""Encodes chunks that were not seen before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordLevel

from ..words import find_words
from .chunks import Index
from .pipelines import lowercases

_CHUNKS_AT_ONCE = 256
# What `tokenization_hf_attn` takes for a token, as far as it concerns ASCII.
_ASCII_TOKEN = re.compile(
    r"\w+(?:(?<=[0-9])[.,](?=[0-9])\w+)*(?:'[A-Za-z]{1,2}(?!\w))?|[!-~]", re.ASCII
)


class EncodedChunks(NamedTuple):
    """M chunks with T tokens in all.

    Attributes:
        chunks: (M,), the chunks, in any order.
        token_ids: (T,), their tokens, one after the other.
        counts: (M,), how many tokens each has.
    """

    chunks: Sequence[str]
    token_ids: NDArray[np.int32]
    counts: Index


class TokenSpans(NamedTuple):
    """Where the T tokens of some chunks stand in their chunk.

    Attributes:
        starts: (T,), the first character.
        ends: (T,), one past the last.
        begin_word: (T,), whether it is the first token of a word.
    """

    starts: Index
    ends: Index
    begin_word: NDArray[np.bool_]

    @classmethod
    def concatenate(cls, parts: Sequence[TokenSpans]) -> TokenSpans:
        """Gives the spans of all parts, one after the other."""
        starts, ends, begin_word = zip(*parts, strict=True)
        return cls(np.concatenate(starts), np.concatenate(ends), np.concatenate(begin_word))

    def take(self, places: Index) -> TokenSpans:
        """Gives the spans of the tokens at these places."""
        return TokenSpans(self.starts[places], self.ends[places], self.begin_word[places])

    def moved(self, by: Index) -> TokenSpans:
        """Gives the spans so many characters later, (T,) or one number for all."""
        return TokenSpans(self.starts + by, self.ends + by, self.begin_word)


NO_SPANS = TokenSpans(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))


class ChunkEncoder:
    """Encodes chunks as the tokenizer encodes them within a text.

    Args:
        tokenizer: One of ours, that cuts and pads nothing.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._words = None
        if isinstance(tokenizer.model, WordLevel):
            vocabulary = tokenizer.get_vocab(with_added_tokens=False)
            unknown = vocabulary[tokenizer.model.unk_token]
            self._words = _WordDictionary(vocabulary, unknown, lowercase=lowercases(tokenizer))

    def encode(self, chunks: Sequence[str]) -> Iterator[EncodedChunks]:
        """Yields the chunks, each once, with their tokens."""
        if self._words is not None:
            simple = [chunk for chunk in chunks if chunk.isascii() and "[" not in chunk]
            yield self._words.encode(simple)
            chunks = [chunk for chunk in chunks if not chunk.isascii() or "[" in chunk]
        for part in _groups(chunks):
            encoding, chunk_starts = self._encode_joined(part)
            chunk_of_token = np.searchsorted(chunk_starts, _offsets(encoding)[:, 0], "right") - 1
            counts = np.bincount(chunk_of_token, minlength=len(part))
            yield EncodedChunks(part, np.array(encoding.ids, np.int32), counts)

    def find_spans(self, chunks: Sequence[str]) -> TokenSpans:
        """Gives where the tokens of the chunks stand, and which of them begin a word."""
        spans = [NO_SPANS]
        for part in _groups(chunks):
            encoding, chunk_starts = self._encode_joined(part)
            offsets = _offsets(encoding)
            before = chunk_starts[np.searchsorted(chunk_starts, offsets[:, 0], "right") - 1]
            begin_word = np.zeros(len(offsets), dtype=np.bool_)
            begin_word[find_words([encoding], [" ".join(part)]).first_token] = True
            spans.append(TokenSpans(offsets[:, 0], offsets[:, 1], begin_word).moved(-before))
        return TokenSpans.concatenate(spans)

    def _encode_joined(self, chunks: Sequence[str]) -> tuple[Encoding, Index]:
        """Encodes chunks as one text, a third of the time of one by one; (M,) starts of each."""
        sizes = np.fromiter(map(len, chunks), np.int64, len(chunks)) + 1
        return self._tokenizer.encode(" ".join(chunks)), np.cumsum(sizes) - sizes


class _WordDictionary:
    """Encodes ASCII chunks without a special token by a dictionary of whole words."""

    def __init__(self, vocabulary: dict[str, int], unknown: int, *, lowercase: bool) -> None:
        self._vocabulary = vocabulary
        self._unknown = unknown
        self._lowercase = lowercase

    def encode(self, chunks: Sequence[str]) -> EncodedChunks:
        get, unknown, find = self._vocabulary.get, self._unknown, _ASCII_TOKEN.findall
        lowered = map(str.lower, chunks) if self._lowercase else chunks
        found = list(map(find, lowered))
        ids = [get(word, unknown) for word in chain.from_iterable(found)]
        counts = np.fromiter(map(len, found), np.int64, len(found))
        return EncodedChunks(chunks, np.array(ids, np.int32), counts)


def _groups(chunks: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(chunks), _CHUNKS_AT_ONCE):
        yield chunks[start : start + _CHUNKS_AT_ONCE]


def _offsets(encoding: Encoding) -> Index:
    """Gives (T, 2): the first character of each token, and one past its last."""
    flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(encoding))
    return flat.reshape(-1, 2)
