"""What views of a trace draw: sections of sentences and tables that know how to be cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .explanation import Explanation
from .stages import not_seen
from .wording import signed

Kind = Literal["signed", "share", "rest", "percent", "number", "text"]

NOT_SEEN = "·"
_OTHERS = "others"
_SHARES = {"weights", "pool_weights", "attention_received", "probabilities"}


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        name: What stands above it.
        values: What is in it, a number or a text for each row.
        kind: How it is written.
        scale: The value that gets the full colour.
    """

    name: str
    values: Sequence[Any] | NDArray[Any]
    kind: Kind
    scale: float = 1.0

    def text(self, row: int) -> str:
        """Gives what is written in a row."""
        value = self.values[row]
        if self.kind == "text":
            return str(value)
        if self.kind == "number":
            return f"{value:,}"
        if self._is_hidden(row):
            return NOT_SEEN
        if self.kind in ("share", "rest"):
            return f"{value:.2f}"
        return f"{value:.1%}" if self.kind == "percent" else signed(float(value), self.scale)

    def share(self, row: int) -> float:
        """Gives the share of the scale that a row has, from -1 to 1; 0 for what has no colour."""
        if self.kind in ("text", "number", "rest") or self._is_hidden(row):
            return 0.0
        return float(np.clip(self.values[row] / self.scale, -1, 1))

    def _is_hidden(self, row: int) -> bool:
        return isinstance(self.values, np.ndarray) and bool(not_seen(self.values[row : row + 1])[0])


@dataclass(frozen=True)
class Grid:
    """A table: a name for each row, and columns.

    Attributes:
        caption: What its numbers are.
        counts: What the rows are, such as "tokens"; "" for a single row.
        rows: Their names.
        columns: The columns; see [`Column`].
        across: What the columns are if all are of one kind, such as "features".
        num_rows: Rows that there are, shown or not.
        num_columns: Columns that there are, shown or not.
        has_bar: Whether a bar beside the last column helps.
        adds_up: Whether a row of shares sums to 1, the left-out columns included.
    """

    caption: str
    counts: str
    rows: Sequence[str]
    columns: Sequence[Column]
    across: str = ""
    num_rows: int = 0
    num_columns: int = 0
    has_bar: bool = False
    adds_up: bool = False

    def cut(self, most_rows: int, most_columns: int) -> Grid:
        """Gives the beginning of the table.

        Of shares that sum to 1 it gives the largest columns, and one more with the others' sum.
        """
        columns = list(self.columns)
        if len(columns) > most_columns or (self.adds_up and self.num_columns > len(columns)):
            shown = max(1, most_columns - self.adds_up)
            if self.adds_up:
                sums = [np.sum(column.values) for column in columns]
                largest = np.sort(np.argsort(-np.array(sums), kind="stable")[:shown])
                columns = [columns[place] for place in largest]
                rest = 1 - np.sum([column.values for column in columns], axis=0)
                columns.append(Column(_OTHERS, np.clip(rest, 0, 1), "rest"))
            else:
                columns = columns[:shown]
        # The rows of a sum over classes have been chosen so that they add up.
        rows = self.rows if self.across == "classes" else self.rows[:most_rows]
        return replace(self, rows=rows, columns=columns)

    @property
    def left_out(self) -> str:
        """What the table does not show, in words; "" if it shows all."""
        shown = len(self.columns) - any(column.kind == "rest" for column in self.columns)
        rows, columns = self.num_rows - len(self.rows), self.num_columns - shown
        least = ", with less attention" if self.adds_up else ""
        missing = []
        if rows and self.counts:
            missing.append(f"{_more(rows, self.counts)} below")
        if columns and self.across:
            missing.append(f"{_more(columns, self.across)} beside{least}")
        return " and ".join(missing)


def _more(number: int, kind: str) -> str:
    """Gives "1 more token" or "12 more tokens"; kinds are plurals."""
    one = {"classes": "class"}.get(kind, kind.removesuffix("s"))
    return f"{number:,} more {one if number == 1 else kind}"


class Section(NamedTuple):
    """A part of a trace.

    Attributes:
        number: Its number, None without.
        name: Its title.
        does: What happens in it, in one sentence.
        formula: The same as a formula.
        learned: The weights that it uses.
        shapes: What goes in and what comes out.
        texts: Texts to show as they are.
        grids: Tables to show.
    """

    number: int | None
    name: str
    does: str
    formula: str
    learned: str
    shapes: tuple[str, str] | None
    texts: tuple[str, ...]
    grids: tuple[Grid, ...]


class TraceView(NamedTuple):
    """What is shown of a trace.

    Attributes:
        title: What it is.
        lead: What it says in a line.
        notes: What has to be known to read it.
        sections: Its parts.
        explanation: What each word adds, to be shown after them, if that belongs to the trace.
    """

    title: str
    lead: str
    notes: list[str]
    sections: tuple[Section, ...]
    explanation: Explanation | None = None


def kind_of(name: str, values: Any) -> tuple[Kind, float]:
    """Gives how the numbers of an array are written, and which gets the full colour."""
    if name == "tokens":
        return "text", 1.0
    if name == "token_ids":
        return "number", 1.0
    if name in _SHARES:
        return ("percent" if name == "probabilities" else "share"), 1.0
    return "signed", scale_of(values)


def scale_of(values: NDArray[Any]) -> float:
    """Gives the largest size among the numbers that are one."""
    return float(abs(values[~not_seen(values)]).max(initial=0.0)) or 1.0
