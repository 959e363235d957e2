"""Seconds of training to fastText's accuracy beside its own, and where Trainer's time goes."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from benchmark_figures import Figure, Part, Table, median_with_range
from benchmark_training import in_fresh_process, say, train_quietly
from fasttext_runs import Row, run_fasttext
from speed_models import GRID, Models, Source, best_of, settings_of
from speed_teams import in_turns
from speed_throughput import Setup
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_attn import load_text_dataset
from hf_attn.batching import TokenizedTexts
from hf_attn.prediction import predict_logits

SETS = {"sst2": "SST-2", "r8": "R8"}
TIMES_PER_EPOCH = 4
MOST_TIMES_OF_FASTTEXT = 3.0
STEPS_ONLY = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "training_trace": False,
}
WORDS = "hf_attn, words alone"
RECIPES: Mapping[str, Mapping[str, Any]] = {
    WORDS: {},
    "hf_attn, words alone, two epochs": {"num_train_epochs": 2},
    "hf_attn, words alone, two epochs, batches of 64, rate 0.008": {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 64,
        "learning_rate": 8e-3,
    },
}
# Part of a training to the functions that are its own: their file and names. No part is in another.
WHOLE, TRAINER, REST = "whole training", "Trainer", "rest of Trainer"
PROFILED: Mapping[str, tuple[str, Sequence[str]]] = {
    WHOLE: ("hf_attn/training.py", ["run_training"]),
    TRAINER: ("hf_attn/trainer.py", ["train"]),
    "forward pass": ("transformers/trainer.py", ["training_step"]),  # and the backward pass
    "backward pass": ("accelerate/accelerator.py", ["backward"]),
    "clipping of gradients": ("transformers/trainer.py", ["_clip_grad_norm"]),
    "optimizer": ("accelerate/optimizer.py", ["step"]),
    "learning rate": ("torch/optim/lr_scheduler.py", ["step"]),
    "batches": ("transformers/trainer.py", ["get_batch_samples"]),
    "callbacks of steps": (
        "transformers/trainer_callback.py",
        ["on_step_begin", "on_step_end", "on_pre_optimizer_step", "on_optimizer_step"],
    ),
    "evaluation, logging, checkpoints": ("transformers/trainer.py", ["_maybe_log_save_evaluate"]),
    "collection of garbage at the start": ("accelerate/accelerator.py", ["free_memory"]),
}
_WITHIN = {
    "of all, looking for packages": ("accelerate/utils/imports.py", ["_is_package_available"])
}


@dataclass(frozen=True)
class Reached:
    """A training until its test accuracy was reached.

    Attributes:
        accuracy: The highest that was seen until then.
        steps: Seconds of steps; None if it was not reached.
        start: Seconds before the first: reading, tokenizing, building the trainer.
        epochs: Passes over the texts until then.
    """

    accuracy: float
    steps: float | None
    start: float
    epochs: float


class Clock(TrainerCallback):
    """Stops a training when it has reached an accuracy; its clock stands still while it looks.

    Args:
        source: What `hf_attn.train` reads, with a test split.
        accuracy: What to reach.
    """

    def __init__(self, source: Source, accuracy: float) -> None:
        test = load_text_dataset(source)["test"]
        self._texts, self._labels = test["text"][:], np.array(test["label"][:])
        self._goal = accuracy
        self._seconds = 0.0
        self._started = time.perf_counter()
        self.reached = Reached(0.0, None, 0.0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock."""
        self._start = time.perf_counter() - self._started
        self._test = TokenizedTexts.from_texts(self._texts, kwargs["processing_class"])
        self._started = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Looks at the accuracy a few times in each epoch."""
        steps_of_epoch = state.max_steps / args.num_train_epochs
        every = max(1, round(steps_of_epoch / TIMES_PER_EPOCH))
        if state.global_step % every and state.global_step < state.max_steps:
            return
        self._seconds += time.perf_counter() - self._started
        found = predict_logits(kwargs["model"], self._test).argmax(1)
        accuracy = float((found == self._labels).mean())
        is_reached = accuracy >= self._goal
        control.should_training_stop |= is_reached
        self.reached = Reached(
            max(accuracy, self.reached.accuracy),
            self._seconds if is_reached else None,
            self._start,
            state.global_step / steps_of_epoch,
        )
        self._started = time.perf_counter()


def train_to(source: Source, accuracy: float, threads: int, options: Mapping[str, Any]) -> Reached:
    """Trains until the test accuracy is reached, or to the end."""
    torch.set_num_threads(threads)
    clock = Clock(source, accuracy)
    with tempfile.TemporaryDirectory() as folder:
        train_quietly(source, Path(folder) / "model", callbacks=[clock], **STEPS_ONLY, **options)
    return clock.reached


def measure_training(setup: Setup) -> Part:
    """Times our trainings to the test accuracy of the fastText that validates best."""
    figures: list[Figure] = []
    tables = []
    for name, title in SETS.items():
        rows = setup.models.fasttext_rows(name)
        best = best_of(rows)
        for threads in (1, 2):
            say(f"training to fastText's accuracy on {name}, {threads} threads")
            timed = _time_in_turns(setup, name, best, threads)
            where = f"{title}, {'one thread' if threads == 1 else '2 threads'}"
            tables.append(
                _table_of_times(f"{where}: to a test accuracy of {best['test']:.2%}", timed)
            )
            figures += _figures(where, timed, judged=threads == 1)
        tables.append(_table_of_grid(title, rows))
    notes = {
        "looks at the accuracy": f"{TIMES_PER_EPOCH} times in an epoch, its clock stopped",
        "seed of turn n": "n",
    }
    return Part(figures, tables, notes)


# Name to one row of each turn: steps alone, and with all that comes before them.
Times = Mapping[str, Sequence[Reached]]
_FASTTEXT = "fastText"


def _time_in_turns(setup: Setup, name: str, best: Row, threads: int) -> Times:
    models = setup.models
    times: dict[str, list[Reached]] = {way: [] for way in (_FASTTEXT, *RECIPES)}
    for turn in range(setup.repeats):
        for way in in_turns(times, turn):
            if way == _FASTTEXT:
                reached = _time_fasttext(models, name, best, threads)
            else:
                options = {**RECIPES[way], **_short(models), "words_alone": True, "seed": turn}
                reached = in_fresh_process(
                    train_to, models.source(name), best["test"], threads, options
                )
            times[way].append(reached)
    return times


def _short(models: Models) -> dict[str, int]:
    return {"num_train_epochs": models.epochs} if models.epochs else {}


def _time_fasttext(models: Models, name: str, best: Row, threads: int) -> Reached:
    settings = {**settings_of(best), "thread": threads}
    (row,) = run_fasttext(models.write_for_fasttext(name), [settings])
    steps = row["seconds"] - row["start"]
    return Reached(row["test"], steps, row["start"], row["epoch"])


def _table_of_times(title: str, times: Times) -> Table:
    columns = ["accuracy", "epochs", "seconds of steps", "with reading and tokenizing"]
    rows = {}
    for way, turns in times.items():
        done = [turn for turn in turns if turn.steps is not None]
        steps = [turn.steps or 0.0 for turn in done]
        whole = [turn.steps + turn.start for turn in done if turn.steps is not None]
        values = ([turn.accuracy for turn in turns], [turn.epochs for turn in turns], steps, whole)
        rows[f"{way}, {len(done)} of {len(turns)} reached it"] = [
            (float(np.median(of_turns)), min(of_turns), max(of_turns)) if of_turns else None
            for of_turns in values
        ]
    return Table(title, columns, rows, ["share", "score", "seconds", "seconds"])


def _figures(where: str, times: Times, *, judged: bool) -> list[Figure]:
    figures = []
    for way in RECIPES:
        pairs = [
            (ours, theirs)
            for ours, theirs in zip(times[way], times[_FASTTEXT], strict=True)
            if ours.steps is not None and theirs.steps is not None
        ]
        if not pairs:
            continue
        steps = [(ours.steps or 0.0) / (theirs.steps or 1.0) for ours, theirs in pairs]
        goal = MOST_TIMES_OF_FASTTEXT if judged else None
        figures.append(
            median_with_range(
                f"{where}: steps of {way} over those of fastText", "ratio", steps, goal
            )
        )
    return figures


def _table_of_grid(title: str, rows: Sequence[Row]) -> Table:
    by_name = {
        ", ".join(f"{name} {row[name]}" for name in GRID): [
            [row["validation"]], [row["test"]], [row["seconds"] - row["start"]], [row["seconds"]]
        ]
        for row in rows
    }  # fmt: skip
    columns = ["validation", "test", "seconds of steps", "seconds"]
    return Table(
        f"{title}: grid of fastText, one thread", columns, by_name, ["share"] * 2 + ["seconds"] * 2
    )


def measure_profile(setup: Setup) -> Part:
    """Profiles trainings by Trainer: with default settings, and with steps only."""
    tables = []
    for name, title in SETS.items():
        for kind, options in (("default settings", {}), ("steps only", STEPS_ONLY)):
            say(f"profiling training on {name}, {kind}")
            given = {**options, **_short(setup.models)}
            seconds = in_fresh_process(profile_training, setup.models.source(name), given)
            whole = seconds[WHOLE]
            rows = {part: [[value], [value / whole]] for part, value in seconds.items()}
            columns = ["seconds", "share"]
            tables.append(
                Table(f"{title}: Trainer, {kind}, one thread", columns, rows, ["seconds", "share"])
            )
    return Part(tables=tables, notes={"profiler": "cProfile, which makes Python's share larger"})


def profile_training(source: Source, options: Mapping[str, Any]) -> dict[str, float]:
    """Gives the seconds of each part of a training, less those of parts that it calls."""
    torch.set_num_threads(1)
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        profiler.enable()
        train_quietly(source, Path(folder) / "model", **options)
        profiler.disable()
    return parts_of(pstats.Stats(profiler))


def parts_of(stats: pstats.Stats) -> dict[str, float]:
    """Gives the seconds of each part of a training, apart from those of the other parts."""
    seconds = {part: _seconds_in(stats, *where) for part, where in PROFILED.items()}
    seconds["forward pass"] -= seconds["backward pass"]
    of_trainer = sum(value for part, value in seconds.items() if part not in (WHOLE, TRAINER))
    seconds[REST] = seconds[TRAINER] - of_trainer
    return {**seconds, **{part: _seconds_in(stats, *where) for part, where in _WITHIN.items()}}


def _seconds_in(stats: pstats.Stats, file: str, names: Sequence[str]) -> float:
    """Gives the seconds in functions of these names, with what they call."""
    rows = cast(Any, stats).stats.items()
    seconds = [
        row[3]
        for (path, _, name), row in rows
        if name in names and Path(path).as_posix().endswith(file)
    ]
    return float(sum(seconds))
