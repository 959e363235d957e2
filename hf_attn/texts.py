"""What counts as a text."""

from __future__ import annotations

import re

from .errors import InputError

# Somewhat more, and the tokenizer's regular expression gives up, and the process with it.
LONGEST_CHUNK = 1 << 21
_CHUNK = re.compile(r"[^\0- ]+")


def check_text(text: object) -> None:
    """Refuses what is no string, or one that holds half of a character.

    Raises:
        InputError: `text` is not a string of valid Unicode.
    """
    if not isinstance(text, str):
        raise InputError(
            f"expected texts that are strings, got {type(text).__name__} {text!r:.60}. "
            "Leave it out or convert it with str(...)."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected valid Unicode, got a lone surrogate at position {error.start} of "
            f"{text!r:.60}. Read the text again with encoding='utf-8', errors='replace'."
        ) from error


def text_problem(value: object) -> str:
    """Says why a value is no text; "" if it is one."""
    if not isinstance(value, str):
        return (
            f"expected a text, got {in_short(value)}. Write it as a string, remove the row, or "
            "name another column (--text-column)."
        )
    if not value.isascii() and not is_encodable(value):
        return (
            f"expected valid Unicode, got a lone surrogate in {in_short(value)}. Correct the "
            "escape."
        )
    if len(value) < LONGEST_CHUNK or max(map(len, _CHUNK.findall(value))) < LONGEST_CHUNK:
        return ""
    return (
        f"expected white space after at most {LONGEST_CHUNK:,} characters, got none in "
        f"{in_short(value)}, which the tokenizer cannot take. Break it into lines."
    )


def is_encodable(text: str) -> bool:
    """Tells whether a string can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_short(value: object) -> str:
    """Gives a value as it is written in Python, or how that begins."""
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:80]}..."
