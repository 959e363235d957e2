"""Reads a file that holds one object in JSON, or says what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import InputError


def read_json_object(path: Path) -> dict[str, Any]:
    """Gives the object in a file.

    Raises:
        InputError: If the file cannot be read, or holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: expected JSON, got {error}. The file is broken: train again or take it from "
            "another copy."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object in JSON, got {type(content).__name__}.")
    return content
