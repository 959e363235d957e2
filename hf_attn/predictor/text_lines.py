"""A text in each line: lines of a file, a pipe or a terminal, as soon as they are there."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from ..texts import LONGEST_CHUNK, text_problem
from .text_block import BrokenRow, TextBlock, not_utf_8

_BYTES_AT_ONCE = 1 << 16


def line_blocks(read: Callable[[int], bytes | None]) -> Iterator[TextBlock]:
    r"""Yields the lines without their ends, as many at once as a reading gives.

    A line ends at "\n"; any "\r" before it belongs to the end.

    Args:
        read: Gives at most so many bytes as soon as there are some, and none at the end.
    """
    number = 1
    for lines in _whole_lines(read):
        block = _decode(lines if number > 1 else lines.removeprefix(codecs.BOM_UTF8), number)
        number += block.num_rows
        yield block


def _whole_lines(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """Yields what was read in pieces that end where a line does."""
    unfinished: list[bytes] = []
    while piece := read(_BYTES_AT_ONCE):
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*unfinished, piece[:end]])
            unfinished.clear()
        unfinished.append(piece[end:])
    if last := b"".join(unfinished):
        yield last


def _decode(lines: bytes, first: int) -> TextBlock:
    """Gives the texts of lines, of which the first one has this number."""
    lines = lines.removesuffix(b"\n")
    if len(lines) >= LONGEST_CHUNK:
        return _decode_each(lines.split(b"\n"), first)
    try:
        texts = lines.decode().split("\n")
    except UnicodeDecodeError:
        return _decode_each(lines.split(b"\n"), first)
    if b"\r" in lines:
        texts = [text.rstrip("\r") for text in texts]
    return TextBlock(texts)


def _decode_each(lines: list[bytes], first: int) -> TextBlock:
    block = TextBlock()
    for place, line in enumerate(lines):
        try:
            text = line.decode().rstrip("\r")
            problem = text_problem(text)
        except UnicodeDecodeError as error:
            problem = not_utf_8(error)
        if problem:
            block.broken.append(BrokenRow(place, "line", first + place, problem))
        else:
            block.texts.append(text)
    return block
