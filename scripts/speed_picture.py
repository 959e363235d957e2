"""The picture of the README: texts in a second of each way from texts to labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speed_rivals import DISTILBERT, EXPLAINED, FASTTEXT, FOLDED, PLAIN, SVM, TINY_BERT, WINDOW

from hf_attn.errors import InputError
from hf_attn.pictures import BLUE, ORANGE, check_matplotlib, new_figure, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart without colours, too.
_OURS: dict[str, Any] = {"color": BLUE, "marker": "o"}
_FASTTEXT: dict[str, Any] = {"color": ORANGE, "marker": "s"}
_OTHERS: dict[str, Any] = {"color": "#767676", "marker": "D"}
# In the order of the picture, from above.
STYLES = {
    FOLDED: _OURS,
    EXPLAINED: _OURS,
    WINDOW: _OURS,
    PLAIN: _OURS,
    FASTTEXT: _FASTTEXT,
    f"{FASTTEXT}, bigrams": _FASTTEXT,
    SVM: _OTHERS,
    TINY_BERT: _OTHERS,
    DISTILBERT: _OTHERS,
}
_COLUMNS = 2
_PANEL_WIDTH, _ROW_HEIGHT = 3.6, 0.24
_ROOM_FOR_NUMBERS = 15  # times the largest, on an axis of powers


def draw_speed(parts: Mapping[str, Any], path: Path) -> None:
    """Draws the throughput on one thread, a panel for each length of texts.

    Args:
        parts: As the benchmark writes them.
        path: PNG file to write.

    Raises:
        InputError: If matplotlib is not installed, or the throughput was not measured.
    """
    check_matplotlib()
    if "throughput" not in parts:
        raise InputError(
            "expected a throughput to draw, got none. Measure it first: --only throughput"
        )
    (table,) = parts["throughput"]["tables"]
    sides = [side for side in STYLES if side in table["rows"]]
    rows = -(-len(table["columns"]) // _COLUMNS)
    height = rows * (_ROW_HEIGHT * len(sides) + 0.7) + 0.3
    figure = new_figure(_COLUMNS * _PANEL_WIDTH + 1.6, height)
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).ravel()
    for place, axes in enumerate(panels):
        if place < len(table["columns"]):
            _draw(axes, {side: table["rows"][side][place] for side in sides})
            axes.set_title(table["columns"][place], loc="left", fontsize=10)
        else:
            axes.set_axis_off()
    panels[0].invert_yaxis()
    figure.supxlabel("texts in a second on one thread, text in to label out", fontsize=9)
    save_png(figure, path)


def _draw(axes: Axes, speeds: Mapping[str, tuple[float, float, float]]) -> None:
    """Draws medians, with the range of the turns."""
    for side, (middle, low, high) in speeds.items():
        between = [[middle - low], [high - middle]]
        axes.errorbar([middle], [side], xerr=between, markersize=5, linewidth=1.5, **STYLES[side])
        axes.annotate(
            f"{middle:,.0f}" if middle >= 10 else f"{middle:.1f}",
            (high, side),
            xytext=(5, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_xlim(right=_ROOM_FOR_NUMBERS * max(high for _, _, high in speeds.values()))
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
