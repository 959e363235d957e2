"""What was trained, from what, how, and how well: the `run.json` beside the weights."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import TrainerState

from .arguments import Settings, given_fields
from .batching import TokenizedTexts
from .calibration import Calibration
from .errors import InputError
from .evaluation import Evaluation
from .fetching import find_file
from .file_names import RECORD_FILE
from .modeling_hf_attn import HfAttnClassifier
from .sources import source_kind
from .training_trace import ENTROPY

# What records did not say before saves were pushed while training goes on, settings were searched
# and logits calibrated.
_OF_OLD_RECORDS = {"epoch": None, "is_finished": True, "tuning": None, "calibration": None}
IN_MEMORY = "a data set in memory"
# Settings of a person or a place: what logs in, where things are uploaded and the text of the card.
_PRIVATE = re.compile(r"hub_\w+|push_to_hub|\w+_token|trackio_\w+|output_dir|example")
# Settings that lead to the same model whatever they are.
_WITHOUT_EFFECT = re.compile(
    r"overwrite|resume_from_checkpoint|disable_tqdm|report_to|run_name|project|log(ging)?_\w+|debug|"
    r"training_trace|autotune_\w+|include_num_input_tokens_seen"
)
# Tokens of a text that the card can show as a table.
_EXAMPLE_TOKENS = range(6, 13)
_PACKAGES = ("hf-attn", "torch", "transformers", "tokenizers", "datasets", "accelerate", "evaluate")


def make_record(
    settings: Settings,
    model: HfAttnClassifier,
    data: datasets.DatasetDict,
    texts: Mapping[str, TokenizedTexts],
    evaluations: Mapping[str, Evaluation] | None,
    state: TrainerState,
    seconds: Mapping[str, float],
    tuning: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Gives the record of a run. It can be published: no token is in it, and of a path the name.

    Args:
        settings: What it was started with.
        model: The trained classifier.
        data: Name of each split to its texts as they came, from which the example is taken.
        texts: Name of each split to its texts as the model reads them.
        evaluations: Name of a split to the final model's scores on it; None while training goes on.
        state: The trainer's, with the scores of each epoch.
        seconds: Wall time of the training loop ("train") and of everything ("total").
        tuning: What the search for settings did; None without one.
        calibration: What was fitted to the validation texts after the training, if anything was.

    Returns:
        data, example, sizes, settings, tuning, versions, device, threads, processes, seed, seconds,
        epochs, epoch, best_epoch, is_finished, calibration, metrics, baseline and classes, of what
        JSON can hold.
    """
    data_arguments, model_arguments, arguments = settings
    task = str(model.config.problem_type)
    fitted = model_arguments.completed_for(data["train"])
    scored = evaluations or {}
    return {
        "data": {
            "source": _publishable(data_arguments.dataset),
            "kind": source_kind(data_arguments.dataset),
            "pairs": "text_pair" in data["train"].column_names,
            "problem_type": task,
            "labels": model.config.class_names,
            "texts": {name: len(split) for name, split in texts.items()},
            "texts_cut": {name: split.num_truncated for name, split in texts.items()},
        },
        "example": _example(arguments.example, data, texts),
        "sizes": {
            "parameters": model.num_parameters(),
            "vocab_size": model.config.vocab_size,
            "hidden_size": model.config.hidden_size,
        },
        "settings": {
            "data": _publishable(vars(data_arguments)),
            # A model that was started from keeps its own sizes, whatever the settings' defaults.
            "model": _publishable(vars(fitted))
            | {name: getattr(model.config, name) for name in fitted.config_fields()},
            "training": _publishable(arguments.to_dict()),
            "given": given_settings(settings),
        },
        "tuning": tuning,
        "versions": {"python": platform.python_version(), **_versions()},
        "device": arguments.device.type,
        "processes": arguments.world_size,
        "threads": torch.get_num_threads(),
        "seed": arguments.seed,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "epochs": _epochs(state),
        "epoch": state.epoch,
        "best_epoch": best_epoch(state),
        "is_finished": evaluations is not None,
        "calibration": None if calibration is None else calibration.to_dict(),
        "metrics": {name: result.scores for name, result in scored.items()},
        "baseline": {name: result.baseline for name, result in scored.items()},
        "classes": {name: result.classes for name, result in scored.items()},
    }


def write_record(record: Mapping[str, Any], folder: Path) -> None:
    """Writes the record into a folder."""
    text = json.dumps(record, indent=2, ensure_ascii=False, default=str)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def read_record(name_or_path: str | Path) -> dict[str, Any] | None:
    """Gives the record of a saved model, or None if it has none.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.

    Raises:
        InputError: If the file is broken, or cannot be fetched.
    """
    path = find_file(name_or_path, RECORD_FILE)
    if path is None:
        return None
    try:
        return {**_OF_OLD_RECORDS, **json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected the record of a training run in JSON, got {error}. The file is "
            "broken: delete it to go on without, or train again."
        ) from error


def given_settings(settings: Settings) -> dict[str, Any]:
    """Gives the settings that were given and can change the model, but for the data set.

    They can be published, as the record can.
    """
    data, model, arguments = settings
    training = arguments.to_dict()
    given = {
        **given_fields(data),
        **given_fields(model),
        **{name: training[name] for name in training if name in arguments.given_names},
    }
    kept = {name: value for name, value in given.items() if not _WITHOUT_EFFECT.fullmatch(name)}
    del kept["dataset"]
    return dict(_publishable(kept))


def _publishable(value: Any) -> Any:
    """Gives a setting without what is private: tokens, and the folder that a path is in."""
    if isinstance(value, (datasets.Dataset, datasets.DatasetDict)):
        return IN_MEMORY
    if isinstance(value, Mapping):
        return {
            name: _publishable(part)
            for name, part in value.items()
            if not _PRIVATE.fullmatch(str(name))
        }
    if isinstance(value, (list, tuple)):
        return [_publishable(part) for part in value]
    if isinstance(value, (str, os.PathLike)):
        return _without_folder(os.fspath(value))
    return value


def _without_folder(text: str) -> str:
    path = Path(text)
    try:
        is_path = path.is_absolute() or text.startswith("~") or path.exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        is_path = False
    return path.name or text if is_path else text


def _example(
    given: str | None, data: Mapping[str, datasets.Dataset], texts: Mapping[str, TokenizedTexts]
) -> dict[str, Any] | None:
    """Gives the text that the card explains: the one given, or the first of the shortest."""
    if given is not None:
        return {"text": given, "pair": None, "split": None} if given.strip() else None
    for split in ("validation", "test"):
        if split not in texts:
            continue
        lengths = texts[split].lengths
        fitting = np.flatnonzero(np.isin(lengths, _EXAMPLE_TOKENS))
        if len(fitting):
            row = data[split][int(fitting[lengths[fitting].argmin()])]
            return {"text": row["text"].strip(), "pair": row.get("text_pair"), "split": split}
    return None


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in _PACKAGES}


def _epochs(state: TrainerState) -> list[dict[str, float]]:
    """Joins what the trainer logged of each epoch: its training and its evaluation."""
    epochs: dict[float, dict[str, float]] = {}
    for entry in state.log_history:
        # Neither the summary of the whole run nor what the training trace noted.
        if "train_runtime" not in entry and ENTROPY not in entry:
            epochs.setdefault(entry["epoch"], {}).update(entry)
    return list(epochs.values())


def best_epoch(state: TrainerState) -> float | None:
    """Gives when the weights that the trainer takes for the best were scored; None without any."""
    for entry in state.log_history:
        if "eval_loss" in entry and entry["step"] == state.best_global_step:
            return float(entry["epoch"])
    return None
