"""Labelled texts to score a saved classifier on, with the columns that it was trained on."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from .batching import TokenizedTexts
from .data import load_labelled_split
from .modeling_hf_attn import HfAttnClassifier
from .run_record import read_record

_COLUMNS = ("text_column", "text_pair_column", "label_column", "label_separator")


def labelled_texts_for(
    name_or_path: str,
    model: HfAttnClassifier,
    tokenizer: PreTrainedTokenizerBase,
    data: str,
    split: str | None = None,
    *,
    unseen_labels: str = "error",
    **columns: str | None,
) -> TokenizedTexts:
    """Gives a split of labelled texts, tokenized for the classifier.

    Args:
        name_or_path: Where the classifier comes from, a folder or a Hub id.
        model: The classifier.
        tokenizer: Its tokenizer.
        data: A file, a folder, a Hub id or a named corpus.
        split: Its name; None takes "test", or the only one there is.
        unseen_labels: What happens to labels that the model does not have, "error" or "drop".
        **columns: `text_column`, `text_pair_column`, `label_column` and `label_separator`; without
            any of them those of the training.

    Raises:
        InputError: If the data cannot be used, or there is no such split.
    """
    chosen: dict[str, Any] = {name: columns.get(name) for name in _COLUMNS}
    if not any(chosen.values()):
        trained_on = (read_record(name_or_path) or {}).get("settings", {}).get("data", {})
        chosen = {name: trained_on.get(name) for name in _COLUMNS}
    labelled = load_labelled_split(
        data,
        split,
        labels=model.config.class_names,
        problem_type=model.config.problem_type,
        unseen_labels=unseen_labels,
        **chosen,
    )
    return TokenizedTexts.from_dataset(labelled, tokenizer)
