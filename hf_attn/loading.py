"""Loads a saved classifier with its tokenizer, and says what is wrong with one that is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from .configuration_hf_attn import HfAttnConfig
from .errors import InputError
from .fetching import fetch_model
from .hub_errors import without_secrets
from .hub_files import check_weights
from .modeling_hf_attn import HfAttnForSequenceClassification

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"  # of weights in several files


def load_classifier(
    name_or_path: str, *, revision: str | None = None
) -> tuple[HfAttnForSequenceClassification, PreTrainedTokenizerBase]:
    """Loads a model and its tokenizer from a folder or the Hub.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        revision: Branch, tag or commit of the repository.

    Returns:
        The model, in evaluation mode, and the tokenizer.

    Raises:
        InputError: If there is no such model, if it is of another type, or if its configuration,
            weights or tokenizer are broken.
    """
    folder = _find(name_or_path, revision)
    config = _load_config(folder)
    model, report = _read(
        "weights",
        folder,
        HfAttnForSequenceClassification.from_pretrained,
        config=config,
        output_loading_info=True,
    )
    absent = sorted(report["missing_keys"])
    if absent:
        raise InputError(
            f"{name_or_path}: expected the weights of a whole classifier, got none for "
            f"{', '.join(absent)}. Take a folder that `hf-attn train` finished."
        )
    tokenizer = _read("tokenizer", folder, AutoTokenizer.from_pretrained)
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{name_or_path}: expected a tokenizer of at most vocab_size={config.vocab_size} "
            f"tokens, got one of {len(tokenizer)}. It belongs to another model."
        )
    return model, tokenizer


def load_label_names(name_or_path: str) -> list[str]:
    """Gives the class names of a saved classifier, in their order.

    Raises:
        InputError: As [`load_classifier`] does.
    """
    return _load_config(_find(name_or_path)).class_names


def _find(name_or_path: str, revision: str | None = None) -> Path:
    """Gives the folder with a model; one of the Hub is fetched into the cache."""
    folder = Path(name_or_path)
    if not folder.exists() and not _looks_like_a_path(name_or_path):
        folder = fetch_model(name_or_path, revision=revision)
    _check_folder(folder)
    return folder


def _load_config(folder: Path) -> HfAttnConfig:
    config: HfAttnConfig = _read("configuration", folder, AutoConfig.from_pretrained)
    return config


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") != 1


def _check_folder(folder: Path) -> None:
    """Checks what transformers would report with an error that names no file."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "none"
        raise InputError(
            f"{folder}: expected a folder with a model, found {found}. "
            "Give the --output-dir of `hf-attn train`, or a Hub id such as user/name."
        )
    config_file, weights = folder / "config.json", folder / _WEIGHTS
    if (folder / "adapter_config.json").is_file() and not weights.is_file():
        raise InputError(
            f"{folder}: expected a whole model, got a LoRA adapter. Load it with peft, and save "
            "what its `merge_and_unload()` gives."
        )
    if not config_file.is_file():
        raise InputError(f"{folder}: expected a model, but there is no config.json in it.")
    try:
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{config_file}: expected a configuration in JSON, got {error}. The file is broken: "
            "train again or take it from another copy."
        ) from error
    if model_type != HfAttnConfig.model_type:
        raise InputError(_wrong_type(folder, model_type))
    if weights.is_file():
        check_weights(weights)
    elif not (folder / _INDEX).is_file():
        raise InputError(f"{folder}: expected weights, but there is no {_WEIGHTS} in it.")
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"{folder}: expected a tokenizer, but there is no tokenizer.json in it.")


def _wrong_type(source: object, model_type: object) -> str:
    return (
        f"{source}: expected a model of type {HfAttnConfig.model_type!r}, got {model_type!r}. "
        "Load it with transformers' own classes, or train one with `hf-attn train`."
    )


def _read(what: str, folder: Path, load: Callable[..., Any], **options: Any) -> Any:
    try:
        return load(folder, **options)
    # A broken file raises errors of many kinds, in tokenizers a bare Exception.
    except Exception as error:
        said = without_secrets(str(error))
        raise InputError(
            f"{folder}: the {what} cannot be loaded: {said} Check the files, or take them from "
            "another copy."
        ) from error
