"""Writes a classifier into a folder, with all that belongs beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from .modeling_hf_attn import HfAttnForSequenceClassification
from .run_record import write_record
from .token_counts import write_token_counts


@dataclass(frozen=True)
class RunFiles:
    """What is known of the run that a classifier comes from; None where nothing is.

    Attributes:
        record: What `run.json` holds.
        token_counts: How often each token occurred in training.
    """

    record: Mapping[str, Any] | None = None
    token_counts: Mapping[str, int] | None = None


def write_model(
    folder: Path,
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    run: RunFiles,
) -> None:
    """Writes weights, configuration, code, tokenizer, and what is known of the run."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if run.record is not None:
        write_record(run.record, folder)
    if run.token_counts is not None:
        write_token_counts(run.token_counts, folder)
