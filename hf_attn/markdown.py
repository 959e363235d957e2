"""Markdown in which the texts of others, such as labels and words, are shown and do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from .terminal import in_a_line

# What could begin a code span, emphasis, a link or a formula.
_MARKS = re.compile(r"([\\`*_\[\]~$])")
# What could begin a tag, an entity or a cell of a table; a backslash does not stop all of these.
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})


def escape_markdown(value: object) -> Markup:
    """Gives a text as it reads, in one line, for any place after the first character of a line."""
    if isinstance(value, Markup):
        return value
    return Markup(_MARKS.sub(r"\\\1", in_a_line(str(value)).translate(_ENTITIES)))


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Gives a table: cells escaped, the first column on the left and the others on the right."""
    sides = [Markup("---"), *[Markup("---:")] * (len(header) - 1)]
    lines = ("| " + " | ".join(map(escape_markdown, row)) + " |" for row in (header, sides, *rows))
    return Markup("\n".join(lines))


def python_string(text: str) -> Markup:
    """Gives a text as Python code has it, in double quotes where nothing in it is special."""
    plain = text.isprintable() and not set('"\\') & set(text)
    return Markup(f'"{text}"' if plain else repr(text))
