"""What was trained, from what, how, and how well: the `run.json` beside the weights."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState

from .arguments import Settings
from .batching import TokenizedTexts
from .evaluation import Evaluation
from .modeling_hf_attn import HfAttnForSequenceClassification

RECORD_FILE = "run.json"
_PACKAGES = ("hf-attn", "torch", "transformers", "tokenizers", "datasets", "accelerate", "evaluate")


def make_record(
    settings: Settings,
    model: HfAttnForSequenceClassification,
    texts: Mapping[str, TokenizedTexts],
    evaluations: Mapping[str, Evaluation],
    state: TrainerState,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Gives the record of a run.

    Args:
        settings: What it was started with.
        model: The trained classifier.
        texts: Name of each split to its texts.
        evaluations: Name of a split to the final model's scores on it.
        state: The trainer's, with the scores of each epoch.
        seconds: Wall time of the training loop ("train") and of everything ("total").

    Returns:
        data, sizes, settings, versions, seed, seconds, epochs, best_epoch, metrics, baseline and
        classes, of what JSON can hold.
    """
    data, model_arguments, arguments = settings
    epochs = _epochs(state)
    return {
        "data": {
            "source": str(data.dataset),
            "problem_type": model.config.problem_type,
            "labels": model.config.class_names,
            "texts": {name: len(split) for name, split in texts.items()},
            "texts_cut": {name: split.num_truncated for name, split in texts.items()},
        },
        "sizes": {
            "parameters": model.num_parameters(),
            "vocab_size": model.config.vocab_size,
            "hidden_size": model.config.hidden_size,
        },
        "settings": {
            "data": {**asdict(data), "dataset": str(data.dataset)},
            # A model that was started from keeps its own sizes, whatever the settings' defaults.
            "model": asdict(model_arguments)
            | {name: getattr(model.config, name) for name in model_arguments.config_fields()},
            "training": arguments.to_dict(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "threads": torch.get_num_threads(),
        "seed": arguments.seed,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "epochs": epochs,
        "best_epoch": _best_epoch(state),
        "metrics": {name: result.scores for name, result in evaluations.items()},
        "baseline": {name: result.baseline for name, result in evaluations.items()},
        "classes": {name: result.classes for name, result in evaluations.items()},
    }


def write_record(record: Mapping[str, Any], folder: Path) -> None:
    """Writes the record into a folder."""
    text = json.dumps(record, indent=2, ensure_ascii=False, default=str)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Gives the record of a saved model, or None if it has none."""
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in _PACKAGES}


def _epochs(state: TrainerState) -> list[dict[str, float]]:
    """Joins what the trainer logged of each epoch: its training and its evaluation."""
    epochs: dict[float, dict[str, float]] = {}
    for entry in state.log_history:
        if "train_runtime" not in entry:  # the summary of the whole run
            epochs.setdefault(entry["epoch"], {}).update(entry)
    return list(epochs.values())


def _best_epoch(state: TrainerState) -> float | None:
    for entry in state.log_history:
        if "eval_loss" in entry and entry["step"] == state.best_global_step:
            return float(entry["epoch"])
    return None
