"""A classifier's folder: what is written beside the weights, and what can be read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from .modeling_hf_attn import HfAttnClassifier
from .run_record import read_record, write_record
from .token_counts import read_token_counts, write_token_counts
from .training_trace import TrainingTrace, read_training_trace, write_training_trace


@dataclass(frozen=True)
class RunFiles:
    """What is known of the run that a classifier comes from; None where nothing is.

    Attributes:
        record: What `run.json` holds.
        token_counts: How often each token occurred in training.
        trace: How the training went, epoch by epoch.
    """

    record: Mapping[str, Any] | None = None
    token_counts: Mapping[str, int] | None = None
    trace: TrainingTrace | None = None


def read_run_files(folder: Path) -> RunFiles:
    """Gives what the files beside the weights say of the run.

    Raises:
        InputError: If one of them is broken.
    """
    return RunFiles(
        read_record(folder), read_token_counts(str(folder)), read_training_trace(folder)
    )


def write_model(
    folder: Path,
    model: HfAttnClassifier,
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
    if run.trace is not None:
        write_training_trace(run.trace, folder)
