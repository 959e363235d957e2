"""Arrow arrays from Python and NumPy, and back.

Arrow's own conversions import pandas wherever it is installed, which takes longer than all the rest
of a first prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def strings(texts: Sequence[str]) -> pa.StringArray:
    """Gives texts as an array.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate.
        TypeError: One is no string.
    """
    data = "".join(texts).encode()
    sizes = list(map(len, texts))
    if sum(sizes) < len(data):  # not all is ASCII
        sizes = [len(text.encode()) for text in texts]
    offsets = np.fromiter(accumulate(sizes, initial=0), np.int32, len(sizes) + 1)
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(data))


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """Gives numbers (N,) as an array of their own type."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def int32_values(array: pa.Int32Array, missing: int = 0) -> NDArray[np.int32]:
    """Gives the numbers (N,) of an array, with `missing` in the place of nulls."""
    valid, data = array.buffers()
    here = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(data or b"", np.int32)[here]
    if not array.null_count:
        return values
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
    return np.where(bits[here], values, np.int32(missing))
