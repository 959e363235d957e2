"""Cuts texts at white space, without a Python object for each piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Index = NDArray[np.int64]

_SPACE = ord(" ")  # control characters sort before it, and separate as well


class Chunks(NamedTuple):
    """The chunks of N texts, M in all, each with the white space that follows it.

    Attributes:
        values: (M,) strings. A text that starts with white space has it as its first chunk.
        starts: (M + 1,), the first byte of each in `data`; the last is the end of the data.
        of_text: (N + 1,), index of the first chunk of each text; the last is M.
        text_starts: (N + 1,), the first byte of each text.
        data: the UTF-8 bytes of the texts, one after the other.
    """

    values: pa.StringArray
    starts: NDArray[np.int32]
    of_text: Index
    text_starts: NDArray[np.int32]
    data: NDArray[np.uint8]


def split(texts: Sequence[str]) -> Chunks:
    """Gives the chunks of texts.

    Args:
        texts: N strings.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate.
    """
    array = pa.array(texts, pa.string())
    _, offsets, buffer = array.buffers()
    text_starts = np.frombuffer(offsets, np.int32, len(array) + 1)
    data = np.frombuffer(buffer or b"", np.uint8, text_starts[-1])
    starts = _chunk_starts(data, text_starts)
    # The chunks lie in the texts' own memory: only where they start is new.
    values = pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), buffer)
    return Chunks(values, starts, np.searchsorted(starts, text_starts), text_starts, data)


def _chunk_starts(data: NDArray[np.uint8], text_starts: NDArray[np.int32]) -> NDArray[np.int32]:
    is_space = data <= _SPACE
    begins = np.zeros(len(data) + 1, dtype=np.bool_)
    np.greater(is_space[:-1], is_space[1:], out=begins[1:-1])
    begins[text_starts] = True
    return np.flatnonzero(begins).astype(np.int32)


def characters_before(chunks: Chunks) -> Index:
    """Gives (M,): the characters of its text that stand before each chunk."""
    starts, texts = chunks.starts[:-1].astype(np.int64), chunks.text_starts.astype(np.int64)
    if len(chunks.data) and chunks.data.max() >= 0x80:
        # All but the first byte of a character are 10xxxxxx.
        is_first = (chunks.data & 0xC0) != 0x80
        count = np.concatenate([[0], np.cumsum(is_first)])
        starts, texts = count[starts], count[texts]
    return starts - np.repeat(texts[:-1], np.diff(chunks.of_text))


def ranges(starts: NDArray[Any], lengths: NDArray[Any]) -> Index:
    """Gives (sum of lengths,): the numbers from each start, as many as its length says."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers = np.repeat(starts - (ends - lengths), lengths)
    numbers += np.arange(total)
    return numbers
