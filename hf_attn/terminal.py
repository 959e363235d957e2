"""What every view for a terminal is printed with: a console, colours, and words kept in a line."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata

from rich.color import Color, blend_rgb
from rich.console import Console
from rich.style import Style

# Read on light and dark backgrounds.
BLUE = Color.from_rgb(13, 99, 214)
ORANGE = Color.from_rgb(184, 82, 0)
# White can be read on these, on the full colours and on every mixture of the two.
PALE_BLUE = Color.from_rgb(70, 105, 150)
PALE_ORANGE = Color.from_rgb(140, 100, 60)
_WHITE = Color.from_rgb(255, 255, 255)
# Control characters could move the cursor, forge a line or turn numbers around: pictures of them
# are shown instead.
_DIRECTIONS_AND_BREAKS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029]
PICTURES = {
    **{code: 0x2400 + code for code in range(32)},
    **dict.fromkeys([*range(127, 160), *_DIRECTIONS_AND_BREAKS], 0xFFFD),
}
_LEFT_TO_RIGHT_MARK = "\u200e"


def new_console(width: int | None, color: bool | None) -> Console:
    """Gives a console that prints texts as they are.

    Args:
        width: Columns to keep to; those of the terminal if None.
        color: Whether to use colours; if None, where standard output is a terminal and the
            variable `NO_COLOR` is not set.
    """
    if color is None:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    truecolor = os.environ.get("COLORTERM") in ("truecolor", "24bit")
    return Console(
        width=width or shutil.get_terminal_size().columns,
        force_terminal=color,
        no_color=not color,
        color_system=("truecolor" if truecolor else "256") if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def in_a_line(text: str) -> str:
    """Gives a text that stays in its line and leaves the numbers after it where they are."""
    shown = text.translate(PICTURES)
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in shown):
        shown += _LEFT_TO_RIGHT_MARK
    return shown


def shade(share: float, *, positive: bool) -> Style:
    """Gives white on blue, or on orange if not positive: the fuller, the larger the share."""
    pale, full = (PALE_BLUE, BLUE) if positive else (PALE_ORANGE, ORANGE)
    mixed = blend_rgb(pale.get_truecolor(), full.get_truecolor(), share)
    return Style(color=_WHITE, bgcolor=Color.from_triplet(mixed))
