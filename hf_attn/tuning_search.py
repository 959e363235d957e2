"""Searches for settings within a time limit, by the validation score, with Trainer and optuna."""

from __future__ import annotations

import importlib.util
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import yaml

from .arguments import Settings
from .errors import InputError
from .file_names import TUNED_FILE
from .run_record import given_settings
from .saving import make_output_folder, staged
from .tuning import first_trials, num_combinations, values_of, with_values
from .tuning_trainer import Fit, Starts, TrialTrainer
from .tuning_trials import Trial, best_of, digest, read_trials, search_is_open, write_trials

logger = logging.getLogger(__name__)

# Trials before draws follow what was good, and before a bad trial is given up.
_TRIALS_AT_RANDOM = 10
_TRIALS_UNPRUNED = 5
# Share of an ordinary training before which no trial is given up.
_UNPRUNED_SHARE = 1 / 3
# So that no trial of a run draws the numbers of another run with a seed close by.
_SEED_STEP = 1_000_003


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        settings: Of the run, with the best values in place of the defaults.
        record: Of the search, for `run.json`.
    """

    settings: Settings
    record: dict[str, Any]


def check_optuna() -> None:
    """Refuses a search where the package for it is missing.

    Raises:
        InputError: If it is.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError(
            "autotune_seconds needs the package optuna. Install it with: "
            "pip install 'hf-attn[tune]'"
        )


