"""The texts that a command line names, all of them at once."""

from __future__ import annotations

from .errors import InputError
from .predictor.text_source import open_source


def read_texts(
    source: str, text_column: str | None = None, text_pair: str | None = None
) -> tuple[list[str], list[str] | None]:
    """Gives texts, and the second text of each if there are any.

    Args:
        source: A text, the path of a file (a text in each line, or a table), or "-".
        text_column: Column of the text in a table; None to find it.
        text_pair: Second text of all.

    Raises:
        InputError: If the source looks like a file that is not there, or if a row cannot be read.
    """
    found = open_source(source, text_column, text_pair)
    texts: list[str] = []
    pairs: list[str] = []
    for block in found.blocks:
        for row in block.broken:
            raise InputError(row.message(found.name))
        texts += block.texts
        pairs += block.pairs or ()
    return texts, pairs or None
