"""Cuts texts at white space, few or many at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .arrow import encode_texts, strings, to_numpy

Index = NDArray[np.int64]
Integer = TypeVar("Integer", np.int32, np.int64)

_FEW = re.compile(r"\S+")  # what `str.split` gives
_SPACE = ord(" ")  # control characters sort before it, and separate as well


class FewChunks(NamedTuple):
    """The chunks of N texts, M in all, for a handful of texts.

    Attributes:
        values: M chunks.
        of_text: (N + 1,), index of the first chunk of each text; the last is M.
        texts: the texts.
    """

    values: list[str]
    of_text: Index
    texts: Sequence[str]

    def characters_before(self) -> Index:
        """Gives (M,): how many characters of its text stand before each chunk."""
        starts = [found.start() for text in self.texts for found in _FEW.finditer(text)]
        return np.array(starts, np.int64)


class ManyChunks(NamedTuple):
    """The chunks of N texts, M in all, each with the white space that follows it.

    Attributes:
        values: (M,) strings. A text that starts with white space has it as its first chunk.
        of_text: (N + 1,), index of the first chunk of each text; the last is M.
    """

    values: pa.StringArray
    of_text: Index

    def characters_before(self) -> Index:
        """Gives (M,): how many characters of its text stand before each chunk."""
        sizes = to_numpy(pc.utf8_length(self.values))
        ends = np.cumsum(sizes, dtype=np.int64)
        before_text = np.concatenate([[0], ends])[self.of_text[:-1]]
        before: Index = ends - sizes - np.repeat(before_text, np.diff(self.of_text))
        return before


def split_few(texts: Sequence[str]) -> FewChunks:
    """Splits texts with Python's own methods, which start at once."""
    chunks = [text.split() for text in texts]
    return FewChunks([*chain(*chunks)], np.cumsum([0, *map(len, chunks)]), texts)


def split_many(texts: Sequence[str]) -> ManyChunks:
    """Splits texts with numpy, which makes no Python object for a chunk.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate.
    """
    text_starts, data = encode_texts(texts)
    is_space = np.frombuffer(data, np.uint8) <= _SPACE
    begins = np.zeros(len(is_space) + 1, dtype=np.bool_)
    np.greater(is_space[:-1], is_space[1:], out=begins[1:-1])
    begins[text_starts] = True
    starts = np.flatnonzero(begins).astype(np.int32)
    # The chunks lie in the memory of the texts: only where they start is new.
    return ManyChunks(strings(starts, pa.py_buffer(data)), np.searchsorted(starts, text_starts))


def ranges(starts: NDArray[Integer], lengths: NDArray[Integer]) -> NDArray[Integer]:
    """Gives (sum of lengths,): the numbers from each start, as many as its length says."""
    # In place: to get memory for thousands of numbers takes longer than to count them.
    shifts = np.cumsum(lengths, dtype=starts.dtype)
    np.subtract(starts, shifts, out=shifts)
    shifts += lengths
    numbers = np.repeat(shifts, lengths)
    numbers += np.arange(len(numbers), dtype=starts.dtype)
    return numbers
