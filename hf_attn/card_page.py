"""The file of a model card, and whether a README.md is a card of ours or somebody's own page."""

from __future__ import annotations

import logging
import re
from pathlib import Path

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
# By this line a card is told from a page that somebody wrote or changed.
CARD_MARK = "<!-- Written by hf-attn. Delete this line to keep changes of yours. -->"

_METADATA = re.compile(r"\A---\n.*?^---\n", re.DOTALL | re.MULTILINE)


def is_own_page(text: str) -> bool:
    """Says whether a page was written by somebody, and is more than the Hub's metadata."""
    return CARD_MARK not in text and bool(_METADATA.sub("", text).strip())


def keeps_page(folder: Path) -> bool:
    """Says whether a folder has a README.md that is not ours to replace, and logs it."""
    path = folder / CARD_FILE
    if not path.is_file() or CARD_MARK in path.read_text(encoding="utf-8", errors="replace"):
        return False
    logger.warning(
        "%s was written by somebody and is kept. `hf-attn card %s` shows the one of the run.",
        path, folder,
    )  # fmt: skip
    return True
