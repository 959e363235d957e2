"""A training trace as text: lines after each epoch, a view for a terminal, and a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.columns import Columns
from rich.table import Table
from rich.text import Text

from .markdown import escape_markdown, table
from .saving import written
from .terminal import new_console
from .training_trace import TrainingTrace
from .training_trace_series import Series, legend, series_of

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_CHART_ROWS = 4
# A chart of one row shows so many epochs at most, the last ones.
_LAST_EPOCHS = 16
# A chart of several rows shows so many at most, evenly spaced.
_MOST_COLUMNS = 40
_NARROWEST_CHART = 8


def epoch_lines(trace: TrainingTrace) -> str:
    """Gives two lines on the last epoch: its numbers, each with a chart so far, and what they say.

    Args:
        trace: With at least one epoch.
    """
    shown = (f"{one.name} {one.cells[-1]} {spark(one)}".rstrip() for one in series_of(trace))
    last = trace.epochs[-1]
    return f"epoch {last.epoch:g}: {', '.join(shown)}\n  {trace.observations[-1]}"


def spark(series: Series) -> str:
    """Gives a chart of one row: a bar for each of the last epochs, "" for a single one."""
    values = series.values[-_LAST_EPOCHS:]
    return _bars(values, 1)[0] if len(values) > 1 else ""


def _bars(values: Sequence[float | None], rows: int) -> list[str]:
    """Gives rows of a bar chart from the lowest value to the highest, the top row first.

    The lowest value has a bar of one eighth of a row; what is not known has none.
    """
    known = [value for value in values if value is not None]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    most = 8 * rows - 1
    heights = [
        0 if value is None else 1 + round(most * (value - low) / span) if span else 4 * rows
        for value in values
    ]
    return [
        "".join(_EIGHTHS[min(max(height - 8 * row, 0), 8)] for height in heights)
        for row in reversed(range(rows))
    ]


def trace_to_terminal(
    trace: TrainingTrace, *, width: int | None = None, color: bool | None = None
) -> str:
    """Gives the summary, a chart of each series, the table and what each epoch says."""
    console = new_console(width, color)
    series = series_of(trace)
    with console.capture() as capture:
        for sentence in trace.summary or ("No epoch was traced.",):
            console.print(Text(sentence))
        if len(trace.epochs) > 1:
            console.print()
            console.print(Columns([_chart(one, trace) for one in series], padding=(1, 3)))
        if trace.epochs:
            console.print()
            console.print(_numbers(trace, series))
            for line in (*_said(trace), "", *legend(trace)):
                console.print(Text(line))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _chart(series: Series, trace: TrainingTrace) -> Text:
    """Gives a bar chart under the name of its series, with the numbers at its two ends."""
    count = len(series.values)
    columns = min(count, _MOST_COLUMNS)
    shown = [round(place * (count - 1) / (columns - 1)) for place in range(columns)]
    wide = max(1, _NARROWEST_CHART // columns)
    rows = _bars([series.values[number] for number in shown for _ in range(wide)], _CHART_ROWS)
    ends = f"{series.cells[0] or '?'} → {series.cells[-1] or '?'}"
    epochs = f"epoch {trace.epochs[0].epoch:g} to {trace.epochs[-1].epoch:g}"
    return Text.assemble(
        (f"{series.name}\n", "bold"), *(f"{row}\n" for row in rows), f"{ends}\n", (epochs, "dim"),
        no_wrap=True,
    )  # fmt: skip


def _numbers(trace: TrainingTrace, series: Sequence[Series]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for header in ("epoch", *(one.name for one in series)):
        shown.add_column(header, justify="right")
    for row in rows_of(trace, series):
        shown.add_row(*row)
    return shown


def _said(trace: TrainingTrace) -> Iterator[str]:
    if trace.best_epoch is not None:
        yield f"* Epoch {trace.best_epoch:g} is the best on the validation texts."
    yield ""
    for one, observation in zip(trace.epochs, trace.observations, strict=True):
        yield f"Epoch {one.epoch:g}: {observation}."


def rows_of(trace: TrainingTrace, series: Sequence[Series]) -> Iterator[list[str]]:
    """Yields the cells of each epoch, its number first, the best one marked by an asterisk."""
    for number, one in enumerate(trace.epochs):
        mark = " *" if one.epoch == trace.best_epoch else ""
        yield [f"{one.epoch:g}{mark}", *(of.cells[number] for of in series)]


def trace_to_markdown(trace: TrainingTrace, path: str | Path | None = None) -> str:
    """Gives a page with the summary, the table, the observations and a legend."""
    series = series_of(trace)
    lines = ["# How the training went", "", *map(escape_markdown, trace.summary)]
    if trace.epochs:
        header = ("epoch", *(one.name for one in series))
        lines += ["", table(header, rows_of(trace, series))]
        lines += ["", *(f"- {escape_markdown(line)}" for line in _said(trace) if line)]
    else:
        lines.append("No epoch was traced.")
    lines += [f"\n{escape_markdown(line)}" for line in legend(trace)]
    return written("\n".join(lines) + "\n", path)
