"""A lexicon for people: tables for a terminal, and a page without script or network."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from .lexicon import Lexicon, WordList
from .saving import written
from .templating import bar_style, render
from .terminal import BLUE, ORANGE, in_a_line, new_console
from .wording import signed

_WIDEST_WORD = 32
_WIDEST_BAR = 30
_NARROWEST_BAR = 5


def lexicon_to_terminal(
    lexicon: Lexicon, *, width: int | None = None, color: bool | None = None
) -> str:
    """Gives a table for each class, all on one scale, and what has to be known to read them."""
    console = new_console(width, color)
    scale = _scale(lexicon)
    widest = max(console.measure(_table(one, scale)).maximum for one in lexicon.lists)
    bars = min(console.width - widest, _WIDEST_BAR)
    with console.capture() as capture:
        for one in lexicon.lists:
            console.print(Text(in_a_line(one.title), "bold"))
            console.print(_table(one, scale, bars), f"bias {one.bias:+.2f}\n")
        for note in lexicon.notes:
            console.print(in_a_line(note))
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def lexicon_to_html(lexicon: Lexicon, path: str | Path | None = None) -> str:
    """Gives a page, light or dark as the reader's system is, and writes it to `path`."""
    scale = _scale(lexicon)
    fragment = render(
        "lexicon.html",
        lexicon=lexicon,
        signed=lambda value: signed(value, scale),
        bar=lambda value: bar_style(value / scale),
    )
    title = f"What each {lexicon.kind} adds"
    page = render("page.html", title=title, fragment=Markup(fragment))
    return written(page, path)


def _scale(lexicon: Lexicon) -> float:
    """Gives the value that gets the longest bar: the largest there is."""
    values = [abs(entry.value) for one in lexicon.lists for entry in one.entries]
    return max(values, default=0.0) or 1.0


def _table(one: WordList, scale: float, bars: int = 0) -> Table:
    """Gives a row for each word, with a bar of at most so many cells where it can be seen."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("word", max_width=_WIDEST_WORD)  # the one that shrinks
    table.add_column("", no_wrap=True)
    for header in ("value", "direct", "context", "count"):
        table.add_column(header, justify="right", no_wrap=True)
    for entry in one.entries:
        bar: Bar | str = ""
        if bars >= _NARROWEST_BAR:
            color = BLUE if entry.value > 0 else ORANGE
            bar = Bar(scale, 0, abs(entry.value), width=bars, color=color)
        numbers = [signed(part, scale) for part in (entry.value, entry.direct, entry.context)]
        count = "" if entry.count is None else f"{entry.count:,}"
        word = Text(in_a_line(entry.word), no_wrap=True, overflow="ellipsis")
        table.add_row(word, bar, *numbers, count)
    return table
