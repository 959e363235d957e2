"""The texts that a command line names: one, the rows of a file, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

_LINES = {".txt", ".text", ".md", ".log"}
_TABLES = {".csv", ".tsv", ".json", ".jsonl", ".parquet"}


def read_texts(
    source: str, text_column: str | None = None, text_pair: str | None = None
) -> tuple[list[str], list[str] | None]:
    """Gives texts, and the second text of each if there are any.

    Args:
        source: A text, the path of a file (a text in each line, or a table), or "-".
        text_column: Column of the text in a table; None to find it.
        text_pair: Second text of all.

    Raises:
        InputError: If the source looks like a file that is not there, or is not in UTF-8.
    """
    texts, pairs = _texts_of(source, text_column)
    if text_pair is not None:
        pairs = [_checked(text_pair, "the second text")] * len(texts)
    return texts, pairs


def _texts_of(source: str, text_column: str | None) -> tuple[list[str], list[str] | None]:
    path = Path(source)
    if not source:
        return [source], None
    try:
        is_file, is_dir = path.is_file(), path.is_dir()
    except OSError:  # a text longer than names of files may be
        is_file, is_dir = False, False
    if source != "-" and not is_file:
        is_name = "/" in source or path.suffix in _LINES or _TABLES.intersection(path.suffixes)
        if is_dir or (is_name and not any(map(str.isspace, source))):
            raise InputError(
                f"{source}: expected a file of texts, found none. To classify the name itself, "
                "hand it over on standard input, with - in its place."
            )
        return [_checked(source, "the text")], None
    if _TABLES.intersection(path.suffixes):
        from .data import load_texts

        return load_texts(source, text_column=text_column)
    return list(_lines_of(source)), None


def _checked(text: str, name: str) -> str:
    """Gives a text from the command line, where Python hides what it could not decode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_utf_8(name, error) from error
    return text


def _lines_of(source: str) -> Iterator[str]:
    """Gives the lines of a file or of standard input, without their ends."""
    name = "standard input" if source == "-" else source
    lines = sys.stdin.buffer if source == "-" else Path(source).open("rb")  # noqa: SIM115
    with lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _not_utf_8(f"{name}, line {number}", error) from error


def _not_utf_8(name: str, error: UnicodeError) -> InputError:
    return InputError(f"{name}: expected UTF-8, got {error}. Convert the text to UTF-8.")
