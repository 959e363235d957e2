"""Rows of CSV, TSV and JSON lines one by one: of a broken row is said what is wrong with it."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from .errors import InputError
from .texts import in_short

TableRow: TypeAlias = tuple[int, list[str], str]
JsonRow: TypeAlias = tuple[int, dict[str, Any], str]

# A quotation mark that is never closed makes a field of all that follows.
_LONGEST_FIELD = 1 << 25


def file_format(path: Path) -> str:
    """Gives the extension that decides how a file is read.

    Args:
        path: a file, perhaps compressed with gzip.

    Returns:
        Lower-case extension such as ".csv", without a final ".gz".
    """
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def is_gzip(path: Path) -> bool:
    """Tells by its name whether a file is compressed with gzip."""
    return path.name.lower().endswith(".gz")


def separator_of(header: str) -> str:
    """Gives what separates the values of a CSV file with this first line."""
    # Spreadsheets write ";" where "," is the decimal mark.
    return next((mark for mark in ",;\t" if mark in header), ",")


def table_rows(
    lines: Iterable[str], separator: str, *, quoted: bool, longest_field: int = _LONGEST_FIELD
) -> Iterator[TableRow]:
    """Yields the header, then the rows, which must be as wide; lines with nothing are left out.

    After a row that cannot be parsed it goes on with the line after that in which the row began.

    Args:
        lines: Lines with their ends.
        separator: The mark between values.
        quoted: Whether quotation marks around a value are none of it.
        longest_field: The most characters of a value; so many may be held in memory.

    Yields:
        The line on which the row begins, counted from 1; its values; what is wrong, or "".
    """
    given = _LinesOfRows(lines)
    reader = csv.reader(
        given,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    line, width = 1, 0
    while True:
        values, problem = [], ""
        try:
            with _longest_field(longest_field):
                values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = (
                f"{error}. Put quotation marks around the whole field and double those inside it."
            )
            given.take_back()
        width = width or len(values)
        if values and len(values) != width:
            problem = (
                f"expected {width} fields as in the header, got {len(values)}. Quote fields "
                f"that hold {separator!r} or a line break."
            )
        if values or problem:
            yield line, values, problem
        line += given.end_row()


@contextlib.contextmanager
def _longest_field(characters: int) -> Iterator[None]:
    """Sets the limit of `csv`, which is one for the process, while a row is read."""
    limit = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


class _LinesOfRows:
    """Gives lines one by one, and those of a row that failed a second time but for the first."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self._of_row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._of_row.append(line)
        return line

    def take_back(self) -> None:
        self._again.extendleft(reversed(self._of_row[1:]))
        del self._of_row[1:]

    def end_row(self) -> int:
        """Gives the number of lines of the row."""
        count = len(self._of_row)
        self._of_row.clear()
        return count


def check_header(source: str, values: list[str]) -> list[str]:
    """Gives the names in a header.

    Raises:
        InputError: Two are the same.
    """
    header = [name.strip() for name in values]
    for name in header:
        if header.count(name) > 1:
            raise InputError(
                f"{source}, line 1: expected a header of different column names, got {name!r} "
                "twice. Rename one, or add a header line if there is none."
            )
    return header


def json_rows(lines: Iterable[str]) -> Iterator[JsonRow]:
    r"""Yields the objects of JSON lines; lines of white space alone are left out.

    Args:
        lines: What stands between "\n" and "\n": a JSON string may hold other line separators.

    Yields:
        The line, counted from 1; the object; what is wrong, or "".
    """
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number or a nesting that is too long, too
            yield number, {}, broken_json(error)
            continue
        if isinstance(record, dict):
            yield number, record, ""
        else:
            example = '{"text": "...", "label": "..."}'
            yield number, {}, f"expected a JSON object such as {example}, got {in_short(record)}."


def broken_json(error: Exception) -> str:
    """Says what is wrong with a text that is no JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"expected JSON, but {error.msg} at column {error.colno}. Mend it."
    return f"expected JSON, but {error}. Mend it."
