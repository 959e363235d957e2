"""What can be set for a training run: of the data, of the model and of the training."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from .configuration_hf_attn import HfAttnConfig
from .data import mean_characters, problem_type
from .problem_types import MULTI, REGRESSION, SINGLE

if TYPE_CHECKING:
    import datasets

# From so many training texts on, words that occur once are no tokens of their own.
_MANY_TEXTS = 1000
# Rows for pairs, and how many texts of one class get that have so many characters in the mean.
_NGRAM_BUCKETS = 2**14
_NGRAM_BUCKETS_OF_LONG_TEXTS = 2**16
_CHARACTERS_FOR_MORE_PAIRS = 1000
# Half of the tokens are hidden from texts of so many characters on, in the mean, and fewer from
# shorter ones: what is left must still say what a text is about. Long ones say it with less.
_TOKEN_DROPOUT = 0.5
_CHARACTERS_TO_HIDE_HALF = 75
_TOKEN_DROPOUT_OF_LONG_TEXTS = 0.7
_CHARACTERS_TO_HIDE_MORE = 1400
# Of texts of several labels few: one of them may hang on a single word.
_TOKEN_DROPOUT_OF_MANY_LABELS = 0.1
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
    classifier_pooling: str | None = _setting(
        None,
        "weights of a text's tokens: mean, or static where texts can have several labels; a model "
        "that the run starts from has its own",
    )
    ngram_buckets: int | None = _setting(
        None,
        "most rows for pairs of words, the most frequent ones; 0 for none; 16,384 for a fresh "
        "model, or 65,536 for texts of one class with 1,000 characters or more in the mean",
    )
    ngram_min_frequency: int = _setting(
        2, "fewest times a pair must occur to have a row; 0 hashes all pairs into the rows"
    )
    token_dropout: float | None = _setting(
        None,
        "chance that a token is hidden in training; for a fresh model 0.5, less where texts have "
        "fewer than 75 characters in the mean, and 0.7 for one class from 1,400 on; 0.1 for "
        "several labels; 0.3 for words alone",
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

    def completed_for(self, train_split: datasets.Dataset) -> ModelArguments:
        """Gives the settings with those that depend on others or on the training texts.

        A word that occurs once teaches little, but lends its place to words that were never seen;
        few texts have few words to spare. The shorter texts are, the fewer of their tokens can be
        hidden; long texts of one class are better with more hidden and with rows for more pairs. A
        tokenizer that exists leaves nothing to count, and a model that the run starts from has
        settings of its own.

        Args:
            train_split: What [`load_text_dataset`] gives.
        """
        if self.model is not None:
            return self
        task = problem_type(train_split)
        are_many = len(train_split) >= _MANY_TEXTS and self.algorithm == "word"
        needs_length = None in (self.token_dropout, self.ngram_buckets) and not self.words_alone
        characters = mean_characters(train_split) if needs_length else 0.0  # which takes time
        defaults: dict[str, Any] = {
            "classifier_pooling": "static" if task == MULTI else "mean",
            "ngram_buckets": _ngram_buckets_for(task, characters),
            "min_frequency": 2 if are_many else 1,
            "token_dropout": _token_dropout_for(task, characters),
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


def _ngram_buckets_for(task: str, characters: float) -> int:
    """Gives the rows for pairs, by the characters of a text in the mean."""
    if task == SINGLE and characters >= _CHARACTERS_FOR_MORE_PAIRS:
        return _NGRAM_BUCKETS_OF_LONG_TEXTS
    return _NGRAM_BUCKETS


def _token_dropout_for(task: str, characters: float) -> float:
    """Gives the share of tokens to hide: half, more of long texts, and less of short ones."""
    if task == MULTI:
        return _TOKEN_DROPOUT_OF_MANY_LABELS
    if task == SINGLE and characters >= _CHARACTERS_TO_HIDE_MORE:
        return _TOKEN_DROPOUT_OF_LONG_TEXTS
    return round(_TOKEN_DROPOUT * min(1.0, characters / _CHARACTERS_TO_HIDE_HALF), 2)


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
        "most passes over the training texts; 0: the largest of four, as many as make 600 steps, "
        "and the root of the number of labels, over the share of tokens left, up to 100",
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
        0, "evaluations without progress before it stops, where it keeps the best; 0: never"
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


Settings = tuple[DataArguments, ModelArguments, HfAttnTrainingArguments]
