"""`Trainer` for the trials of a search: each builds its model, and ends when the time is over."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, cast

import datasets
import numpy as np
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LabelSmoother
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from .arguments import HfAttnTrainingArguments, Settings
from .batching import TokenizedTexts, keep_batch
from .configuration_hf_attn import HfAttnConfig
from .frequent_bigrams import give_rows_to_bigrams
from .metrics import score_logits
from .modeling_hf_attn import HfAttnForSequenceClassification
from .problem_types import MAIN_METRIC, ProblemType
from .starting_point import add_lora, build_starting_point
from .trainer import HfAttnTrainer
from .tuning import Space, space_for, start_values, training_values, values_of, with_values


class Fit(Protocol):
    """Completes training settings with what depends on the data and the model."""

    def __call__(
        self,
        arguments: HfAttnTrainingArguments,
        config: HfAttnConfig,
        texts: dict[str, TokenizedTexts],
        *,
        words_alone: bool,
    ) -> None:
        """Completes the settings in place.

        Args:
            arguments: The settings.
            config: Of the model that is to be trained.
            texts: Name of a split to its texts.
            words_alone: Whether the model is of words alone.
        """


class Starts:
    """What trials start from: models and texts, built alike for alike settings.

    Args:
        settings: Of the run.
        data: With "train" and "validation"; no other split is read.
    """

    def __init__(self, settings: Settings, data: datasets.DatasetDict) -> None:
        self._settings = settings
        self._data = {name: data[name] for name in ("train", "validation")}
        self._built: dict[Any, tuple[PreTrainedTokenizerBase, dict[str, TokenizedTexts]]] = {}

    @property
    def train_split(self) -> datasets.Dataset:
        """The training texts as they came."""
        return self._data["train"]

    def build(
        self, values: dict[str, Any]
    ) -> tuple[HfAttnForSequenceClassification, dict[str, TokenizedTexts]]:
        """Gives the model and the texts of the run with some settings changed.

        The random numbers that come next are those of a training with these settings, too.
        """
        _, model_arguments, arguments = with_values(self._settings, values)
        vocabulary = model_arguments.min_frequency  # the one setting of the space that changes it
        tokenizer, texts = self._built.get(vocabulary, (None, {}))
        set_seed(arguments.seed)
        model, tokenizer = build_starting_point(model_arguments, self._data["train"], tokenizer)
        if not texts:
            texts = {
                name: TokenizedTexts.from_dataset(split, tokenizer)
                for name, split in self._data.items()
            }
            self._built[vocabulary] = tokenizer, texts
        give_rows_to_bigrams(model, model_arguments, texts["train"])
        return model, texts


class TrialTrainer(HfAttnTrainer):
    """Trains one trial after another within [`Trainer.hyperparameter_search`], and saves nothing.

    A trial is trained as the run is with the same settings, to the bit, but that it may be ended.

    Args:
        settings: Of the run.
        starts: What its trials start from.
        fit: Completes training settings with what depends on the data.
        clock: Gives seconds.

    Attributes:
        space: The settings that trials draw.
        start: The values that the run has without a search.
        metric: Name of the validation score, without "eval_".
        clock: Gives seconds.
        deadline: When the trials must end, on the clock.
        begin: Called with each trial, before anything is drawn.
    """

    def __init__(
        self, settings: Settings, starts: Starts, fit: Fit, clock: Callable[[], float]
    ) -> None:
        model, texts = starts.build({})
        task = cast(ProblemType, model.config.problem_type)
        arguments = _arguments_of_trials(settings[2])
        words_alone = settings[1].means_words_alone(model.config.ngram_buckets)
        fit(arguments, model.config, texts, words_alone=words_alone)

        def compute_metrics(predicted: EvalPrediction) -> dict[str, float]:
            return score_logits(
                task, np.asarray(predicted.predictions), np.asarray(predicted.label_ids)
            )

        fitted = settings[1].completed_for(starts.train_split)
        if fitted.model is not None:  # it has rates of its own
            rates = [name for name in fitted.config_fields() if name.endswith("_dropout")]
            own = {name: getattr(model.config, name) for name in rates}
            fitted = dataclasses.replace(fitted, **own)
        self.start = start_values(fitted, arguments)
        self.space: Space = space_for(settings, arguments, task, self.start)
        self.metric = (arguments.metric_for_best_model or MAIN_METRIC[task]).removeprefix("eval_")
        self.deadline = float("inf")
        self.begin: Callable[[Any], None] = lambda _: None
        self._starts, self._rank, self.clock = starts, settings[1].lora_rank, clock
        self._watch = _Watch(self)
        super().__init__(
            args=arguments,
            model_init=self._model_of,
            train_dataset=texts["train"],
            eval_dataset=texts["validation"].sorted_by_length()[0],
            data_collator=keep_batch,
            compute_metrics=compute_metrics,
            callbacks=[self._watch],
        )
        self.remove_callback(PrinterCallback)

    @property
    def greater_is_better(self) -> bool:
        """Whether the best score is the greatest."""
        return self.args.greater_is_better is not False

    @property
    def num_steps(self) -> int:
        """Steps of an ordinary training."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        steps = len(self.get_train_dataloader()) / self.args.gradient_accumulation_steps
        return int(steps * self.args.num_train_epochs)

    def is_time_over(self) -> bool:
        """Says whether the trials must end."""
        return self.clock() >= self.deadline

    def training_settings(self, trial: Any) -> dict[str, Any]:
        """Gives a trial's values of the settings of the training."""
        values = training_values(self._draw(trial))
        # Trainer makes it once for all trials, from the settings that it was built with.
        factor = values.get("label_smoothing_factor", self.args.label_smoothing_factor)
        self.label_smoother = LabelSmoother(epsilon=factor) if factor else None
        return values

    def score_of(self, metrics: dict[str, float]) -> float:
        """Gives the score by now: of the best evaluation where the run keeps it, else of the last.

        Args:
            metrics: Of the evaluation that has just ended.
        """
        score, before = metrics[f"eval_{self.metric}"], self._watch.score
        if before is not None and not math.isnan(before) and self.args.load_best_model_at_end:
            is_better = score > before if self.greater_is_better else score < before
            score = score if is_better else before
        self._watch.score = score
        return score

    def _draw(self, trial: Any) -> dict[str, Any]:
        params = {name: values.draw(trial, name) for name, values in self.space.items()}
        return values_of(self.space, params, self.start)

    def _model_of(self, trial: Any) -> nn.Module:
        """Gives the model of a trial, and takes its texts."""
        if trial is None:  # Trainer builds one before there is a trial
            return self._starts.build({})[0]
        self.begin(trial)
        self._watch.begin(trial)
        values = self._draw(trial)
        model, texts = self._starts.build(
            {name: value for name, value in values.items() if value != self.start[name]}
        )
        self.train_dataset = texts["train"]
        self.eval_dataset = texts["validation"].sorted_by_length()[0]
        self._forget_last_trial()
        trained: nn.Module = add_lora(model, self._rank) if self._rank else model
        set_seed(self.args.seed)  # where Trainer sets it for a model that is given
        return trained

    def _forget_last_trial(self) -> None:
        """Starts counting towards an early stop anew, which transformers' callback does not."""
        self.remove_callback(EarlyStoppingCallback)
        patience = cast(HfAttnTrainingArguments, self.args).early_stopping_patience
        if self.args.load_best_model_at_end and patience:
            self.add_callback(EarlyStoppingCallback(patience))


