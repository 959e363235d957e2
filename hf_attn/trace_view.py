"""Traces for a terminal: for each stage a sentence, its formula, its shapes and its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .stages import Trace
from .terminal import BLUE, ORANGE, in_a_line, new_console, shade
from .trace_tables import Column, Grid, Section, view_of

_MOST_ROWS = 12
_MOST_CHARACTERS = 300
_WIDEST_ROW_NAME = 16
_WIDEST_COLUMN = 12
_INDENT = 2
_GAP = 2
_WIDEST_BAR = 24
_NARROWEST_BAR = 6
# Below this root of its share of the scale a number is not coloured.
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
    names = [in_a_line(name) for name in grid.rows[: _MOST_ROWS + 4]]
    widths = [_width(column, _MOST_ROWS + 4) for column in grid.columns]
    each = max(widths, default=0) + _GAP
    widest = _WIDEST_ROW_NAME if grid.across else max(4, room - sum(widths) - _GAP * len(widths))
    first = min(max(map(cell_len, names), default=0), widest)
    fitting = max(1, (room - first) // each) if grid.across else len(grid.columns)
    most_rows = _MOST_ROWS if grid.across != "classes" else _MOST_ROWS + 4
    cut = grid.cut(most_rows, fitting)
    bar_width = min(room - first - sum(widths) - _GAP * len(widths) - _GAP, _WIDEST_BAR)
    has_bar = grid.has_bar and bar_width >= _NARROWEST_BAR
    table = Table(box=None, padding=(0, 0, 0, _GAP), pad_edge=False, header_style="dim")
    table.add_column("", width=first, no_wrap=True, overflow="ellipsis")
    for column in cut.columns:
        width = _width(column, len(cut.rows)) if not grid.across else each - _GAP
        is_text = column.kind == "text" and bool(grid.counts)
        heading = Text(in_a_line(column.name), no_wrap=True, overflow="ellipsis")
        table.add_column(
            heading,
            justify="left" if is_text else "right",
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    if has_bar:
        table.add_column("", width=bar_width)
    for row, name in enumerate(cut.rows):
        cells: list[RenderableType] = [Text(in_a_line(name))]
        cells += [_cell(column, row) for column in cut.columns]
        if has_bar:
            cells.append(_bar(cut.columns[-1].share(row), bar_width))
        table.add_row(*cells)
    yield table
    if cut.left_out:
        yield Text(f"… {cut.left_out}", "dim")


def _width(column: Column, rows: int) -> int:
    """Gives how wide the numbers of a column are, or the heading if it is no wider than may be."""
    numbers = [
        cell_len(in_a_line(column.text(row))) for row in range(min(rows, len(column.values)))
    ]
    most = 24 if column.kind == "text" else _WIDEST_COLUMN
    return max(min(max(numbers, default=0), most), min(cell_len(in_a_line(column.name)), most))


def _cell(column: Column, row: int) -> Text:
    share = column.share(row)
    root = abs(share) ** 0.5
    style = shade(root, positive=share > 0) if root >= _LEAST_SHARE else Style()
    return Text(in_a_line(column.text(row)), style)


def _bar(share: float, width: int) -> Text:
    halves = round(abs(share) * 2 * width)
    color = BLUE if share > 0 else ORANGE
    return Text("█" * (halves // 2) + "▌" * (halves % 2), Style(color=color))
