"""The settings that a search tries, and the values that each of them may take."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .arguments import (
    CAN_CHANGE,
    WORDS_ALONE,
    HfAttnTrainingArguments,
    ModelArguments,
    Settings,
    given_fields,
)
from .problem_types import SINGLE

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        values: To choose from.
    """

    values: tuple[Any, ...]

    def including(self, value: Any) -> Choice:
        """Gives the choice with one more value, if it lacks it."""
        return self if value in self.values else Choice((value, *self.values))

    def distribution(self) -> BaseDistribution:
        """Gives it as optuna names it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def draw(self, trial: optuna.Trial, name: str) -> Any:
        """Gives the value of a trial."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Range:
    """A number between two.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether its logarithm is spread evenly, in place of itself.
    """

    low: float
    high: float
    log: bool = False

    def including(self, value: float) -> Range:
        """Gives the range, reaching as far as a value."""
        return Range(min(self.low, value), max(self.high, value), self.log)

    def distribution(self) -> BaseDistribution:
        """Gives it as optuna names it."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log)

    def draw(self, trial: optuna.Trial, name: str) -> float:
        """Gives the value of a trial."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)


Space = dict[str, Choice | Range]

# Each is a setting of the model or of the training, by the name of its argument. A default that is
# not among the values joins them. Passes over the texts are in place of those that the data ask
# for, so they are multiples of these.
_SPACE: Space = {
    "learning_rate": Range(5e-4, 1e-2, log=True),
    "num_train_epochs": Choice((0.5, 1, 2)),
    "ngram_buckets": Choice((0, 2**14, 2**16)),
    "classifier_pooling": Choice(("mean", "static")),
    "hidden_size": Choice((64, 128, 256)),
    "min_frequency": Choice((1, 2)),
    "token_dropout": Range(0.0, 0.6),
    "embedding_dropout": Range(0.0, 0.5),
    "attention_dropout": Range(0.0, 0.6),
    "classifier_dropout": Range(0.0, 0.5),
    "label_smoothing_factor": Choice((0.0, 0.1)),
    "weight_decay": Choice((0.0, 0.01, 0.1)),
    "adam_beta2": Choice((0.98, 0.999)),
    "attention_weight_decay": Choice((0.0, 3.0, 10.0)),
}
# What is tried after the defaults: a short search is to have seen what helps most often before it
# draws at random.
_FIRST_CHANGES: Sequence[Mapping[str, Any]] = (
    WORDS_ALONE,
    {"classifier_pooling": "static"},
    {"classifier_pooling": "mean"},  # where static is the default
    {"learning_rate": 5e-3},
    {"hidden_size": 128},
)
# Settings beside which others are without effect.
_SETTLED_BY = {
    "num_train_epochs": "max_steps",
    "min_frequency": "tokenizer",
    "ngram_buckets": "words_alone",
}
_DIGITS = 3


def space_for(
    settings: Settings, fitted: HfAttnTrainingArguments, task: str, start: Mapping[str, Any]
) -> Space:
    """Gives the settings that a search may try: those that the run leaves at their defaults.

    Args:
        settings: What the run was started with.
        fitted: Its training settings, completed with what depends on the data.
        task: The problem type.
        start: What [`start_values`] gives.
    """
    _, model, arguments = settings
    given = given_fields(model).keys() | arguments.given_names
    space = {}
    for name, values in _SPACE.items():
        settled = name in given or _SETTLED_BY.get(name) in given
        settled |= name == "min_frequency" and model.algorithm == "unigram"  # which has none
        if model.model is not None and name in _field_names(model):
            settled |= name not in CAN_CHANGE
        if name == "label_smoothing_factor":  # which the losses of the trials would differ by
            settled |= task != SINGLE or "loss" in str(fitted.metric_for_best_model)
        if not settled:
            space[name] = values
    if "num_train_epochs" in space:
        epochs = fitted.num_train_epochs
        space["num_train_epochs"] = Choice(
            tuple(sorted({max(1, math.ceil(part * epochs)) for part in (0.5, 1, 2)}))
        )
    return {name: values.including(start[name]) for name, values in space.items()}


def start_values(model: ModelArguments, fitted: HfAttnTrainingArguments) -> dict[str, Any]:
    """Gives the values that a run has without a search, of all that searches can try.

    Args:
        model: Completed with what depends on the training texts.
        fitted: Completed with what depends on the data.
    """
    return {name: getattr(model if hasattr(model, name) else fitted, name) for name in _SPACE}


def first_trials(space: Space, start: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Gives what is tried first: the values that a run has anyway, then changes that often help.

    Of a change only what the space has is made.
    """
    unchanged = {name: start[name] for name in space}
    trials = [unchanged]
    for change in _FIRST_CHANGES:
        possible = {
            name: value
            for name, value in change.items()
            if name in space and space[name].including(value) == space[name]
        }
        if unchanged | possible not in trials:
            trials.append(unchanged | possible)
    return trials


def num_combinations(space: Space) -> float:
    """Gives how many trials can differ: infinity where a number is drawn from a range."""
    return math.prod(
        len(values.values) if isinstance(values, Choice) else math.inf for values in space.values()
    )


def values_of(space: Space, params: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the settings that a trial's numbers stand for: those of a range with three digits."""
    return {
        name: value
        if isinstance(space[name], Choice) or value == start[name]
        else float(f"{value:.{_DIGITS}g}")
        for name, value in params.items()
    }


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Gives settings with other values, as if they had been given."""
    data, model, arguments = settings
    of_model = {name: value for name, value in values.items() if name in _field_names(model)}
    of_training = {name: value for name, value in values.items() if name not in of_model}
    arguments = copy.copy(arguments)
    for name, value in of_training.items():
        setattr(arguments, name, value)
    arguments.given_names = frozenset({*arguments.given_names, *of_training})
    return data, dataclasses.replace(model, **of_model), arguments


def training_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Gives those of some settings that are of the training."""
    names = _field_names(ModelArguments)
    return {name: value for name, value in values.items() if name not in names}


def _field_names(settings: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}
