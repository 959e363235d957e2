"""A training trace as a picture: its curves over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .pictures import BLUE, ORANGE, check_matplotlib, new_figure, save_png
from .training_trace import TrainingTrace
from .training_trace_series import Panel, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_WIDTH, _PANEL_HEIGHT = 4.0, 3.0
_COLUMNS = 2
# Told apart without colours, too.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o"},
    {"color": ORANGE, "marker": "s", "linestyle": "--"},
)
_GREY = "#767676"


def trace_to_png(trace: TrainingTrace, path: str | Path) -> None:
    """Draws the curves of losses, score and attention, and writes them to `path`.

    Raises:
        InputError: If matplotlib (the extra `viz`) is not installed, or no number is known.
    """
    check_matplotlib()
    panels = panels_of(trace)
    if not panels:
        raise InputError(
            "expected a training trace with numbers, got one without. Train for an epoch, or with "
            "a lower learning rate where the numbers are NaN."
        )
    rows = -(-len(panels) // _COLUMNS)
    figure = new_figure(_COLUMNS * _PANEL_WIDTH, rows * _PANEL_HEIGHT + 0.6)
    figure.suptitle("\n".join(trace.summary), fontsize=8, wrap=True)
    for place, panel in enumerate(panels, start=1):
        _draw(figure.add_subplot(rows, _COLUMNS, place), panel, trace)
    save_png(figure, path)


def _draw(axes: Axes, panel: Panel, trace: TrainingTrace) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for series, style in zip(panel.series, _STYLES, strict=False):
        values = [float("nan") if value is None else value for value in series.values]
        axes.plot(series.epochs, values, label=series.name, markersize=4, **style)
        if series.even is not None:
            axes.axhline(series.even, color=_GREY, linestyle=":", label="even attention")
    if trace.best_epoch is not None:
        axes.axvline(trace.best_epoch, color=_GREY, linewidth=0.8, zorder=0, label="best epoch")
    if panel.series[0].is_share:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel("epoch", loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
