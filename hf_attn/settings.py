"""The settings of a training run, from Python, command-line flags or one YAML or JSON file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, TrainingArguments

from .arguments import (
    CAN_CHANGE,
    DataArguments,
    HfAttnTrainingArguments,
    ModelArguments,
    Settings,
    given_fields,
)
from .configuration_hf_attn import HfAttnConfig
from .errors import InputError

# What the Hub takes in the metadata of a card; languages are ISO 639 codes.
_LICENSE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_LANGUAGE = r"(?:[a-z]{2,3}|code|multilingual)"
_LANGUAGES = re.compile(rf"{_LANGUAGE}(?:,{_LANGUAGE})*")

_Arguments = TypeVar("_Arguments", bound=DataArguments | ModelArguments | TrainingArguments)
_CLASSES = (DataArguments, ModelArguments, HfAttnTrainingArguments)


def settings_from_options(options: Mapping[str, Any]) -> Settings:
    """Gives the settings of keyword arguments.

    Raises:
        InputError: If a name is unknown, with the nearest known one, or a value is refused.
    """
    _refuse_unknown(options, set().union(*map(_field_names, _CLASSES)), "option")

    def build(cls: type[_Arguments]) -> _Arguments:
        names = _field_names(cls)
        return cls(**{name: value for name, value in options.items() if name in names})

    with _as_input_errors():
        settings = build(DataArguments), build(ModelArguments), build(HfAttnTrainingArguments)
    return _checked(settings)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Names the defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_open = action.default is None or action.default == ""
        return action.help if is_open else super()._get_help_string(action)


class _Parser(HfArgumentParser):
    """Says in one line what is wrong; the usage of all settings would hide it."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. `{self.prog} --help` lists the settings.")


def settings_from_flags(arguments: Sequence[str], prog: str) -> Settings:
    """Gives the settings of command-line flags; `--config FILE` reads YAML or JSON below them.

    Args:
        arguments: The words after the command.
        prog: The command's name, for its help.

    Raises:
        InputError: If the file cannot be read, a name is unknown or a value is refused.
        SystemExit: After `--help`.
    """
    classes: list[Any] = list(_CLASSES)
    parser = _Parser(classes, prog=prog, allow_abbrev=False, formatter_class=_Help)
    parser.add_argument("source", nargs="?", help="same as --dataset")
    parser.add_argument("--config", help="YAML or JSON file with any of these settings")
    known = {action.dest for action in parser._actions}
    config_file = _value_of_flag(arguments, "--config")
    if config_file is not None:
        values = _read_settings(Path(config_file))
        _refuse_unknown(values, known, f"setting in {config_file}")
        parser.set_defaults(**values)
    _, unknown = parser.parse_known_args(list(arguments))
    flags = [flag for action in parser._actions for flag in action.option_strings]
    _refuse_unknown(dict.fromkeys(unknown, ""), set(flags), "flag or word")
    with _as_input_errors():
        data, model, training, rest = parser.parse_args_into_dataclasses(list(arguments))
    if rest.source and data.dataset:
        raise InputError(
            f"Expected one thing to learn from, got {rest.source!r} and --dataset {data.dataset!r}."
        )
    data.dataset = rest.source or data.dataset
    return _checked((data, model, training))


def _field_names(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls) if field.init}


def _checked(settings: Settings) -> Settings:
    data, model, training = settings
    if not data.dataset:
        raise InputError(
            "Expected something to learn from, got no dataset. Name a file, a folder, a Hub id "
            "or a corpus: hf-attn train r8 --output-dir MODEL."
        )
    if not 0 < data.train_fraction <= 1:
        raise InputError(f"train_fraction must be in (0, 1], got {data.train_fraction!r}.")
    _check_numbers(training)
    if training.threshold_average not in ("micro", "macro"):
        raise InputError(
            f"threshold_average must be micro or macro, got {training.threshold_average!r}."
        )
    _check_card_settings(training)
    _check_starting_point(model)
    with _as_input_errors():
        fields = model.config_fields()
        HfAttnConfig(**{name: value for name, value in fields.items() if value is not None})
    return settings


