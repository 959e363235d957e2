"""Traces as HTML without script or network: a page, or a fragment for a notebook."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from .saving import written
from .stages import Trace
from .templating import bar_style, render
from .trace_parts import Grid
from .trace_tables import view_of

_MOST_ROWS = 20
_MOST_TOKENS = 20
_MOST_FEATURES = 16
_LONGEST_FLAT_NAME = 5
_MOST_CHARACTERS = 2000
_SUBSCRIPT = re.compile(r"_(?:\{(.+?)\}|([a-z0-9]+))")


def trace_to_html(trace: Trace, path: str | Path | None = None) -> str:
    """Gives a page of its own, light or dark as the reader's system is, and writes it to `path`."""
    fragment = Markup(trace_to_fragment(trace))
    page = render("page.html", title=view_of(trace, _MOST_ROWS).title, fragment=fragment)
    return written(page, path)


def trace_to_fragment(trace: Trace, *, stage: int | None = None) -> str:
    """Gives one `div` with its styles, which name nothing outside it, in the colours around it.

    Args:
        trace: What to show.
        stage: Number of the one stage to show, without the title of the whole; None for all.
    """
    view = view_of(trace, _MOST_ROWS)
    if stage is not None:
        sections = tuple(section for section in view.sections if section.number == stage)
        view = view._replace(title="", sections=sections)
    added = ""
    if view.explanation is not None and view.explanation.words:
        added = view.explanation._repr_html_()
    return render(
        "trace.html",
        view=view,
        added=Markup(added),
        color=lambda share: bar_style(share, power=0.5),
        bar=bar_style,
        cut=_cut,
        is_flat=_is_flat,
        with_subscripts=_with_subscripts,
        most_characters=_MOST_CHARACTERS,
    ).strip()


def _cut(grid: Grid) -> Grid:
    """Gives as much of a table as is read at once."""
    most = {"features": _MOST_FEATURES, "tokens": _MOST_TOKENS}
    return grid.cut(_MOST_ROWS, most.get(grid.across, len(grid.columns)))


def _is_flat(grid: Grid) -> bool:
    """Tells whether the names of the columns are short enough to stand side by side."""
    return all(len(column.name) <= _LONGEST_FLAT_NAME for column in grid.columns)


def _with_subscripts(formula: str) -> Markup:
    """Gives a formula in HTML, in which s_ij and t_{j−1} have subscripts."""
    return Markup(_SUBSCRIPT.sub(r"<sub>\1\2</sub>", str(escape(formula))))
