"""Traces for a terminal: for each stage a sentence, its formula, its shapes and its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .stages import Trace
from .terminal import BLUE, ORANGE, in_a_line, new_console, shade
from .trace_parts import Column, Grid, Section
from .trace_tables import view_of

_MOST_ROWS = 12
_MOST_CHARACTERS = 300
_WIDEST_ROW_NAME = 16
_WIDEST_NAME = 16
_WIDEST_NAME_OF_MANY = 7
_WIDEST_TEXT = 24
_INDENT = 2
_GAP = 2
_WIDEST_BAR = 24
_NARROWEST_BAR = 6
# Below this share of the scale a number is not coloured: full rows of colours hide the large ones.
_LEAST_SHARE = 0.2


def trace_to_terminal(trace: Trace, *, width: int | None = None, color: bool | None = None) -> str:
    """Gives a trace as text, cut to what can be read.

    Args:
        trace: What to show.
        width: Columns to keep to; those of the terminal if None.
        color: Whether to use colours; if None, where standard output is a terminal and the
            variable `NO_COLOR` is not set.
    """
    console = new_console(width, color)
    view = view_of(trace, _MOST_ROWS)
    with console.capture() as capture:
        console.print(Text(view.title, "bold underline"))
        for line in (view.lead, *view.notes):
            console.print(Text(in_a_line(line)))
        for section in view.sections:
            console.print()
            console.print(_section(section, console))
        if view.explanation is not None and view.explanation.words:
            console.print()
            console.print(Text("What each word adds", "bold"))
            in_color = console.color_system is not None
            shown = view.explanation.to_terminal(width=console.width, color=in_color)
            console.print(Text.from_ansi(shown))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def _section(section: Section, console: Console) -> RenderableType:
    parts: list[RenderableType] = []
    if section.does:
        parts.append(Text(section.does))
    if section.formula:
        parts.append(Padding(Text(section.formula), (0, 0, 0, _INDENT)))
    takes, gives = section.shapes or ("", "")
    for name, words in (("uses", section.learned), ("in", takes), ("out", gives)):
        if words:
            parts.append(Text.assemble((f"{name:<6}", "dim"), words))
    for text in section.texts:
        parts += ["", Text(f"“{_beginning(text)}”")]
    for grid in section.grids:
        parts += _grid(grid, console.width - _INDENT)
    number = "" if section.number is None else f"{section.number} "
    return Group(Text(number + section.name, "bold"), Padding(Group(*parts), (0, 0, 0, _INDENT)))


def _beginning(text: str) -> str:
    """Gives the beginning of a text, in which nothing moves the cursor."""
    shown = in_a_line(text[:_MOST_CHARACTERS])
    return shown if len(text) <= _MOST_CHARACTERS else f"{shown} … of {len(text):,} characters"


def _grid(grid: Grid, room: int) -> Iterator[RenderableType]:
    """Yields the caption of a table, as much of it as there is room for, and what is left out."""
    yield ""
    if grid.caption:
        yield Text(grid.caption, "dim")
    whole = grid.cut(_MOST_ROWS, len(grid.columns))
    widths = [_width(column, grid, len(whole.rows)) for column in whole.columns]
    used = sum(widths) + _GAP * len(widths)
    widest = _WIDEST_ROW_NAME if grid.across else max(_NARROWEST_BAR, room - used)
    first = min(max((cell_len(in_a_line(name)) for name in whole.rows), default=0), widest)
    if grid.across:  # all columns as wide as the widest, and as many as fit
        each = max(widths, default=0)
        whole = grid.cut(_MOST_ROWS, max(1, (room - first) // (each + _GAP)))
        widths = [each] * len(whole.columns)
    bar_width = min(room - first - used - _GAP, _WIDEST_BAR) if grid.has_bar else 0
    yield _table(whole, first, widths, bar_width if bar_width >= _NARROWEST_BAR else 0)
    if whole.left_out:
        yield Text(f"… {whole.left_out}", "dim")


def _table(grid: Grid, first: int, widths: list[int], bar_width: int) -> Table:
    """Gives a table whose row names have `first` cells, and its columns these widths."""
    table = Table(box=None, padding=(0, 0, 0, _GAP), pad_edge=False, header_style="dim")
    table.add_column("", width=first, no_wrap=True, overflow="ellipsis")
    for column, width in zip(grid.columns, widths, strict=True):
        heading = Text(in_a_line(column.name), no_wrap=True, overflow="ellipsis")
        is_text = column.kind == "text" and bool(grid.counts)
        justify: JustifyMethod = "left" if is_text else "right"
        table.add_column(heading, justify=justify, width=width, no_wrap=True, overflow="ellipsis")
    if bar_width:
        table.add_column("", width=bar_width)
    for row, name in enumerate(grid.rows):
        cells = [Text(in_a_line(name)), *(_cell(column, row) for column in grid.columns)]
        if bar_width:
            cells.append(_bar(grid.columns[-1].share(row), bar_width))
        table.add_row(*cells)
    return table


def _width(column: Column, grid: Grid, rows: int) -> int:
    """Gives the cells that the numbers of a column take, or its name, if that is not too long."""
    most_of_name = _WIDEST_NAME_OF_MANY if grid.across else _WIDEST_NAME
    numbers = max((cell_len(in_a_line(column.text(row))) for row in range(rows)), default=0)
    return max(min(numbers, _WIDEST_TEXT), min(cell_len(in_a_line(column.name)), most_of_name))


def _cell(column: Column, row: int) -> Text:
    share = column.share(row)
    style = shade(abs(share), positive=share > 0) if abs(share) >= _LEAST_SHARE else Style()
    return Text(in_a_line(column.text(row)), style)


def _bar(share: float, width: int) -> Text:
    halves = round(abs(share) * 2 * width)
    color = BLUE if share > 0 else ORANGE
    return Text("█" * (halves // 2) + "▌" * (halves % 2), Style(color=color))
