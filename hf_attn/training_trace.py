"""The trace of a training: for each epoch losses, score and attention, with what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .errors import InputError
from .fetching import find_file
from .file_names import TRACE_FILE, TRACE_PAGE
from .saving import written
from .terminal import in_a_line
from .training_observations import observe, summarize

# What the callback adds to the trainer's history at the end of each epoch.
ENTROPY, SHARE = "attention_entropy", "attention_share"


@dataclass(frozen=True)
class EpochTrace:
    """What is known at the end of one epoch; None stands for what is not known or no number.

    Attributes:
        epoch: Passes over the training texts so far: 1.0, 2.0; a last one may be broken off.
        step: Optimizer steps so far.
        loss: Mean of the training losses that were logged in this epoch; logged once an epoch, as
            by default, that is the mean over its batches.
        validation_loss: Mean loss on the validation texts.
        score: The trace's `metric` on the validation texts.
        attention_entropy: Mean entropy of the attention weights with which a token reads the
            others, in nats: 0 where all goes to one token, ln T where it is even over T.
        attention_share: Mean share of a text's attention that its most attended token receives,
            in [0, 1].
        not_finite: Names of the fields above that are None because they were NaN or infinite.
    """

    epoch: float
    step: int
    loss: float | None = None
    validation_loss: float | None = None
    score: float | None = None
    attention_entropy: float | None = None
    attention_share: float | None = None
    not_finite: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttentionSample:
    """The texts that attention was measured on, and what even attention would give on them.

    Attributes:
        split: Where they come from: "validation", "train", or "given" by the caller.
        texts: How many they are.
        max_tokens: Tokens of a text that are read at most, from its first on.
        even_entropy: Mean entropy in nats if every token read all that it sees alike.
        even_share: Mean share of the most attended token then.
    """

    split: str
    texts: int
    max_tokens: int
    even_entropy: float
    even_share: float


@dataclass(frozen=True)
class TrainingTrace:
    """How a training went, epoch by epoch.

    Its JSON, the file `training_trace.json` beside the weights, has these fields by name, each
    epoch with its `observation`, and `summary`, sentences on the whole run.

    Attributes:
        epochs: The epochs, in their order.
        metric: Name of the `score`: "accuracy", "micro_f1" (several labels) or "pearson"
            (regression); None where nothing was scored.
        best_epoch: When the validation score that `Trainer` kept the weights by was the best: the
            `epoch` of an epoch, or 1.5 where it evaluated inside of epochs; None without one.
        unit: What a token is: "word", or "token" where the tokenizer splits words.
        sample: What attention was measured on; None where it was not.

    Example:
        >>> trace = read_training_trace("r8-model")
        >>> trace.epochs[-1].attention_entropy
        >>> print(trace)
    """

    epochs: tuple[EpochTrace, ...]
    metric: str | None = None
    best_epoch: float | None = None
    unit: str = "token"
    sample: AttentionSample | None = None

    @property
    def observations(self) -> tuple[str, ...]:
        """What the numbers of each epoch say beside those before it, in words."""
        return tuple(
            observe(self.epochs[: number + 1], self.metric, self.sample)
            for number in range(len(self.epochs))
        )

    @property
    def summary(self) -> tuple[str, ...]:
        """What the numbers say of the whole run: up to three sentences."""
        return summarize(self)

    def to_dict(self) -> dict[str, Any]:
        """Gives the trace, its observations and its summary, of what JSON can hold."""
        epochs = [
            {**asdict(one), "not_finite": list(one.not_finite), "observation": observation}
            for one, observation in zip(self.epochs, self.observations, strict=True)
        ]
        return {**asdict(self), "epochs": epochs, "summary": list(self.summary)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainingTrace:
        """Gives the trace that `to_dict` gave; what is in words is worded anew.

        Raises:
            KeyError: If a field is missing.
            TypeError: If a field is not known.
            ValueError: If a value is not what the field holds.
        """
        epochs = []
        for one in content["epochs"]:
            known = {name: value for name, value in one.items() if name != "observation"}
            _check_numbers(known, _OF_EPOCH)
            epochs.append(EpochTrace(**{**known, "not_finite": tuple(one["not_finite"])}))
        sample, metric = content["sample"], content["metric"]
        if sample is not None:
            _check_numbers(sample, {"texts", "max_tokens", "even_entropy", "even_share"})
        _check_numbers(content, {"best_epoch"})
        return cls(
            epochs=tuple(epochs),
            metric=None if metric is None else in_a_line(str(metric)),
            best_epoch=content["best_epoch"],
            unit="word" if content["unit"] == "word" else "token",
            sample=None if sample is None else AttentionSample(**sample),
        )

    def to_json(self, path: str | Path | None = None) -> str:
        """Gives `to_dict()` as JSON, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=2, allow_nan=False)
        return written(text + "\n", path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """Gives a page in Markdown: summary, table and observations, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .training_trace_view import trace_to_markdown

        return trace_to_markdown(self, path)

    def to_html(self, path: str | Path | None = None) -> str:
        """Gives a page without script or network that shows curves and table, and writes it.

        Args:
            path: Where to write, in UTF-8; the file is replaced whole or not at all.
        """
        from .training_trace_page import trace_to_html

        return trace_to_html(self, path)

    def to_png(self, path: str | Path) -> None:
        """Draws the curves and writes them to `path`; needs the extra `viz`.

        Raises:
            InputError: If matplotlib is not installed, or there is nothing to draw.
        """
        from .training_trace_picture import trace_to_png

        trace_to_png(self, path)

    def to_terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Gives charts, table and observations for a terminal.

        Args:
            width: Columns to keep to; those of the terminal if None.
            color: Whether to use colours; if None, where standard output is a terminal and the
                variable `NO_COLOR` is not set.
        """
        from .training_trace_view import trace_to_terminal

        return trace_to_terminal(self, width=width, color=color)

    def _repr_html_(self) -> str:
        from .training_trace_page import trace_to_fragment

        return trace_to_fragment(self)

    def __str__(self) -> str:
        return self.to_terminal(color=False)


_OF_EPOCH = {field.name for field in fields(EpochTrace)} - {"not_finite"}


def _check_numbers(content: Mapping[str, Any], names: set[str]) -> None:
    """Refuses what JSON can hold in the place of a number: the file may come from anybody."""
    for name in names:
        value = content[name]
        is_number = isinstance(value, (int, float)) and math.isfinite(value)
        if value is not None and not is_number:
            raise ValueError(f"{name}={value!r:.60}")


def epochs_of(history: Iterable[Mapping[str, Any]], metric: str | None) -> tuple[EpochTrace, ...]:
    """Gives the epochs of a trainer's history (`TrainerState.log_history`).

    What was logged more often than once an epoch counts as its epoch's mean for the training loss,
    and by its last value for all else.

    Args:
        history: What was logged, in order.
        metric: Name of the score, without "eval_".
    """
    by_epoch: dict[int, list[Mapping[str, Any]]] = {}
    for entry in history:
        number = math.ceil(entry["epoch"])
        if number and "train_runtime" not in entry:  # the summary of the whole run
            by_epoch.setdefault(number, []).append(entry)
    return tuple(_epoch_of(entries, metric) for entries in by_epoch.values())


def _epoch_of(entries: Sequence[Mapping[str, Any]], metric: str | None) -> EpochTrace:
    merged: dict[str, Any] = {}
    for entry in entries:
        merged.update(entry)
    losses = [entry["loss"] for entry in entries if "loss" in entry]
    values = {
        "loss": sum(losses) / len(losses) if losses else None,
        "validation_loss": merged.get("eval_loss"),
        "score": merged.get(f"eval_{metric}"),
        "attention_entropy": merged.get(ENTROPY),
        "attention_share": merged.get(SHARE),
    }
    not_finite = [
        n for n, value in values.items() if value is not None and not math.isfinite(value)
    ]
    if "attention_entropy" in not_finite:
        # The weights are no numbers then, and `Trainer` leaves such losses out of its mean.
        not_finite = ["loss", *(name for name in not_finite if name != "loss")]
    values.update(dict.fromkeys(not_finite))
    return EpochTrace(
        epoch=max(entry["epoch"] for entry in entries),
        step=max(entry["step"] for entry in entries),
        **values,
        not_finite=tuple(not_finite),
    )


def write_training_trace(trace: TrainingTrace, folder: Path) -> None:
    """Writes the trace into a folder, as JSON and as a page in Markdown."""
    trace.to_json(folder / TRACE_FILE)
    trace.to_markdown(folder / TRACE_PAGE)


def drop_training_trace(folder: Path) -> None:
    """Removes the trace of another training from a folder."""
    for name in (TRACE_FILE, TRACE_PAGE):
        (folder / name).unlink(missing_ok=True)


def read_training_trace(
    name_or_path: str | Path, *, revision: str | None = None
) -> TrainingTrace | None:
    """Gives the trace of a saved model's training.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        revision: Branch, tag or commit of the repository.

    Returns:
        The trace, or None for a model saved without one.

    Raises:
        InputError: If the file is broken.
    """
    path = find_file(name_or_path, TRACE_FILE, revision=revision)
    if path is None:
        return None
    try:
        return TrainingTrace.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: expected the trace of a training in JSON, got {error!r}. The file is broken: "
            "delete it to go on without, or train again."
        ) from error
