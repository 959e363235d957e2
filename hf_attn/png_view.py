"""Explanations as a picture: bars with ticks for deletion effects, and heat maps of attention."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .explanation import Explanation, Explanations
from .pictures import BLUE, ORANGE, check_matplotlib, new_figure, save_png
from .word_sums import Array, Reading, Word
from .wording import DELETION_EFFECT, legend, notes, prediction_line, reading_line, signed, unit

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_WORDS = 25
_MOST_IN_MAP = 20
_MOST_PANELS = 20
_LONGEST_WORD = 24
_LONGEST_LINE = 110
_BAR_HEIGHT = 0.24
_LEAST_ROWS = 3
# Inches for what stands above and below the bars of a panel, and below all panels.
_FRAME_HEIGHT = 1.7
_EMPTY_HEIGHT = 1
_LEGEND_HEIGHT = 0.9
_BARS_WIDTH, _MAP_WIDTH = 8.5, 5
# Where the numbers end beside the bars, as shares of their width.
_NUMBER_COLUMNS = (1.12, 1.24, 1.28)
_FONT = "DejaVu Sans"
_BOX = "\u25a1"
# Coloured pictures have no outlines to draw, and the last resort draws the name of a script.
_UNFIT_FONTS = ("Color", "Last Resort")
_DIAMOND: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "color": "black",
    "markerfacecolor": "white",
    "markersize": 4,
}


def explanations_to_png(explanations: Explanations, path: str | Path) -> None:
    """Draws a panel for each reading that views show, all on one scale, and writes it to `path`.

    Raises:
        InputError: If matplotlib (the extra `viz`) is not installed, or there is nothing to draw,
            or more than fits a picture.
    """
    check_matplotlib()
    panels = [(one, reading) for one in explanations for reading in one.shown]
    if not 0 < len(panels) <= _MOST_PANELS:
        raise InputError(
            f"expected 1 to {_MOST_PANELS} explained classes for one picture, got {len(panels):,}. "
            "Choose some, such as explanations[:5], or write HTML, which has no limit."
        )
    heights = [_height(reading) for _, reading in panels]
    has_maps = any(reading.attention is not None for _, reading in panels)
    widths = [_BARS_WIDTH, _MAP_WIDTH, _MAP_WIDTH] if has_maps else [_BARS_WIDTH]
    figure = new_figure(sum(widths), sum(heights) + _LEGEND_HEIGHT)
    grid = figure.add_gridspec(len(panels), len(widths), height_ratios=heights, width_ratios=widths)
    drawing = _Drawing(explanations, _Fonts(_characters(panels)))
    for row, (explanation, reading) in enumerate(panels):
        drawing.bars(figure.add_subplot(grid[row, 0]), explanation, reading)
        if reading.attention is not None and reading.reads is not None and reading.words:
            drawing.attention(figure.add_subplot(grid[row, 1]), reading, reading.attention)
            drawing.reads(figure.add_subplot(grid[row, 2]), reading, reading.reads)
    drawing.legend(figure)
    save_png(figure, path)


def _height(reading: Reading) -> float:
    """Gives the height of a panel, in inches: higher where heat maps stand beside the bars."""
    if not reading.words:
        return _EMPTY_HEIGHT
    if reading.attention is not None:
        return max(_MAP_WIDTH, _FRAME_HEIGHT + _BAR_HEIGHT * _num_rows(reading))
    return _FRAME_HEIGHT + _BAR_HEIGHT * _num_rows(reading)


def _num_rows(reading: Reading) -> int:
    return max(_LEAST_ROWS, min(len(reading.words), _MOST_WORDS))


def _characters(panels: Iterable[tuple[Explanation, Reading]]) -> set[str]:
    return {
        character
        for one, reading in panels
        for text in (one.text, one.pair or "", prediction_line(one), reading.title)
        for character in text
    }


class _Fonts:
    """The fonts that a picture needs, and a box for what none of them can draw."""

    def __init__(self, characters: set[str]) -> None:
        from matplotlib.font_manager import findfont, fontManager, get_font

        self.families = [_FONT]
        missing = {ord(character) for character in characters if character.isprintable()}
        missing -= set(get_font(findfont(_FONT)).get_charmap())
        for entry in fontManager.ttflist:
            if not missing:
                break
            if entry.style != "normal" or any(part in entry.name for part in _UNFIT_FONTS):
                continue
            found = missing.intersection(get_font(entry.fname).get_charmap())
            if found:
                self.families.append(entry.name)
                missing -= found
        self.boxes = dict.fromkeys(missing, _BOX)

    def drawable(self, text: str) -> str:
        """Gives the text in one line, with boxes for what no font has."""
        shown = (character if character.isprintable() else " " for character in text)
        return " ".join("".join(shown).translate(self.boxes).split())


class _Drawing:
    """Draws readings on the scale of their batch."""

    def __init__(self, explanations: Explanations, fonts: _Fonts) -> None:
        self.explanations = explanations
        self.scale = explanations.scale
        matrices = [reading.reads for one in explanations for reading in one.shown]
        self.reads_scale = max(
            (abs(m).max(initial=0) for m in matrices if m is not None), default=0
        )
        self.unit = unit(explanations)
        self.fonts = fonts
        # A dollar sign in a text begins no formula.
        self.font: dict[str, Any] = {"fontfamily": fonts.families, "parse_math": False}

    def bars(self, axes: Axes, explanation: Explanation, reading: Reading) -> None:
        """Draws the words with the largest values, and their deletion effects as diamonds."""
        axes.set_title(self.heading(explanation, reading), loc="left", fontsize=10, **self.font)
        if not reading.words:
            axes.set_axis_off()
            return
        words = [reading.words[index] for index in reading.largest_words(_MOST_WORDS)]
        values = [word.contribution for word in words]
        effects = [w.deletion_effect for w in words if w.deletion_effect is not None]
        places = range(len(words))
        axes.barh(places, values, color=[BLUE if value > 0 else ORANGE for value in values])
        if effects:
            axes.plot(effects, places, **_DIAMOND)
        axes.set_yticks(places, [self.label(word) for word in words], **self.font)
        axes.set_ylim(_num_rows(reading) - 0.4, -0.6)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlim(-1.05 * self.scale, 1.05 * self.scale)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        for place, word in enumerate(words):
            self.numbers(axes, place, word)
        names = ["contri-\nbution", "deletion\neffect"][: 2 if effects else 1]
        self.in_columns(axes, -0.8, names, va="bottom", fontsize=8)
        label = f"{self.unit}\n{self.fonts.drawable(reading.check)}"
        axes.set_xlabel(label, loc="left", **self.font)

    def numbers(self, axes: Axes, place: int, word: Word) -> None:
        """Writes contribution and deletion effect to the right of a bar."""
        columns = [signed(word.contribution, self.scale)]
        if word.deletion_effect is not None:
            columns += [signed(word.deletion_effect, self.scale), "≠" * word.signs_differ]
        self.in_columns(axes, place, columns, va="center")

    def in_columns(self, axes: Axes, place: float, texts: list[str], **style: Any) -> None:
        """Writes texts side by side to the right of the bars."""
        for text, position in zip(texts, _NUMBER_COLUMNS, strict=False):
            transform = axes.get_yaxis_transform()
            axes.text(position, place, text, transform=transform, ha="right", **style)

    def heading(self, explanation: Explanation, reading: Reading) -> str:
        """Gives the beginning of the text, the prediction, and what the bars are of."""
        lines = [explanation.text, explanation.pair or ""]
        lines = [
            textwrap.shorten(self.fonts.drawable(line), _LONGEST_LINE, placeholder=" …")
            for line in lines
        ]
        lines.append(prediction_line(explanation))
        lines += notes(explanation)
        if len(reading.words) > _MOST_WORDS:
            lines.append(f"The {_MOST_WORDS} largest of {len(reading.words):,} words.")
        lines.append(reading_line(explanation, reading))
        lines += [] if reading.words else [reading.check]
        return "\n".join(self.fonts.drawable(line) for line in lines if line)

    def label(self, word: Word) -> str:
        """Gives a word, cut where it is long and marked where it is unknown."""
        shown = self.fonts.drawable(word.name)
        if len(shown) > _LONGEST_WORD:
            shown = shown[: _LONGEST_WORD - 1] + "…"
        return shown if word.is_known else f"{shown} ?"

    def attention(self, axes: Axes, reading: Reading, attention: Array) -> None:
        """Draws how the word of a row weighs the words of the columns."""
        self.heat_map(axes, reading, attention, cmap="Greys", vmin=0, vmax=1)
        self.heat_map_title(axes, reading, "Attention weights:\nhow a row weighs the columns")

    def reads(self, axes: Axes, reading: Reading, reads: Array) -> None:
        """Draws what the word of a column adds because that of a row reads it."""
        from matplotlib.colors import LinearSegmentedColormap

        colors = LinearSegmentedColormap.from_list("signs", [ORANGE, "white", BLUE])
        self.heat_map(
            axes, reading, reads, cmap=colors, vmin=-self.reads_scale, vmax=self.reads_scale
        )
        title = f"What a column adds ({self.unit})\nbecause a row reads it"
        self.heat_map_title(axes, reading, title)

    def heat_map(self, axes: Axes, reading: Reading, matrix: Array, **colors: Any) -> None:
        """Draws a matrix between the words with the largest values, with its colour bar."""
        words = sorted(reading.largest_words(_MOST_IN_MAP))
        image = axes.imshow(matrix[np.ix_(words, words)], **colors)
        labels = [self.label(reading.words[index]) for index in words]
        axes.set_xticks(range(len(words)), labels, rotation=90, **self.font)
        axes.set_yticks(range(len(words)), labels, **self.font)
        axes.figure.colorbar(image, ax=axes, shrink=0.6)

    def heat_map_title(self, axes: Axes, reading: Reading, title: str) -> None:
        """Writes above a heat map what it shows, and of how many words."""
        if len(reading.words) > _MOST_IN_MAP:
            title += f" ({_MOST_IN_MAP} of {len(reading.words):,} words)"
        axes.set_title(title, loc="left", fontsize=10)

    def legend(self, figure: Figure) -> None:
        """Says below all panels what colours and marks mean."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        marks: list[Artist] = [
            Patch(color=BLUE, label=f"contribution: adds to the {self.unit}"),
            Patch(color=ORANGE, label=f"contribution: takes from the {self.unit}"),
        ]
        for line in legend(self.explanations):
            style = _DIAMOND if line == DELETION_EFFECT else {"linestyle": "none"}
            marks.append(Line2D([], [], label=line, **style))
        if self.fonts.boxes:
            line = f"{_BOX} A character that no font on this machine has."
            marks.append(Line2D([], [], label=line, linestyle="none"))
        figure.legend(handles=marks, loc="outside lower left", frameon=False)
