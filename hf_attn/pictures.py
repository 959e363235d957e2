"""What every picture is drawn with: matplotlib, if it is there, and a file written as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError
from .saving import staged_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2f6fdb", "#d95f02"
_DOTS_PER_INCH = 150
_MARGIN = 0.15


def check_matplotlib() -> None:
    """Refuses to draw without matplotlib.

    Raises:
        InputError: If it (the extra `viz`) is not installed.
    """
    try:
        import matplotlib.figure
        import matplotlib.layout_engine  # noqa: F401
    except ImportError as error:
        raise InputError(
            "expected matplotlib for a PNG picture, found none. Type: pip install 'hf-attn[viz]'"
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """Gives an empty figure of so many inches that keeps what is in it apart."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    return Figure((width, height), layout=layout)


def save_png(figure: Figure, path: str | Path) -> None:
    """Writes the figure to `path`; the file is replaced whole or not at all."""
    with staged_file(path) as file:
        figure.savefig(file, format="png", dpi=_DOTS_PER_INCH)
