"""The settings of a training run, from Python, command-line flags or one YAML or JSON file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser, TrainingArguments

from .configuration_hf_attn import HfAttnConfig
from .errors import InputError
from .problem_types import REGRESSION

# From so many training texts on, words that occur once are no tokens of their own.
_MANY_TEXTS = 1000
_NGRAM_BUCKETS = 2**14
_TOKEN_DROPOUT = 0.2
# That of transformers, 0.999, remembers rare pairs of words so long that they are learned by heart.
_ADAM_BETA2 = 0.98
# What holds the attention back where texts have classes; values are learned better without.
_ATTENTION_DROPOUT = 0.3
_ATTENTION_WEIGHT_DECAY = 3.0
# The settings that suit a model without pairs: more words are hidden, and rare ones kept.
WORDS_ALONE: Mapping[str, Any] = {
    "ngram_buckets": 0,
    "min_frequency": 1,
    "token_dropout": 0.3,
    "attention_dropout": 0.0,
    "adam_beta2": 0.999,
    "attention_weight_decay": 0.0,
}


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class DataArguments:
    """What to learn from; see [`load_text_dataset`]."""

    dataset: str = _setting("", "file, folder, Hub id, or named corpus (r8, r52, 20ng)")
    validation: str | None = _setting(None, "file of the validation split")
    test: str | None = _setting(None, "file of the test split")
    text_column: str | None = _setting(None, "column of the text; guessed where obvious")
    text_pair_column: str | None = _setting(None, "column of a second text")
    label_column: str | None = _setting(None, "column of the label; guessed where obvious")
    label_separator: str | None = _setting(None, "mark between several labels in one column")
    problem_type: str | None = _setting(None, "kind of task; told from the labels")
    unseen_labels: str = _setting("error", "labels of other splits unseen in train: error or drop")
    validation_size: float = _setting(0.1, "share of train to validate on if there is no split")
    train_fraction: float = _setting(1.0, "share of the training texts to use")
    subset: str | None = _setting(None, "configuration of a Hub data set")
    revision: str | None = _setting(None, "branch, tag or commit of a Hub data set")


@dataclass
class ModelArguments:
    """What to train; the sizes and rates are those of [`HfAttnConfig`]."""

    model: str | None = _setting(None, "folder or Hub id of a model to start from")
    tokenizer: str | None = _setting(None, "folder or Hub id of a fast tokenizer to use as it is")
    embeddings: str | None = _setting(None, "word vectors (.vec) or model to start from")
    algorithm: str = _setting("word", "tokenizer to train: word, wordpiece, bpe or unigram")
    vocab_size: int = _setting(30_000, "most tokens that tokenizer may have")
    words_alone: bool = _setting(
        False,
        "whether to look at words alone, not at pairs of neighbours: without ngram_buckets, with "
        "settings of min_frequency, dropouts, attention_weight_decay and adam_beta2 that suit it",
    )
    min_frequency: int | None = _setting(
        None,
        "fewest times a word must occur to be a token; by default 2 from 1,000 texts on, else 1; "
        "1 for words alone",
    )
    lowercase: bool = _setting(True, "whether that tokenizer ignores case")
    strip_accents: bool = _setting(False, "whether that tokenizer ignores accents")
    max_length: int = _setting(8192, "tokens at which a text is cut")
    hidden_size: int = _setting(64, "width of token features")
    head_dim: int = _setting(32, "width of queries and keys")
    relative_attention_num_buckets: int = _setting(32, "buckets of distances; 0 ignores order")
    relative_attention_max_distance: int = _setting(128, "distance from which all share a bucket")
    attention_window: int = _setting(0, "tokens a token sees to each side; 0 for all")
    classifier_pooling: str = _setting("mean", "weights of a text's tokens: mean or static")
    ngram_buckets: int | None = _setting(
        None, "most rows for pairs of words, the most frequent ones; by default 16,384; 0 for none"
    )
    ngram_min_frequency: int = _setting(
        2, "fewest times a pair must occur to have a row; 0 hashes all pairs into the rows"
    )
    token_dropout: float | None = _setting(
        None,
        "chance that a token is hidden in training; 0.2 for a fresh model, 0.3 for words alone",
    )
    embedding_dropout: float | None = _setting(
        None, "dropout of token features; 0 for a fresh model"
    )
    attention_dropout: float | None = _setting(
        None,
        "dropout of attention weights; 0.3 for a fresh model, but 0 for words alone and for a "
        "regression",
    )
    classifier_dropout: float | None = _setting(
        None, "dropout of the pooled text; 0 for a fresh model"
    )
    initializer_range: float = _setting(0.02, "standard deviation of fresh embeddings")
    lora_rank: int = _setting(0, "rank of LoRA on the attention; 0 trains all weights")

    def config_fields(self) -> dict[str, Any]:
        """Gives the settings that are fields of the configuration too, but for `vocab_size`."""
        names = set(HfAttnConfig.__dataclass_fields__) - {"vocab_size"}
        return {name: value for name, value in vars(self).items() if name in names}

    def means_words_alone(self, ngram_buckets: int) -> bool:
        """Says whether the model is of words alone: as is asked for, or as the one it starts from.

        Args:
            ngram_buckets: Rows for pairs that the model has.
        """
        return self.words_alone or (self.model is not None and not ngram_buckets)

    def completed_for(self, num_texts: int, task: str) -> ModelArguments:
        """Gives the settings with those that depend on others or on the training texts.

        A word that occurs once teaches little, but lends its place to words that were never seen;
        few texts have few words to spare. A tokenizer that exists leaves nothing to count, and a
        model that the run starts from has settings of its own.

        Args:
            num_texts: How many there are.
            task: The problem type.
        """
        if self.model is not None:
            return self
        are_many = num_texts >= _MANY_TEXTS and self.algorithm == "word"
        defaults: dict[str, Any] = {
            "ngram_buckets": _NGRAM_BUCKETS,
            "min_frequency": 2 if are_many else 1,
            "token_dropout": _TOKEN_DROPOUT,
            "embedding_dropout": 0.0,
            "attention_dropout": 0.0 if task == REGRESSION else _ATTENTION_DROPOUT,
            "classifier_dropout": 0.0,
        }
        if self.words_alone:
            defaults |= {name: WORDS_ALONE[name] for name in defaults if name in WORDS_ALONE}
        if self.tokenizer is not None:
            del defaults["min_frequency"]
        missing = {name: one for name, one in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)


# What a run may set anew for a model that it starts from.
CAN_CHANGE = {
    "model",
    "max_length",
    "lora_rank",
    "token_dropout",
    "embedding_dropout",
    "attention_dropout",
    "classifier_dropout",
}


@dataclass
class HfAttnTrainingArguments(TrainingArguments):
    """`TrainingArguments` with defaults for a small model on a CPU."""

    learning_rate: float = _setting(2e-3, "peak learning rate")
    adam_beta2: float = _setting(
        None,
        "share of Adam's squared gradients that it keeps each step; by default 0.98, and 0.999 for "
        "words alone",
    )
    ngram_lr_ratio: float = _setting(0.3, "learning rate of bigrams, over that of all else")
    attention_weight_decay: float | None = _setting(
        None,
        "weight decay of queries, keys and values, in AdamW, which holds attention back unless it "
        "helps; by default 3, but 0 for words alone and for a regression",
    )
    num_train_epochs: float = _setting(
        0.0,
        "most passes over the training texts; 0: four, or the root of the number of labels, or as "
        "many as make 600 steps, up to 100",
    )
    per_device_train_batch_size: int = _setting(32, "texts in a training batch")
    per_device_eval_batch_size: int = _setting(64, "texts in an evaluation batch")
    warmup_steps: float = _setting(0.1, "steps to the peak learning rate, or share below 1")
    eval_strategy: str | None = _setting(None, "when to evaluate; as it saves, or each epoch")  # type: ignore[assignment]
    save_strategy: str | None = _setting(None, "when to save; as it evaluates, or each epoch")  # type: ignore[assignment]
    logging_strategy: str = _setting("epoch", "when to log")
    save_total_limit: int | None = _setting(1, "checkpoints to keep beside the best")
    load_best_model_at_end: bool | None = _setting(  # type: ignore[assignment]
        None, "whether to keep the best epoch; by default where it evaluates when it saves"
    )
    train_sampling_strategy: str = _setting("group_by_length", "order of the training texts")
    restore_callback_states_from_checkpoint: bool = _setting(
        True, "whether a resumed run goes on counting towards an early stop"
    )
    early_stopping_patience: int = _setting(
        5, "evaluations without progress before it stops, where it keeps the best; 0: never"
    )
    remove_unused_columns: bool = _setting(False, "batches hold only what the model takes")
    ddp_find_unused_parameters: bool | None = _setting(False, "every parameter is always used")
    disable_tqdm: bool | None = _setting(None, "progress bar; by default on a terminal only")
    dataloader_pin_memory: bool = field(
        default_factory=torch.accelerator.is_available,
        metadata={"help": "whether batches wait in pinned memory; by default with an accelerator"},
    )
    calibrate: bool = _setting(
        True,
        "whether to fit a temperature, and thresholds of several labels, to the validation texts",
    )
    threshold_average: str = _setting(
        "micro",
        "F1 that those thresholds make high: micro (one for all), or macro (each label's own)",
    )
    training_trace: bool = _setting(
        True, "whether to trace attention, and say after each epoch what its numbers say"
    )
    autotune_seconds: float | None = _setting(
        None,
        "seconds to search for better settings by the validation score, before the training; the "
        "same command goes on with a search that was interrupted",
    )
    autotune_trials: int | None = _setting(None, "most settings that such a search tries")
    overwrite: bool = _setting(False, "whether a model in the output folder may be replaced")
    license: str | None = _setting(None, "licence of the model, for its card: apache-2.0, ...")
    language: str | None = _setting(None, "languages of the texts, for the card: en or de,fr")
    example: str | None = _setting(
        None,
        "text that the card explains and run.json holds; by default a short one of the validation "
        "or test texts, '' for none",
    )

    def __post_init__(self) -> None:
        """Completes what depends on other settings or on the machine, and wants a folder."""
        self.given_names = frozenset(given_fields(self))
        if "adam_beta2" not in self.given_names:
            self.adam_beta2 = _ADAM_BETA2
        if self.output_dir is None:
            raise ValueError(
                "Expected a folder to save the model in, got no output_dir. Add --output-dir MODEL."
            )
        if self.ngram_lr_ratio <= 0:
            raise ValueError(f"ngram_lr_ratio must be above 0, got {self.ngram_lr_ratio!r}.")
        if self.attention_weight_decay is not None and self.attention_weight_decay < 0:
            raise ValueError(
                "attention_weight_decay must be 0 (none) or more, got "
                f"{self.attention_weight_decay!r}."
            )
        if self.disable_tqdm is None:
            self.disable_tqdm = not sys.stderr.isatty()
        if not torch.accelerator.is_available():
            self.use_cpu = True  # or transformers refuses bf16, and several processes
        self.eval_strategy, self.save_strategy = _strategies(self.eval_strategy, self.save_strategy)
        if self.load_best_model_at_end is None:
            together = self.save_strategy in (self.eval_strategy, "best")
            self.load_best_model_at_end = together and self.eval_strategy != "no"
        self.chooses_metric = self.metric_for_best_model is None
        if self.greater_is_better is None and str(self.metric_for_best_model).endswith("mse"):
            self.greater_is_better = False  # transformers knows it of losses alone
        super().__post_init__()

    def complete_for(self, task: str, *, words_alone: bool) -> None:
        """Completes the settings that depend on others.

        Args:
            task: The problem type.
            words_alone: Whether the model is of words alone.
        """
        if self.attention_weight_decay is None:
            decay = 0.0 if task == REGRESSION else _ATTENTION_WEIGHT_DECAY
            of_words = WORDS_ALONE["attention_weight_decay"]
            self.attention_weight_decay = of_words if words_alone else decay
        if words_alone and "adam_beta2" not in self.given_names:
            self.adam_beta2 = WORDS_ALONE["adam_beta2"]


def given_fields(settings: Any) -> dict[str, Any]:
    """Gives the fields of settings that differ from their defaults."""
    given = {}
    for one in dataclasses.fields(settings):
        make_default = one.default_factory
        default = one.default if make_default is dataclasses.MISSING else make_default()
        if getattr(settings, one.name) != default:
            given[one.name] = getattr(settings, one.name)
    return given


def _strategies(evaluate: str | None, save: str | None) -> tuple[str, str]:
    """Gives when to evaluate and when to save; what was not said follows the other."""
    every = {"steps", "epoch"}
    return (
        evaluate or (save if save in every else "epoch"),
        save or (evaluate if evaluate in every else "epoch"),
    )


# What the Hub takes in the metadata of a card; languages are ISO 639 codes.
_LICENSE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_LANGUAGE = r"(?:[a-z]{2,3}|code|multilingual)"
_LANGUAGES = re.compile(rf"{_LANGUAGE}(?:,{_LANGUAGE})*")

_Arguments = TypeVar("_Arguments", bound=DataArguments | ModelArguments | TrainingArguments)
Settings = tuple[DataArguments, ModelArguments, HfAttnTrainingArguments]
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
