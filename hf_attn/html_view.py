"""Explanations as HTML without script or network: a page, or a fragment for a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from .explanation import Explanations
from .saving import written
from .templating import bar_style, render, short
from .wording import legend, notes, prediction_line, reading_line, signed, unit

_MOST_ROWS = 200
_MOST_OPEN_ROWS = 30
_MOST_IN_MAP = 20


def explanations_to_html(explanations: Explanations, path: str | Path | None = None) -> str:
    """Gives a page of its own, light or dark as the reader's system is, and writes it to `path`."""
    title = prediction_line(explanations[0]) if len(explanations) == 1 else "Explanations"
    fragment = Markup(explanations_to_fragment(explanations))
    page = render("page.html", title=title, fragment=fragment)
    return written(page, path)


def explanations_to_fragment(explanations: Explanations) -> str:
    """Gives one `div` with its styles, which name nothing outside it, in the colours around it."""
    words = [word for one in explanations for reading in one.shown for word in reading.words]
    return render(
        "explanations.html",
        explanations=explanations,
        has_words=bool(words),
        has_effects=any(word.deletion_effect is not None for word in words),
        legend=legend,
        prediction_line=prediction_line,
        most_in_map=_MOST_IN_MAP,
        **view_values(explanations),
    ).strip()


def view_values(explanations: Explanations) -> dict[str, Any]:
    """Gives what templates draw explanations with: one scale for all of them, and their wording."""
    scale = explanations.scale
    return {
        "scale": scale,
        "share": lambda value: short(value / scale),
        "bar": lambda value: bar_style(value / scale),
        "color": lambda value: bar_style(value / scale, power=0.5),
        "signed": lambda value: signed(value, scale),
        "short": short,
        "unit": unit(explanations),
        "notes": notes,
        "reading_line": reading_line,
        "most_rows": _MOST_ROWS,
        "most_open_rows": _MOST_OPEN_ROWS,
    }