def _check_numbers(arguments: HfAttnTrainingArguments) -> None:
    """Refuses numbers that would fail in the middle of a run."""
    for name, least in (
        ("learning_rate", 0),
        ("num_train_epochs", 0),
        ("per_device_train_batch_size", 1),
        ("per_device_eval_batch_size", 1),
        ("gradient_accumulation_steps", 1),
        ("early_stopping_patience", 0),
    ):
        value = getattr(arguments, name)
        if not isinstance(value, (int, float)) or value < least:
            raise InputError(f"{name} must be a number from {least} on, got {value!r}.")
    for name in ("adam_beta1", "adam_beta2"):
        value = getattr(arguments, name)
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise InputError(f"{name} must be in [0, 1), got {value!r}.")
    _check_search(arguments)


def _check_search(arguments: HfAttnTrainingArguments) -> None:
    """Refuses a search for settings that could not find any."""
    seconds, trials = arguments.autotune_seconds, arguments.autotune_trials
    if seconds is None:
        if trials is not None:
            raise InputError(
                f"autotune_trials={trials!r} limits a search, and there is none. Add "
                "--autotune-seconds N."
            )
        return
    if not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise InputError(
            f"autotune_seconds must be a number above 0, got {seconds!r}. Say how long to search, "
            "or leave it out."
        )
    if trials is not None and (not isinstance(trials, int) or trials < 1):
        raise InputError(f"autotune_trials must be a whole number from 1 on, got {trials!r}.")
    if arguments.eval_strategy == "no":
        raise InputError(
            "autotune_seconds chooses by the validation score, and eval_strategy='no' gives none. "
            "Leave one of them out."
        )
    if arguments.world_size > 1:
        raise InputError(
            f"autotune_seconds searches in one process, got {arguments.world_size}. Search in one, "
            "then train in several with --config tuned.yaml."
        )


def _check_card_settings(arguments: HfAttnTrainingArguments) -> None:
    """Refuses what the Hub would refuse in the metadata of a model card."""
    for name, pattern, examples in (
        ("license", _LICENSE, "apache-2.0, cc-by-4.0, other"),
        ("language", _LANGUAGES, "en; de,fr; multilingual"),
    ):
        value = getattr(arguments, name)
        # YAML reads the Norwegian `no` as False where it is not in quotes.
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            raise InputError(
                f"{name} must be an identifier of the Hub ({examples}), got {value!r}. Write it "
                "so, in a YAML file in quotes, or leave it out."
            )


def _check_starting_point(arguments: ModelArguments) -> None:
    """Refuses settings that what the run starts from would not follow."""
    if arguments.ngram_min_frequency < 0:
        raise InputError(
            "ngram_min_frequency must be 0 (all pairs share the rows) or more, got "
            f"{arguments.ngram_min_frequency!r}."
        )
    if arguments.words_alone and arguments.ngram_buckets:
        raise InputError(
            "words_alone (--words-alone) looks at no pairs of words, got rows for them too, "
            f"ngram_buckets={arguments.ngram_buckets!r}. Leave one of them out."
        )
    if arguments.model is None:
        if arguments.lora_rank:
            raise InputError(
                f"lora_rank={arguments.lora_rank!r} adapts a trained model, and there is none: "
                "fresh embeddings would stay random. Add --model."
            )
        return
    settled = given_fields(arguments).keys() - CAN_CHANGE
    if settled:
        raise InputError(
            f"--model {arguments.model} brings its own {', '.join(sorted(settled))}. Leave that "
            "out, or --model."
        )


def _value_of_flag(arguments: Sequence[str], flag: str) -> str | None:
    for position, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: expected a YAML or JSON file with settings, found none.")
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected YAML or JSON, got {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected names with values, got {type(values).__name__}.")
    return values


def _refuse_unknown(given: Mapping[str, Any], known: set[str], what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            value = f" (value {given[name]!r})" if given[name] != "" else ""
            raise InputError(f"Unknown {what}: {name!r}{value}.{hint}")


@contextlib.contextmanager
def _as_input_errors() -> Iterator[None]:
    """Says as an [`InputError`] what transformers refuses with errors of many kinds."""
    try:
        yield
    except (StrictDataclassError, ValueError, TypeError, ImportError) as error:
        # The cause is our own message, without the names of transformers' validators.
        raise InputError(str(error.__cause__ or error)) from error
