"""Cuts texts at white space, without a Python object for each piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .arrow_arrays import int32_values, strings

Index = NDArray[np.int64]
Integer = TypeVar("Integer", np.int32, np.int64)

_SPACE = ord(" ")  # control characters sort before it, and separate as well


class Chunks(NamedTuple):
    """The chunks of N texts, M in all, each with the white space that follows it.

    Attributes:
        values: (M,) strings. A text that starts with white space has it as its first chunk.
        of_text: (N + 1,), index of the first chunk of each text; the last is M.
    """

    values: pa.StringArray
    of_text: Index


def split(texts: Sequence[str]) -> Chunks:
    """Gives the chunks of texts.

    Args:
        texts: N strings.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate.
    """
    array = strings(texts)
    _, offsets, buffer = array.buffers()
    text_starts = np.frombuffer(offsets, np.int32, len(array) + 1)
    is_space = np.frombuffer(buffer or b"", np.uint8, text_starts[-1]) <= _SPACE
    begins = np.zeros(len(is_space) + 1, dtype=np.bool_)
    np.greater(is_space[:-1], is_space[1:], out=begins[1:-1])
    begins[text_starts] = True
    starts = np.flatnonzero(begins).astype(np.int32)
    # The chunks lie in the texts' own memory: only where they start is new.
    values = pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), buffer)
    return Chunks(values, np.searchsorted(starts, text_starts))


def characters_before(chunks: Chunks) -> Index:
    """Gives (M,): how many characters of its text stand before each chunk."""
    sizes = int32_values(pc.utf8_length(chunks.values))
    ends = np.cumsum(sizes, dtype=np.int64)
    of_text = chunks.of_text
    before_text = np.concatenate([[0], ends])[of_text[:-1]]
    before: Index = ends - sizes - np.repeat(before_text, np.diff(of_text))
    return before


def ranges(starts: NDArray[Integer], lengths: NDArray[Integer]) -> NDArray[Integer]:
    """Gives (sum of lengths,): the numbers from each start, as many as its length says."""
    # In place: to get memory for thousands of numbers takes longer than to count them.
    shifts = np.cumsum(lengths, dtype=starts.dtype)
    np.subtract(starts, shifts, out=shifts)
    shifts += lengths
    numbers = np.repeat(shifts, lengths)
    numbers += np.arange(len(numbers), dtype=starts.dtype)
    return numbers
