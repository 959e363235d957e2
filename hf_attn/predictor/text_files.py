"""Opens files of texts, and says what is wrong with one that cannot be read to its end."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..rows import is_gzip


@contextmanager
def opened(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Gives the bytes of a file, unpacked if its name ends in ".gz".

    Raises:
        InputError: It cannot be opened or, within the context, not be read.
    """
    try:
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: expected a complete gzip file ({error}). Fetch or compress it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}). Check the file.") from error


def lines_of(path: Path, newline: str) -> Iterator[str]:
    r"""Yields the lines of a file with their ends; what is no UTF-8 becomes lone surrogates.

    Args:
        path: The file.
        newline: "\n" where lines end with that alone, "" where also with "\r".

    Raises:
        InputError: It cannot be read.
    """
    with (
        opened(path) as stream,
        io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline) as lines,
    ):
        yield from lines