class _Watch(TrainerCallback):
    """Ends a trial when the time is over, and the search with it.

    Args:
        trainer: That trains the trials.

    Attributes:
        score: Of the trial so far; None before its first evaluation.
    """

    def __init__(self, trainer: TrialTrainer) -> None:
        self.score: float | None = None
        self._trainer = trainer

    def begin(self, trial: Any) -> None:
        """Notes that a trial begins."""
        self.score, self._trial = None, trial

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Ends the training when the time is over."""
        if self._trainer.is_time_over():
            control.should_training_stop = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Leaves the evaluation of a broken epoch out: the run to come would not have it."""
        is_broken = state.global_step < state.max_steps
        if is_broken and not float(state.epoch or 0).is_integer():
            control.should_evaluate = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **of_run: Any
    ) -> None:
        """Ends the search when the time is over, and a trial without a score."""
        import optuna

        if self._trainer.is_time_over():
            self._trial.study.stop()
        if self.score is None or math.isnan(self.score):  # Trainer would score it as it is
            raise optuna.TrialPruned


def _arguments_of_trials(arguments: HfAttnTrainingArguments) -> HfAttnTrainingArguments:
    """Gives the settings of the run without what it writes, shows and sends."""
    arguments = copy.copy(arguments)
    arguments.save_strategy = SaveStrategy.NO
    arguments.logging_strategy = IntervalStrategy.NO
    arguments.report_to = []
    arguments.disable_tqdm = True
    arguments.push_to_hub = False
    arguments.resume_from_checkpoint = None
    return arguments
