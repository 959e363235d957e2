"""How often each token occurred in training: the `token_counts.json` beside the weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts
from .errors import InputError
from .fetching import find_file
from .file_names import COUNTS_FILE

logger = logging.getLogger(__name__)


def count_tokens(texts: TokenizedTexts, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Gives each token that occurs in the texts and how often, the most frequent first."""
    counts = np.bincount(texts.token_ids)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return dict(
        zip(tokenizer.convert_ids_to_tokens(order.tolist()), counts[order].tolist(), strict=True)
    )


def write_token_counts(counts: Mapping[str, int], folder: Path) -> None:
    """Writes the counts into a folder, a token a line."""
    text = json.dumps(counts, indent=0, ensure_ascii=False)
    (folder / COUNTS_FILE).write_text(text + "\n", encoding="utf-8")


def read_token_counts(name_or_path: str, *, revision: str | None = None) -> dict[str, int] | None:
    """Gives how often each token occurred in the texts that a saved model was trained on.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        revision: Branch, tag or commit of the repository.

    Returns:
        The counts of the tokens that occurred, or None for a model saved without them.

    Raises:
        InputError: If the file is broken.
    """
    try:
        path = find_file(name_or_path, COUNTS_FILE, revision=revision)
    except InputError as error:  # no connection, say: what is read without counts is there still
        logger.warning("the token counts of %s cannot be read: %s", name_or_path, error)
        return None
    if path is None:
        return None
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
        return {str(token): int(count) for token, count in counts.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected token counts in JSON, got {error}. The file is broken: delete it to "
            "go on without counts, or train again."
        ) from error
