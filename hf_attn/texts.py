"""What counts as a text."""

from __future__ import annotations

from .errors import InputError


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
