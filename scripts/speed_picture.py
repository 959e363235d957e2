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

GREY = "#9a9a9a"
# Ours, fastText and the others, in the order of the picture, from above.
COLORS = {
    FOLDED: BLUE,
    EXPLAINED: BLUE,
    WINDOW: BLUE,
    PLAIN: BLUE,
    FASTTEXT: ORANGE,
    f"{FASTTEXT}, bigrams": ORANGE,
    SVM: GREY,
    TINY_BERT: GREY,
    DISTILBERT: GREY,
}
_PANEL_WIDTH, _ROW_HEIGHT = 3.2, 0.3


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
    sides = [side for side in COLORS if side in table["rows"]]
    columns = table["columns"]
    figure = new_figure(_PANEL_WIDTH * len(columns) + 1.5, _ROW_HEIGHT * len(sides) + 1)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for place, axes in enumerate(panels):
        speeds = [table["rows"][side][place] for side in sides]
        _draw(axes, columns[place], dict(zip(sides, speeds, strict=True)))
    panels[0].invert_yaxis()
    figure.supxlabel("texts in a second on one thread, text in to label out", fontsize=9)
    save_png(figure, path)


def _draw(axes: Axes, title: str, speeds: Mapping[str, tuple[float, float, float]]) -> None:
    """Draws medians as bars, with the range of the turns."""
    middles = [middle for middle, _, _ in speeds.values()]
    ranges = [
        [middle - low for middle, low, _ in speeds.values()],
        [high - middle for middle, _, high in speeds.values()],
    ]
    colors = [COLORS[side] for side in speeds]
    style = {"linewidth": 0.8, "ecolor": "#444444"}
    bars = axes.barh(list(speeds), middles, xerr=ranges, color=colors, error_kw=style)
    axes.bar_label(bars, [f" {middle:,.0f}" for middle in middles], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(middles) / 2, max(middles) * 12)
    axes.set_title(title, loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
