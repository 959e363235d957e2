"""Arrow arrays that share memory with numpy's.

pyarrow's own conversions import pandas, which takes half as long as all else that a first
prediction needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def from_numpy(values: NDArray[Any]) -> pa.Array:
    """Gives an Arrow array of these numbers, (M,)."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def to_numpy(values: pa.Array) -> NDArray[Any]:
    """Gives the numbers (M,) of an Arrow array without missing ones."""
    buffer = values.buffers()[1]
    dtype = values.type.to_pandas_dtype()
    return np.frombuffer(
        buffer or b"", dtype, len(values), values.offset * np.dtype(dtype).itemsize
    )


def strings(starts: NDArray[np.int32], data: pa.Buffer) -> pa.StringArray:
    """Gives M strings that lie side by side.

    Args:
        starts: (M + 1,), the first byte of each; the last is where the last one ends.
        data: UTF-8.
    """
    return pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), data)


def encode_texts(texts: Sequence[str]) -> tuple[NDArray[np.int32], bytes]:
    """Gives (N + 1,) where each text starts in their bytes, and the bytes.

    Raises:
        UnicodeEncodeError: A text holds a lone surrogate.
    """
    encoded = list(map(str.encode, texts))
    starts = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, encoded), np.int32, len(encoded)), out=starts[1:])
    return starts, b"".join(encoded)
