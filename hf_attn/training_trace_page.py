"""A training trace as a page without script or network: curves, table and observations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from .saving import written
from .templating import render
from .training_trace import TrainingTrace
from .training_trace_series import Panel, Series, legend, panels_of, series_of
from .training_trace_view import rows_of

# The area that curves are drawn in, in units of the picture.
_WIDTH, _HEIGHT = 300.0, 120.0


@dataclass(frozen=True)
class _Curve:
    """A series as lines and dots in a panel: a line ends where a value is not known."""

    series: Series
    lines: list[list[tuple[float, float]]]
    even: float | None

    @property
    def dots(self) -> list[tuple[float, float]]:
        return [point for line in self.lines for point in line]


def trace_to_html(trace: TrainingTrace, path: str | Path | None = None) -> str:
    """Gives a page of its own, light or dark as the reader's system is, and writes it to `path`."""
    fragment = Markup(trace_to_fragment(trace))
    page = render("page.html", title="How the training went", fragment=fragment)
    return written(page, path)


def trace_to_fragment(trace: TrainingTrace) -> str:
    """Gives one `div` with its styles, which name nothing outside it, in the colours around it."""
    series = series_of(trace)
    return render(
        "training_trace.html",
        trace=trace,
        panels=[(panel, _curves(panel, trace)) for panel in panels_of(trace)],
        header=["epoch", *(one.name for one in series)],
        rows=list(zip(rows_of(trace, series), trace.observations, strict=True)),
        legend=list(legend(trace)),
        best=None if trace.best_epoch is None else _across(trace.best_epoch, trace),
        width=_WIDTH,
        height=_HEIGHT,
    ).strip()


def _curves(panel: Panel, trace: TrainingTrace) -> list[_Curve]:
    low, high = panel.limits
    span = (high - low) or 1.0

    def up(value: float) -> float:
        return round(_HEIGHT * (1 - (value - low) / span), 1)

    curves = []
    for series in panel.series:
        lines: list[list[tuple[float, float]]] = [[]]
        for epoch, value in zip(series.epochs, series.values, strict=True):
            if value is None:
                lines.append([])
            else:
                lines[-1].append((_across(epoch, trace), up(value)))
        even = None if series.even is None else up(series.even)
        curves.append(_Curve(series, [line for line in lines if line], even))
    return curves


def _across(epoch: float, trace: TrainingTrace) -> float:
    first, last = trace.epochs[0].epoch, trace.epochs[-1].epoch
    return round(_WIDTH * (epoch - first) / ((last - first) or 1.0), 1)
