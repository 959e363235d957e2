"""The series of a training trace, for every view alike: names, values and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .training_observations import metric_in_words, score_in_words
from .training_trace import EpochTrace, TrainingTrace

_NO_NUMBER = "NaN or ∞"


@dataclass(frozen=True)
class Series:
    """One number of each epoch.

    Attributes:
        field: Its name in `EpochTrace`.
        name: What it is called.
        values: (epochs,), None where it is not known or no number.
        cells: (epochs,), the values as they are written, "" where one is not known.
        epochs: (epochs,), when they were measured, in passes over the training texts.
        even: What it would be for even attention, if it is about attention.
    """

    field: str
    name: str
    values: tuple[float | None, ...]
    cells: tuple[str, ...]
    epochs: tuple[float, ...]
    even: float | None = None

    @property
    def is_share(self) -> bool:
        """Whether the values are shares of 1, written in per cent."""
        return any(cell.endswith("%") for cell in self.cells)

    def cell_at(self, epoch: float) -> str:
        """Gives the value at the end of an epoch as it is written; "" for an unknown one."""
        return dict(zip(self.epochs, self.cells, strict=True)).get(epoch, "")


def series_of(trace: TrainingTrace) -> tuple[Series, ...]:
    """Gives the series of which at least one value is known, or known to be no number."""
    return tuple(one for one in _all_series(trace) if any(one.cells))


def attention_series(trace: TrainingTrace) -> tuple[Series, ...]:
    """Gives those of the series that are about attention."""
    return tuple(one for one in series_of(trace) if one.field.startswith("attention_"))


def _all_series(trace: TrainingTrace) -> Iterator[Series]:
    sample, epochs = trace.sample, tuple(one.epoch for one in trace.epochs)

    def make(
        field: str, name: str, write: Callable[[float], str], even: float | None = None
    ) -> Series:
        values = tuple(getattr(one, field) for one in trace.epochs)
        cells = (_cell(one, field, write) for one in trace.epochs)
        return Series(field, name, values, tuple(cells), epochs, even)

    yield make("loss", "training loss", "{:.4f}".format)
    yield make("validation_loss", "validation loss", "{:.4f}".format)
    yield make(
        "score", metric_in_words(trace.metric), lambda score: score_in_words(score, trace.metric)
    )
    yield make(
        "attention_entropy",
        "attention entropy",
        "{:.2f}".format,
        None if sample is None else sample.even_entropy,
    )
    yield make(
        "attention_share",
        f"top {trace.unit}",
        lambda share: f"{100 * share:.1f} %",
        None if sample is None else sample.even_share,
    )


def _cell(one: EpochTrace, field: str, write: Callable[[float], str]) -> str:
    value = getattr(one, field)
    if value is None:
        return _NO_NUMBER if field in one.not_finite else ""
    return write(value)


def legend(trace: TrainingTrace) -> Iterator[str]:
    """Yields what the series on attention mean, and on which texts they were measured."""
    sample = trace.sample
    if sample is None:
        return
    which = {"validation": "validation texts", "train": "training texts"}.get(sample.split, "texts")
    unit, even = trace.unit, f"{100 * sample.even_share:.1f} %"
    yield (
        f"Attention entropy: how evenly a {unit} reads the others, in nats, 0 if it reads one only "
        f"and {sample.even_entropy:.2f} if all alike. Top {unit}: what the most attended {unit} "
        f"gets of a text's attention, {even} if all get the same. Means over {sample.texts:,} "
        f"{which}, the first {sample.max_tokens} {unit}s of each."
    )


@dataclass(frozen=True)
class Panel:
    """The series that share one pair of axes.

    Attributes:
        title: What they are.
        series: One or two of them.
    """

    title: str
    series: tuple[Series, ...]

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest value, that of even attention among them."""
        known = [value for one in self.series for value in (*one.values, one.even)]
        values = [value for value in known if value is not None]
        return min(values, default=0.0), max(values, default=0.0)


def panels_of(trace: TrainingTrace) -> tuple[Panel, ...]:
    """Gives what curves are drawn of: both losses side by side, and every other series alone."""
    series = [one for one in series_of(trace) if any(value is not None for value in one.values)]
    losses = tuple(one for one in series if one.field.endswith("loss"))
    titles = {
        "attention_entropy": "attention entropy (nats)",
        "attention_share": f"attention on the top {trace.unit}",
    }
    panels = [Panel(titles.get(one.field, one.name), (one,)) for one in series if one not in losses]
    return (*([Panel("loss", losses)] if losses else []), *panels)
