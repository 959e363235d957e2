"""What every page is made with: templates in which texts are escaped, and colours for shares."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .markdown import escape_markdown


def render(template: str, **values: Any) -> str:
    """Gives the page or fragment that a file of `templates/` describes, in HTML or Markdown."""
    return _environment(template.endswith(".md")).get_template(template).render(**values)


@cache
def _environment(is_markdown: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("hf_attn"),
        autoescape=not is_markdown,
        finalize=escape_markdown if is_markdown else None,
        keep_trailing_newline=is_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["exact"] = _exact
    return environment


def _exact(text: str) -> Markup:
    """Escapes a text, line ends too: a browser would read a bare carriage return as a line feed."""
    return escape(text.replace("\0", "\u2400")).replace("\r", Markup("&#13;"))


def short(share: float) -> str:
    """Writes a share of the scale in few bytes: .42, -.1, 0."""
    return f"{round(share, 2) + 0:g}".replace("0.", ".")


def bar_style(share: float, power: float = 1) -> str:
    """Gives the style that colours what is for a class (--p) or against it (--n)."""
    return f"--{'n' if share < 0 else 'p'}:{short(abs(share) ** power)}"
