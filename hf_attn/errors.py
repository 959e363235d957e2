"""The one error for input that cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used; the message says what to do next.

    The command line prints it without a traceback and exits with code 2.
    """
