"""Remembers the tokens of chunks that were seen, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .arrow import from_numpy, strings, to_numpy
from .chunk_encoder import ChunkEncoder, TokenSpans
from .chunks import ranges

Numbers = NDArray[np.int32]

_NOT_FOUND = from_numpy(np.array([-1], np.int32))[0]

# Chunks that Arrow looks up; it builds its hash table anew for each batch.
_MOST_HOT = 1 << 16
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
        self._hot = (strings(np.zeros(1, np.int32), pa.py_buffer(b"")), np.array([-1], np.int32))
        self._counts, self._starts = _Column(np.int32), _Column(np.int32)
        self._token_ids = _Column(np.int32)
        self._has_spans = _Column(np.bool_)
        self._spans = [_Column(np.int64), _Column(np.int64), _Column(np.bool_)]

    @property
    def is_full(self) -> bool:
        """Whether it is time to start with an empty table."""
        return len(self._chunks) > MOST_CHUNKS or self._num_characters > MOST_CHARACTERS

    @property
    def num_hot(self) -> int:
        """How many chunks Arrow looks up."""
        return len(self._hot[0])

    def numbers(self, chunks: list[str] | pa.StringArray) -> Numbers:
        """Gives (M,) the number of each chunk: of few in a list, of thousands in an array."""
        if isinstance(chunks, list):
            return np.array(self._numbers_of_few(chunks), np.int32)
        hot, hot_numbers = self._hot
        if not len(hot):
            return self._numbers_of_cold(chunks)
        found = pc.coalesce(pc.index_in(chunks, value_set=hot), _NOT_FOUND)
        numbers: Numbers = hot_numbers[to_numpy(found)]
        cold = np.flatnonzero(numbers < 0)
        if len(cold):
            numbers[cold] = self._numbers_of_cold(chunks.take(from_numpy(cold)))
        return numbers

    def _numbers_of_cold(self, chunks: pa.StringArray) -> Numbers:
        coded = chunks.dictionary_encode()
        unique, places = coded.dictionary, to_numpy(coded.indices)
        first_new = len(self._chunks)
        numbers = self._numbers_of_unique(unique.to_pylist())
        if self.num_hot < _MOST_HOT:
            again = np.flatnonzero((np.bincount(places) > 1) | (numbers < first_new))
            self._warm(unique.take(from_numpy(again)), numbers[again])
        of_all: Numbers = numbers[places]
        return of_all

    def _numbers_of_few(self, chunks: Sequence[str]) -> list[int]:
        known = self._known
        try:
            return list(map(known.__getitem__, chunks))
        except KeyError:
            self._numbers_of_unique(list(dict.fromkeys(chunks)))
            return list(map(known.__getitem__, chunks))

    def _numbers_of_unique(self, chunks: Sequence[str]) -> Numbers:
        known = map(self._known.get, chunks, repeat(-1))
        numbers = np.fromiter(known, np.int32, len(chunks))
        places = np.flatnonzero(numbers < 0)
        if len(places):
            numbers[places] = self._add([chunks[place] for place in places.tolist()])
        return numbers

    def _add(self, new: Sequence[str]) -> Numbers:
        """Encodes chunks and gives their numbers, (M,)."""
        encoded = self._encoder.encode(new)
        # Two threads may add the same chunk: it then has two numbers, and either will do.
        with self._lock:
            first = len(self._chunks)
            starts = len(self._token_ids.values) + np.cumsum(encoded.counts) - encoded.counts
            self._token_ids.extend(encoded.token_ids)
            self._counts.extend(encoded.counts)
            self._starts.extend(starts)
            self._chunks.extend(new)
            self._num_characters += sum(map(len, new))
            self._known.update(zip(new, range(first, len(self._chunks)), strict=True))
            return np.arange(first, len(self._chunks), dtype=np.int32)

    def _warm(self, chunks: pa.StringArray, numbers: Numbers) -> None:
        """Makes chunks hot, as long as there is room."""
        with self._lock:
            hot, hot_numbers = self._hot
            new = slice(0, _MOST_HOT - len(hot))
            self._hot = (
                pa.concat_arrays([hot, chunks[new]]),
                np.concatenate([hot_numbers[:-1], numbers[new], hot_numbers[-1:]]),
            )

    def positions(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Gives (T,) where the tokens of these chunks are, and (M,) how many each has."""
        counts = self._counts.values[numbers]
        return ranges(self._starts.values[numbers], counts), counts

    def token_ids(self, positions: Numbers) -> Numbers:
        """Gives (T,) the ids of the tokens at these places."""
        return self._token_ids.values[positions]

    def spans(self, numbers: Numbers, positions: Numbers) -> TokenSpans:
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
