"""Loads a saved classifier with its tokenizer, and says what is wrong with one that is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils.import_utils import is_torchao_available

from .configuration_hf_attn import HfAttnConfig, HfAttnFoldedConfig
from .errors import InputError
from .explainability import refusal_of_folded
from .fetching import find_folder
from .file_names import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    INDEX_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
)
from .hub_errors import without_secrets
from .hub_files import MODEL_TYPES, check_weights
from .json_object import read_json_object
from .modeling_hf_attn import (
    HfAttnClassifier,
    HfAttnFoldedForSequenceClassification,
    HfAttnForSequenceClassification,
)

_CLASSES: dict[str, type[HfAttnClassifier]] = {
    HfAttnConfig.model_type: HfAttnForSequenceClassification,
    HfAttnFoldedConfig.model_type: HfAttnFoldedForSequenceClassification,
}


def load_classifier(
    name_or_path: str, *, revision: str | None = None
) -> tuple[HfAttnClassifier, PreTrainedTokenizerBase]:
    """Loads a model, plain or folded, and its tokenizer from a folder or the Hub.

    A LoRA adapter is merged into the model that it names, which is loaded first.

    Args:
        name_or_path: A folder that training or folding wrote, or the id of a Hub repository.
        revision: Branch, tag or commit of the repository.

    Returns:
        The model, in evaluation mode, and the tokenizer.

    Raises:
        InputError: If there is no such model, if it is of another type, or if its configuration,
            weights or tokenizer are broken.
    """
    given = _find(name_or_path, revision)
    folder = _whole(given)
    config = _load_config(folder)
    _check_packages(folder, config)
    model, report = _read(
        "weights",
        folder,
        _CLASSES[config.model_type].from_pretrained,
        config=config,
        output_loading_info=True,
    )
    absent = sorted(report["missing_keys"])
    if absent:
        raise InputError(
            f"{name_or_path}: expected the weights of a whole classifier, got none for "
            f"{', '.join(absent)}. Take a folder that `hf-attn train` or `hf-attn fold` finished."
        )
    if given != folder:
        model = _merged(model, given)
    own = given if (given / TOKENIZER_FILE).is_file() else folder
    tokenizer = _read("tokenizer", own, AutoTokenizer.from_pretrained)
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{name_or_path}: expected a tokenizer of at most vocab_size={config.vocab_size} "
            f"tokens, got one of {len(tokenizer)}. It belongs to another model."
        )
    return model, tokenizer


def load_unfolded(
    name_or_path: str, purpose: str
) -> tuple[HfAttnForSequenceClassification, PreTrainedTokenizerBase]:
    """Loads as [`load_classifier`] does, where embeddings and projections are needed.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        purpose: What they are needed for, such as "training".

    Raises:
        InputError: If the model is folded, or as [`load_classifier`] does.
    """
    model, tokenizer = load_classifier(name_or_path)
    _refuse_folded(name_or_path, model.config, purpose)
    return cast(HfAttnForSequenceClassification, model), tokenizer


def check_trainable(name_or_path: str) -> None:
    """Refuses a folded model, before the weights of any are loaded.

    Raises:
        InputError: If the model is folded, or as [`load_classifier`] does.
    """
    _refuse_folded(name_or_path, _load_config(_whole(_find(name_or_path))), "training")


def _refuse_folded(name_or_path: str, config: HfAttnConfig, purpose: str) -> None:
    if isinstance(config, HfAttnFoldedConfig):
        raise InputError(f"{name_or_path}: expected {refusal_of_folded('folder', purpose)}")


def load_label_names(name_or_path: str) -> list[str]:
    """Gives the class names of a saved classifier, in their order.

    Raises:
        InputError: As [`load_classifier`] does.
    """
    return _load_config(_whole(_find(name_or_path))).class_names


def _find(name_or_path: str, revision: str | None = None) -> Path:
    """Gives the folder with a model; one of the Hub is fetched into the cache."""
    folder = find_folder(name_or_path, revision=revision)
    if not _is_adapter(folder):
        _check_folder(folder)
    return folder


def _is_adapter(folder: Path) -> bool:
    is_whole = (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()
    return (folder / ADAPTER_FILE).is_file() and not is_whole


def _whole(folder: Path) -> Path:
    """Gives the folder of the model that an adapter changes; that of a whole model is its own."""
    if not _is_adapter(folder):
        return folder
    path = folder / ADAPTER_FILE
    try:
        adapter = json.loads(path.read_text(encoding="utf-8"))
        base, revision = adapter["base_model_name_or_path"], adapter.get("revision")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected the configuration of an adapter in JSON, with "
            f"base_model_name_or_path, got {error!r}. Save the adapter again."
        ) from error
    if not (folder / ADAPTER_WEIGHTS_FILE).is_file():
        raise InputError(
            f"{folder}: expected the weights of an adapter, but there is no "
            f"{ADAPTER_WEIGHTS_FILE} in it. Save the adapter again."
        )
    check_weights(folder / ADAPTER_WEIGHTS_FILE)
    try:
        whole = _find(str(base), revision)
    except InputError as error:
        raise InputError(f"{path}: the adapter needs the model that it changes. {error}") from error
    if _is_adapter(whole):
        raise InputError(
            f"{path}: expected base_model_name_or_path to be a whole model, got {base!r}, which is "
            "an adapter. Merge that one first: model.merge_and_unload()."
        )
    _refuse_folded(f"{path}: {base}", _load_config(whole), "an adapter")
    return whole


def _merged(model: HfAttnClassifier, adapter: Path) -> HfAttnClassifier:
    """Gives the model with an adapter merged into its weights.

    Raises:
        InputError: If peft is not installed, or the adapter does not fit.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError(
            f"{adapter}: a LoRA adapter needs the package peft. Install it with: "
            "pip install 'hf-attn[lora]'"
        ) from error
    adapted = _read("adapter", adapter, lambda path: peft.PeftModel.from_pretrained(model, path))
    merged: HfAttnClassifier = adapted.merge_and_unload().eval()
    return merged


def _check_packages(folder: Path, config: HfAttnConfig) -> None:
    quantization = getattr(config, "quantization_config", None) or {}
    if quantization.get("quant_method") == "torchao" and not is_torchao_available():
        raise InputError(
            f"{folder}: weights in int8 need the package torchao. Install it with: "
            "pip install 'hf-attn[int8]'"
        )


def _load_config(folder: Path) -> HfAttnConfig:
    config: HfAttnConfig = _read("configuration", folder, AutoConfig.from_pretrained)
    return config


def _check_folder(folder: Path) -> None:
    """Checks what transformers would report with an error that names no file."""
    config_file, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    if not config_file.is_file():
        raise InputError(f"{folder}: expected a model, but there is no {CONFIG_FILE} in it.")
    model_type = read_json_object(config_file).get("model_type")
    if model_type not in MODEL_TYPES:
        raise InputError(_wrong_type(folder, model_type))
    if weights.is_file():
        check_weights(weights)
    elif not (folder / INDEX_FILE).is_file():
        raise InputError(f"{folder}: expected weights, but there is no {WEIGHTS_FILE} in it.")
    if not (folder / TOKENIZER_FILE).is_file():
        raise InputError(f"{folder}: expected a tokenizer, but there is no {TOKENIZER_FILE} in it.")


def _wrong_type(source: object, model_type: object) -> str:
    return (
        f"{source}: expected a model of type {' or '.join(map(repr, MODEL_TYPES))}, got "
        f"{model_type!r}. Load it with transformers' own classes, or train one with "
        "`hf-attn train`."
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
