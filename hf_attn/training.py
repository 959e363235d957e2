"""Trains a classifier from labelled texts: one path for Python, the command and clusters."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerState,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import IntervalStrategy

from .arguments import (
    DataArguments,
    HfAttnTrainingArguments,
    ModelArguments,
    Settings,
)
from .batching import TokenizedTexts, keep_batch
from .calibration import Calibration, calibrate
from .card import CARD_FILE, keeps_page, make_card
from .checkpoints import check_same_model, checkpoint_to_resume
from .configuration_hf_attn import HfAttnConfig
from .data import label_names, load_text_dataset, take_fraction
from .errors import InputError
from .evaluation import Evaluation, evaluate_texts
from .frequent_bigrams import give_rows_to_bigrams
from .loading import check_trainable, load_label_names
from .mean_feature import mean_token_feature
from .metrics import score_logits
from .model_folder import RunFiles, write_model
from .modeling_hf_attn import HfAttnForSequenceClassification
from .problem_types import MAIN_METRIC, ProblemType
from .progress import LineProgress, write_line
from .run_record import make_record
from .saving import check_output_folder, make_output_folder, staged, writing_to
from .settings import settings_from_options
from .starting_point import add_lora, build_starting_point
from .token_counts import count_tokens
from .trainer import HfAttnTrainer, prepare_repository
from .training_run import PushError, TrainingRun, push_run
from .training_trace import drop_training_trace
from .training_trace_callback import TrainingTraceCallback
from .tuning_search import check_optuna, tune
from .tuning_trials import drop_search, finish_search, search_is_open

logger = logging.getLogger(__name__)

# The default length of a run: passes over a large data set, steps on a small one.
_LEAST_EPOCHS = 4
_MOST_EPOCHS = 100
_LEAST_STEPS = 600
# Pairs of tokens scored in a training from which on it is told how to have fewer: at 0.15 µs each,
# forward and backward, 15 minutes of one core.
_MANY_PAIRS = 6 * 10**9


@dataclass
class _RunSoFar:
    """What a run started with and when, for the record of any moment of it."""

    settings: Settings
    data: datasets.DatasetDict
    texts: dict[str, TokenizedTexts]
    token_counts: dict[str, int]
    tracing: TrainingTraceCallback | None
    started: float
    tuning: Mapping[str, Any] | None = None
    train_started: float = math.nan
    train_ended: float | None = None

    def files(
        self,
        model: HfAttnForSequenceClassification,
        state: TrainerState,
        evaluations: Mapping[str, Evaluation] | None = None,
        calibration: Calibration | None = None,
    ) -> RunFiles:
        """Gives what is known by now; without evaluations the run is not at its end."""
        now = time.perf_counter()
        seconds = {
            "train": (self.train_ended or now) - self.train_started,
            "total": now - self.started,
        }
        record = make_record(
            self.settings,
            model,
            self.data,
            self.texts,
            evaluations,
            state,
            seconds,
            self.tuning,
            calibration,
        )
        trace = None if self.tracing is None else self.tracing.trace_of(state)
        return RunFiles(record, self.token_counts, trace)


def train(
    dataset: str | datasets.DatasetDict,
    output_dir: str | Path,
    *,
    callbacks: Sequence[TrainerCallback] = (),
    **options: Any,
) -> TrainingRun:
    """Trains a classifier, evaluates it and saves it with its tokenizer and run record.

    Args:
        dataset: What [`load_text_dataset`] takes.
        output_dir: Folder for the model; must not hold one, unless `overwrite=True`.
        callbacks: Passed on to `Trainer`.
        **options: Any setting of `DataArguments`, `ModelArguments` or `TrainingArguments`.

    Returns:
        The model, its tokenizer and the record.

    Raises:
        InputError: If an option, the data, the folder or the repository cannot be used.
        PushError: After the model is saved, if something could not be pushed.

    Example:
        >>> run = train("r8", "r8-model", num_train_epochs=3)
        >>> run.record["metrics"]["test"]["accuracy"]
    """
    settings = settings_from_options({**options, "dataset": dataset, "output_dir": str(output_dir)})
    return run_training(settings, callbacks)


def run_training(
    settings: Settings,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    tell: Callable[[str], object] | None = None,
) -> TrainingRun:
    """Trains as [`train`] does, from settings that flags or a file gave.

    Args:
        settings: Of data, model and training.
        callbacks: Passed on to `Trainer`.
        tell: Called with lines of text on each epoch; if None, they stand above the progress bar,
            and are logged where there is none.
    """
    data_arguments, model_arguments, arguments = settings
    started = time.perf_counter()
    output_dir = Path(str(arguments.output_dir))
    resume = _checkpoint_of(arguments, output_dir)
    check_output_folder(output_dir, overwrite=arguments.overwrite, resume=resume is not None)
    if arguments.autotune_seconds is not None:
        check_optuna()
    if model_arguments.model is not None:
        check_trainable(model_arguments.model)
    if arguments.push_to_hub and arguments.process_index == 0:  # before minutes are spent
        arguments.hub_model_id = prepare_repository(arguments, arguments.hub_token)
    data = _load_data(data_arguments, model_arguments, arguments.seed)
    tuning = None
    if arguments.autotune_seconds is not None:
        settings, tuning = _tune(settings, data, tell, resume)
        _, model_arguments, arguments = settings
    set_seed(arguments.seed)
    model, tokenizer = build_starting_point(model_arguments, data["train"])
    texts = {name: TokenizedTexts.from_dataset(split, tokenizer) for name, split in data.items()}
    give_rows_to_bigrams(model, model_arguments, texts["train"])
    if resume is not None:
        check_same_model(resume, model.config)
    with arguments.main_process_first(desc="making the output folder"):
        make_output_folder(output_dir, keep_checkpoints=resume is not None)
    run_so_far = _RunSoFar(
        settings,
        data,
        texts,
        count_tokens(texts["train"], tokenizer),
        _tracing(arguments, texts, tell),
        started,
        tuning,
    )
    trainer = _build_trainer(model, tokenizer, run_so_far, callbacks)
    _warn_of_long_texts(model, texts["train"], arguments.num_train_epochs)
    run_so_far.train_started = time.perf_counter()
    with writing_to(output_dir):
        trainer.train(
            resume_from_checkpoint=None if resume is None else str(resume), wait_for_pushes=False
        )
    run_so_far.train_ended = time.perf_counter()
    try:
        return _finish(trainer, tokenizer, run_so_far)
    except PushError:
        raise
    except BaseException as error:  # saves may be on their way to the Hub still, or have failed
        trainer.tell_of_pushes(wait=isinstance(error, Exception))
        raise


def _finish(
    trainer: HfAttnTrainer, tokenizer: PreTrainedTokenizerBase, run_so_far: _RunSoFar
) -> TrainingRun:
    """Calibrates, evaluates, saves and pushes what was trained."""
    texts, arguments = run_so_far.texts, trainer.args
    model = trainer.trained_classifier()
    model.set_reference(mean_token_feature(model, texts["train"]))
    calibration = None
    settings = run_so_far.settings[2]
    if settings.calibrate:
        calibration = calibrate(
            model,
            texts,
            average=settings.threshold_average,
            batch_size=arguments.eval_batch_size,
        )
    evaluations: dict[str, Evaluation] = {
        name: evaluate_texts(
            model,
            texts[name],
            train_labels=texts["train"].labels,
            batch_size=arguments.eval_batch_size,
        )
        for name in ("validation", "test")
        if name in texts
    }
    files = run_so_far.files(model, trainer.state, evaluations, calibration)
    output_dir = Path(str(arguments.output_dir))
    run = TrainingRun(model, tokenizer, dict(files.record or {}), output_dir, files.trace)
    if trainer.is_world_process_zero():
        _save(run, files, overwrite=run_so_far.settings[2].overwrite)
    trainer.accelerator.wait_for_everyone()  # but not for the pushes, which may take long
    if arguments.push_to_hub and trainer.is_world_process_zero():
        push_run(trainer, run)
    return run


def _save(run: TrainingRun, files: RunFiles, *, overwrite: bool) -> None:
    """Writes the model and, once it is safe, its card."""
    with writing_to(run.output_dir), staged(run.output_dir) as folder:
        write_model(folder, run.model, run.tokenizer, files)
        if files.trace is None:
            drop_training_trace(run.output_dir)  # of the model that is replaced
        if run.record["tuning"] is None:
            drop_search(run.output_dir)
    finish_search(run.output_dir)
    if overwrite or not keeps_page(run.output_dir):
        card = make_card(run.model, run.tokenizer, files, run.output_dir.resolve().name)
        with writing_to(run.output_dir), staged(run.output_dir) as folder:
            (folder / CARD_FILE).write_text(card, encoding="utf-8")


def _build_trainer(
    model: HfAttnForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    run: _RunSoFar,
    callbacks: Sequence[TrainerCallback],
) -> HfAttnTrainer:
    _, model_arguments, arguments = run.settings
    texts = run.texts
    task = cast(ProblemType, model.config.problem_type)

    def compute_metrics(predicted: EvalPrediction) -> dict[str, float]:
        return score_logits(
            task, np.asarray(predicted.predictions), np.asarray(predicted.label_ids)
        )

    words_alone = model_arguments.means_words_alone(model.config.ngram_buckets)
    _fit_to_data(arguments, model.config, texts, words_alone=words_alone)
    rank = model_arguments.lora_rank
    trained: nn.Module = add_lora(model, rank) if rank else model
    validation = texts["validation"].sorted_by_length()[0] if "validation" in texts else None
    try:
        trainer = HfAttnTrainer(
            model=trained,
            args=arguments,
            data_collator=keep_batch,
            train_dataset=texts["train"],
            eval_dataset=validation,
            processing_class=tokenizer,
            compute_metrics=compute_metrics,
            callbacks=[*callbacks, *([run.tracing] if run.tracing else [])],
            describe=run.files,
        )
    except (ImportError, RuntimeError) as error:  # a package that --report_to or --optim needs
        raise InputError(str(error)) from error
    trainer.remove_callback(PrinterCallback)  # the library does not print
    if not arguments.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(LineProgress(tells_of_epochs=not arguments.training_trace))
    if arguments.load_best_model_at_end and arguments.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(arguments.early_stopping_patience))
    return trainer


def _warn_of_long_texts(
    model: HfAttnForSequenceClassification, texts: TokenizedTexts, epochs: float
) -> None:
    """Tells what a training of long texts can do without, where every token sees all others."""
    seen = (1 - model.config.token_dropout) * texts.lengths.astype(float)
    pairs = epochs * float((seen**2).sum())
    if model.config.attention_window or pairs < _MANY_PAIRS:
        return
    logger.warning(
        "Texts of up to %s tokens: attention scores %.0f thousand million pairs of tokens in up to "
        "%g passes. attention_window=64 lets each token see 64 to each side, at a cost linear in "
        "the length; max_length cuts texts.",
        f"{texts.lengths.max():,}", pairs / 1e9, epochs,
    )  # fmt: skip


def _checkpoint_of(arguments: HfAttnTrainingArguments, folder: Path) -> Path | None:
    """Gives the checkpoint that the run goes on from; None at the start and in a search."""
    in_search = arguments.autotune_seconds is not None and search_is_open(folder)
    if in_search and not any(folder.glob("checkpoint-*")):
        return None
    return checkpoint_to_resume(arguments.resume_from_checkpoint, folder)


def _tune(
    settings: Settings,
    data: datasets.DatasetDict,
    tell: Callable[[str], object] | None,
    resume: Path | None,
) -> tuple[Settings, dict[str, Any]]:
    """Gives the best settings that a search finds, and its record."""
    arguments = settings[2]
    if tell is None and not arguments.disable_tqdm:
        tell = write_line
    with writing_to(Path(str(arguments.output_dir))):
        tuned = tune(settings, data, _fit_to_data, tell=tell, keep_checkpoints=resume is not None)
    return tuned.settings, tuned.record


def _tracing(
    arguments: HfAttnTrainingArguments,
    texts: dict[str, TokenizedTexts],
    tell: Callable[[str], object] | None,
) -> TrainingTraceCallback | None:
    """Gives the callback that traces the training, on the validation texts if there are any."""
    if not arguments.training_trace:
        return None
    if tell is None and not arguments.disable_tqdm:
        tell = write_line
    split = "validation" if "validation" in texts else "train"
    return TrainingTraceCallback(texts[split], split=split, tell=tell, writes=False)


def _epochs_for(
    arguments: HfAttnTrainingArguments, texts: TokenizedTexts, config: HfAttnConfig
) -> int:
    """Gives how often to pass over the texts: more for few texts and for many classes.

    And more where more of their tokens are hidden, so that each is seen as often.
    """
    batch_size = arguments.train_batch_size * arguments.world_size
    steps = max(1, math.ceil(len(texts) / batch_size))
    seen = max(_LEAST_EPOCHS, _LEAST_STEPS / steps, len(config.class_names) ** 0.5)
    return int(min(math.ceil(seen / (1 - config.token_dropout)), _MOST_EPOCHS))


def _fit_to_data(
    arguments: HfAttnTrainingArguments,
    config: HfAttnConfig,
    texts: dict[str, TokenizedTexts],
    *,
    words_alone: bool,
) -> None:
    """Completes settings that depend on the data, or on whether the model is of words alone."""
    arguments.label_names = ["labels"]
    task = cast(ProblemType, config.problem_type)
    arguments.complete_for(task, words_alone=words_alone)
    if not arguments.num_train_epochs:
        arguments.num_train_epochs = _epochs_for(arguments, texts["train"], config)
    if arguments.data_seed is None:
        arguments.data_seed = arguments.seed
    if "validation" not in texts:
        arguments.eval_strategy = IntervalStrategy.NO
        arguments.load_best_model_at_end = False
    elif arguments.load_best_model_at_end and arguments.chooses_metric:
        arguments.metric_for_best_model = MAIN_METRIC[task]
        arguments.greater_is_better = True


def _load_data(
    arguments: DataArguments, model_arguments: ModelArguments, seed: int
) -> datasets.DatasetDict:
    options = vars(arguments).copy()
    source, fraction = options.pop("dataset"), options.pop("train_fraction")
    data = load_text_dataset(source, seed=seed, **options)
    names = label_names(data)
    if model_arguments.model is not None and names is not None:
        known = load_label_names(model_arguments.model)
        if known != names and set(names) <= set(known):
            data = load_text_dataset(source, seed=seed, labels=known, **options)
    if fraction < 1:
        data["train"] = take_fraction(data["train"], fraction, seed)
    return data
