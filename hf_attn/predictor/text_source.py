"""What a command line names as texts: one text, the rows of a file, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..rows import file_format
from .text_block import TextBlock, not_utf_8
from .text_files import opened
from .text_lines import line_blocks
from .text_tables import TABLES, table_blocks

_LINES = {".txt", ".text", ".md", ".log"}


@dataclass(frozen=True)
class TextSource:
    """Texts that are read when their turn comes.

    Attributes:
        name: What messages call it.
        blocks: Its rows in order.
        may_wait: Whether reading may wait for another process, or for a person.
    """

    name: str
    blocks: Iterator[TextBlock]
    may_wait: bool = False


def open_source(
    source: str, text_column: str | None = None, text_pair: str | None = None
) -> TextSource:
    """Finds out what texts are meant, without reading more than the beginning of a file.

    Args:
        source: A text, the path of a file (a text in each line, or a table), or "-".
        text_column: Column of the text in a table; None to find it.
        text_pair: Second text of all.

    Raises:
        InputError: If the source looks like a file that is not there, if it is not clear which
            column of a table holds the text, or if an argument is not in UTF-8.
    """
    found = _find(source, text_column)
    if text_pair is None:
        return found
    pair = _checked(text_pair, "the second text")
    return replace(found, blocks=_paired(found.blocks, pair))


def _find(source: str, text_column: str | None) -> TextSource:
    if source == "-":
        return TextSource("standard input", _standard_input(), may_wait=True)
    path = Path(source)
    try:
        is_file, is_dir = path.is_file(), bool(source) and path.is_dir()
        is_pipe = not is_file and not path.is_dir() and path.exists()
    except OSError:  # a text longer than names of files may be
        is_file = is_dir = is_pipe = False
    is_table = file_format(path) in TABLES
    if is_table and is_file:
        return TextSource(source, table_blocks(path, text_column))
    if not is_table and (is_file or is_pipe):
        return TextSource(source, _lines_of_file(path), may_wait=is_pipe)
    is_name = "/" in source or is_table or file_format(path) in _LINES
    if is_dir or (is_name and not any(map(str.isspace, source))):
        raise InputError(
            f"{source}: expected a file of texts, found none. To classify the name itself, "
            "hand it over on standard input, with - in its place."
        )
    return TextSource("the text", iter([TextBlock([_checked(source, "the text")])]))


def _checked(text: str, name: str) -> str:
    """Gives a text from the command line, where Python hides what it could not decode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: {not_utf_8(error)}") from error
    return text


def _paired(blocks: Iterator[TextBlock], pair: str) -> Iterator[TextBlock]:
    for block in blocks:
        yield replace(block, pairs=[pair] * len(block.texts))


def _lines_of_file(path: Path) -> Iterator[TextBlock]:
    with opened(path) as stream:
        yield from line_blocks(stream.read1)


def _standard_input() -> Iterator[TextBlock]:
    if sys.stdin is None:
        raise InputError("standard input: expected texts, found it closed.")
    # Python could not end while a thread of ours waits within its buffer.
    stream: Any = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    try:
        yield from line_blocks(stream.read)
    except OSError as error:
        raise InputError(f"standard input: cannot be read ({error}).") from error
