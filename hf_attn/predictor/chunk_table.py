"""Remembers the tokens of chunks that were seen, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import count, repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .chunk_encoder import ChunkEncoder, EncodedChunks, TokenSpans
from .chunks import Index, ranges

# Chunks that Arrow looks up; it builds its hash table anew for each batch.
_MOST_HOT = 1 << 14
# When a table is full: some 60 MB with Python's own share.
MOST_CHUNKS = 1 << 18
MOST_CHARACTERS = 1 << 23


class ChunkTable:
    """Numbers chunks, and gives the tokens of numbers.

    It only grows, so that numbers stay valid. Threads may share it.

    Args:
        encoder: What encodes a chunk that is new.
    """

    def __init__(self, encoder: ChunkEncoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()
        self._known: dict[str, int] = {}
        self._chunks: list[str] = []
        self._num_characters = 0
        # Their numbers end with the one for what is not hot.
        self._hot = (pa.array([], pa.string()), np.array([-1], np.int32))
        self._counts, self._starts = _Column(np.int64), _Column(np.int64)
        self._token_ids = _Column(np.int32)
        self._has_spans = _Column(np.bool_)
        self._spans = [_Column(np.int64), _Column(np.int64), _Column(np.bool_)]

    @property
    def is_full(self) -> bool:
        """Whether it is time to start with an empty table."""
        return len(self._chunks) > MOST_CHUNKS or self._num_characters > MOST_CHARACTERS

    def numbers(self, chunks: pa.StringArray) -> NDArray[np.int32]:
        """Gives (M,) the number of each chunk; for thousands of chunks at once."""
        hot, hot_numbers = self._hot
        numbers: NDArray[np.int32] = hot_numbers[
            pc.index_in(chunks, value_set=hot).fill_null(-1).to_numpy()
        ]
        cold = np.flatnonzero(numbers < 0)
        if len(cold):
            coded = chunks.take(pa.array(cold)).dictionary_encode()
            of_unique, is_known = self.numbers_of_few(coded.dictionary.to_pylist())
            numbers[cold] = of_unique[coded.indices.to_numpy()]
            if len(hot) < _MOST_HOT and is_known.any():
                self._warm(coded.dictionary.filter(pa.array(is_known)), of_unique[is_known])
        return numbers

    def numbers_of_few(self, chunks: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Gives (M,) the number of each chunk and (M,) whether it was known; for a handful."""
        known = self._known
        numbers = np.fromiter(map(known.get, chunks, repeat(-1)), np.int32, len(chunks))
        is_known = numbers >= 0
        if not is_known.all():
            with self._lock:
                new = [chunks[place] for place in np.flatnonzero(~is_known).tolist()]
                self._add([chunk for chunk in dict.fromkeys(new) if chunk not in known])
                numbers[~is_known] = list(map(known.__getitem__, new))
        return numbers, is_known

    def _add(self, new: Sequence[str]) -> None:
        for encoded in self._encoder.encode(new):
            self._add_encoded(encoded)

    def _add_encoded(self, encoded: EncodedChunks) -> None:
        first_number, first_token = len(self._chunks), len(self._token_ids.values)
        self._token_ids.extend(encoded.token_ids)
        self._counts.extend(encoded.counts)
        self._starts.extend(first_token + np.cumsum(encoded.counts) - encoded.counts)
        self._chunks.extend(encoded.chunks)
        self._num_characters += sum(map(len, encoded.chunks))
        # Last, so that another thread finds no number before its tokens.
        self._known.update(zip(encoded.chunks, count(first_number), strict=False))

    def _warm(self, chunks: pa.StringArray, numbers: NDArray[np.int32]) -> None:
        """Makes hot what has come a second time, as long as there is room."""
        with self._lock:
            hot, hot_numbers = self._hot
            new = slice(0, _MOST_HOT - len(hot))
            self._hot = (
                pa.concat_arrays([hot, chunks[new]]),
                np.concatenate([hot_numbers[:-1], numbers[new], hot_numbers[-1:]]),
            )

    def positions(self, numbers: NDArray[np.int32]) -> tuple[Index, Index]:
        """Gives (T,) where the tokens of these chunks are, and (M,) how many each has."""
        counts = self._counts.values[numbers]
        return ranges(self._starts.values[numbers], counts), counts

    def token_ids(self, positions: Index) -> NDArray[np.int32]:
        """Gives (T,) the ids of the tokens at these places."""
        return self._token_ids.values[positions]

    def spans(self, numbers: NDArray[np.int32], positions: Index) -> TokenSpans:
        """Gives where the tokens at these places, which are of these chunks, stand in them."""
        with self._lock:
            self._has_spans.grow(len(self._chunks))
            missing = np.unique(numbers[~self._has_spans.values[numbers]])
            found = self._encoder.find_spans([self._chunks[number] for number in missing.tolist()])
            places, _ = self.positions(missing)
            for column, values in zip(self._spans, found, strict=True):
                column.grow(len(self._token_ids.values))
                column.values[places] = values
            self._has_spans.values[missing] = True
        return TokenSpans(*(column.values[positions] for column in self._spans))


class _Column:
    """An array (size,) that grows at its end."""

    def __init__(self, dtype: Any) -> None:
        self._room = np.zeros(1024, dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[Any]:
        return self._room[: self._size]

    def extend(self, values: NDArray[Any]) -> None:
        start = self._size
        self.grow(start + len(values))
        self._room[start : self._size] = values

    def grow(self, size: int) -> None:
        """Puts zeros at the end until it has this size."""
        if size > len(self._room):
            room = np.zeros(max(size, 2 * len(self._room)), self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._size = max(size, self._size)