def tune(
    settings: Settings,
    data: datasets.DatasetDict,
    fit: Fit,
    *,
    tell: Callable[[str], object] | None = None,
    keep_checkpoints: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Tries settings for as long as the run allows, and gives the best by the validation score.

    The run's own settings are tried first, so the choice is never worse by that score. Trials are
    kept in the output folder; a search that was broken off goes on with them and with the seconds
    that are left. The test texts are not read.

    Args:
        settings: Of the run; what was given in them is not searched.
        data: With "train" and "validation".
        fit: Completes training settings with what depends on the data.
        tell: Called with a line for each trial; they are logged if None.
        keep_checkpoints: Whether the run goes on from a checkpoint in the output folder.
        clock: Gives seconds.

    Raises:
        InputError: If there is nothing to choose by or to choose from, or if the folder holds the
            trials of another search.
    """
    if "validation" not in data:
        raise InputError(
            "autotune_seconds chooses by the validation score, and there is no validation split. "
            "Give --validation FILE, or a --validation-size above 0."
        )
    folder = Path(str(settings[2].output_dir))
    make_output_folder(folder, keep_checkpoints=keep_checkpoints)
    trainer = TrialTrainer(settings, Starts(settings, data), fit, clock)
    if not trainer.space:
        raise InputError(
            "autotune_seconds searches the settings that are left at their defaults, and all that "
            "it knows are given. Leave one out, or --autotune-seconds."
        )
    search = _Search(settings, data, trainer, tell or logger.info)
    if keep_checkpoints:  # of the training after a search
        search.check_ended()
    else:
        search.run()
    tuned = search.tuned()
    _write_tuned(folder, tuned)
    return tuned


class _Search:
    """The trials of a run, those that are in its folder already and those to come.

    Args:
        settings: Of the run.
        data: What it learns from.
        trainer: That trains the trials.
        tell: Called with a line for each trial.
    """

    def __init__(
        self,
        settings: Settings,
        data: datasets.DatasetDict,
        trainer: TrialTrainer,
        tell: Callable[[str], object],
    ) -> None:
        self._settings, self._trainer, self._tell = settings, trainer, tell
        arguments = settings[2]
        self._folder = Path(str(arguments.output_dir))
        self._is_of = {
            "settings": {**given_settings(settings), "seed": arguments.seed},
            "texts": digest(data[name] for name in ("train", "validation")),
            "values to try": {name: str(values) for name, values in trainer.space.items()},
        }
        goes_on = arguments.resume_from_checkpoint or search_is_open(self._folder)
        self._trials = read_trials(self._folder, self._is_of) if goes_on else []

    def check_ended(self) -> None:
        """Refuses a checkpoint of a training without a search before it.

        Raises:
            InputError: If there are no trials.
        """
        if not self._trials:
            raise InputError(
                f"{self._folder}: expected the trials of a search beside the checkpoint, found "
                "none. Leave out --autotune-seconds, or start anew without "
                "--resume-from-checkpoint."
            )

    def run(self) -> None:
        """Trains trial after trial until the time or the number is reached."""
        import optuna

        arguments, trainer = self._settings[2], self._trainer
        self._last_end = trainer.clock()
        seconds_left = cast(float, arguments.autotune_seconds) - self._seconds()
        trainer.deadline = self._last_end + seconds_left
        most = min(num_combinations(trainer.space), arguments.autotune_trials or math.inf)
        left = most - len(self._trials)
        if self._trials:
            self._tell(f"Trials that are kept of the search before: {len(self._trials)}.")
        if left <= 0 or trainer.is_time_over():
            return
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            self._optimize(None if left == math.inf else int(left))
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _optimize(self, n_trials: int | None) -> None:
        import optuna

        trainer = self._trainer
        options: dict[str, Any] = {
            "direction": "maximize" if trainer.greater_is_better else "minimize",
            "storage": optuna.storages.InMemoryStorage(),
            "study_name": self._folder.name,
        }
        self._study = optuna.create_study(**options)
        self._study.add_trials([self._as_optuna_trial(trial) for trial in self._trials])
        for params in first_trials(trainer.space, trainer.start)[len(self._trials) :]:
            self._study.enqueue_trial(params)
        trainer.begin = self._begin
        try:
            trainer.hyperparameter_search(
                hp_space=trainer.training_settings,
                compute_objective=trainer.score_of,
                n_trials=cast(int, n_trials),  # None is optuna's word for no limit
                backend="optuna",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(
                    _TRIALS_UNPRUNED, int(trainer.num_steps * _UNPRUNED_SHARE)
                ),
                **options,
            )
        except ValueError:
            # Trainer asks for the best trial, and where none came to its end there is none.
            states = {trial.state.name for trial in self._study.get_trials(deepcopy=False)}
            if states & {"COMPLETE", "FAIL"}:
                raise
        self._keep_finished()

    def _begin(self, trial: Any) -> None:
        """Keeps the trial before, and lets this one's draws depend on its number alone."""
        import optuna

        self._keep_finished()
        trial.study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=_TRIALS_AT_RANDOM,
            multivariate=False,
            seed=self._settings[2].seed * _SEED_STEP + trial.number,
        )

    def _keep_finished(self) -> None:
        """Writes and tells of the trials that have ended since the last time."""
        for ended in self._study.get_trials()[len(self._trials) :]:
            if not ended.state.is_finished():
                break
            now = self._trainer.clock()
            trial = Trial(
                ended.params,
                cast(Any, ended.state.name.lower()),
                ended.value if ended.state == ended.state.COMPLETE else None,
                now - self._last_end,
                ended.intermediate_values,
            )
            self._last_end = now
            self._trials.append(trial)
            write_trials(self._folder, self._is_of, self._trials)
            self._tell(self._line_of(len(self._trials) - 1))

    def _as_optuna_trial(self, trial: Trial) -> Any:
        import optuna

        space = self._trainer.space
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState[trial.state.upper()],
            value=trial.score,
            params=trial.params,
            distributions={name: space[name].distribution() for name in trial.params},
            intermediate_values=trial.scores,
        )

    def tuned(self) -> Tuned:
        """Gives what the trials have found, and tells of it."""
        trainer, best = self._trainer, self._best()
        values = {name: trainer.start[name] for name in trainer.space}
        if best is not None:
            values = values_of(trainer.space, self._trials[best].params, trainer.start)
        changed = {name: one for name, one in values.items() if one != trainer.start[name]}
        self._tell(
            "No trial came as far as a validation score, so the settings stay as they are. Give "
            "the search more --autotune-seconds."
            if best is None
            else f"Best of {len(self._trials)}: trial {best + 1}, validation {trainer.metric} "
            f"{self._trials[best].score:.4f}, with {_in_words(changed)}."
        )
        record = {
            "trials": len(self._trials),
            "seconds": round(self._seconds(), 2),
            "metric": trainer.metric,
            "best_trial": None if best is None else best + 1,
            "score": None if best is None else self._trials[best].score,
            "start_score": self._trials[0].score if self._trials else None,
            "settings": values,
        }
        # As many passes as in the trial: by default they follow from other settings.
        passes = {name: values[name] for name in ("num_train_epochs",) if name in values}
        return Tuned(with_values(self._settings, changed | passes), record)

    def _seconds(self) -> float:
        return sum(trial.seconds for trial in self._trials)

    def _best(self) -> int | None:
        return best_of(self._trials, greater_is_better=self._trainer.greater_is_better)

    def _line_of(self, number: int) -> str:
        """Gives a line on a trial: its score, the best so far, the time left, what it changed."""
        trainer, trial, best = self._trainer, self._trials[number], self._best()
        result = "given up" if trial.score is None else f"{trainer.metric} {trial.score:.4f}"
        so_far = "none yet" if best is None else f"{self._trials[best].score:.4f}"
        values = values_of(trainer.space, trial.params, trainer.start)
        changed = {name: one for name, one in values.items() if one != trainer.start[name]}
        left = max(0.0, trainer.deadline - trainer.clock())
        return (
            f"trial {number + 1}: {result} (best {so_far}), {left:.0f} s left: {_in_words(changed)}"
        )


def _in_words(changed: Mapping[str, Any]) -> str:
    values = [
        f"{name} {value if isinstance(value, str) else format(value, 'g')}"
        for name, value in changed.items()
    ]
    return ", ".join(values) or "the settings as they are"


def _write_tuned(folder: Path, tuned: Tuned) -> None:
    """Writes the settings of the run to come, for `--config`."""
    data, model, arguments = tuned.settings
    values = {**arguments.to_dict(), **vars(model), **vars(data)}
    for name in ("dataset", "validation", "test"):  # which are named beside the file
        del values[name]
    given = {name: values[name] for name in given_settings(tuned.settings) if name in values}
    # What was drawn stands there even where it is the default, which another version may change.
    text = yaml.safe_dump(given | tuned.record["settings"])
    with staged(folder) as staging:
        (staging / TUNED_FILE).write_text(
            f"# What a search found: hf-attn train DATA --config {TUNED_FILE}\n{text}",
            encoding="utf-8",
        )
