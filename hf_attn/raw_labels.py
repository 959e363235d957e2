"""The labels of one split, checked to be complete and of one kind."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from .errors import InputError
from .raw_split import RawSplit


@dataclass(frozen=True)
class RawLabels:
    """The labels of one split, none of them missing.

    Attributes:
        split: the rows that they belong to.
        column: column that they come from.
        values: one value a row.
        kind: "names" (strings), "integers", "numbers" (at least one float) or "lists" (of strings
            or integers).
    """

    split: RawSplit
    column: str
    values: list[Any]
    kind: str

    def where(self, row: int) -> str:
        """Gives the place of a row's label.

        Args:
            row: index of the row, 0-based.

        Returns:
            Source, row and column.
        """
        return self.split.where(row, self.column)


def collect_labels(split: RawSplit, column: str, separator: str | None) -> RawLabels:
    """Gives the labels of one split, checked to be of one kind and complete.

    Args:
        split: the rows.
        column: column of the labels.
        separator: mark between several labels in one string; None for one label.

    Returns:
        The labels; class numbers with known names have become names.

    Raises:
        InputError: a label is missing, or labels of different types are mixed.
    """
    values: list[Any] = split.columns[column]
    if column in split.class_names:
        values = _numbers_to_names(values, split.class_names[column])
    _check_missing(split, column, values, empty_is_missing=separator is None)
    if separator is not None and all(isinstance(value, str) for value in values):
        values = [_split_names(value, separator) for value in values]
    return RawLabels(split, column, values, _kind(split, column, values))


def _numbers_to_names(values: list[Any], names: list[str]) -> list[Any]:
    """Replace class numbers, also in lists; a number without a name, such as -1, by None."""
    known: dict[Any, str | None] = dict(enumerate(names))
    return [
        [known.get(item) for item in value] if isinstance(value, list) else known.get(value)
        for value in values
    ]


def _check_missing(
    split: RawSplit, column: str, values: list[Any], *, empty_is_missing: bool
) -> None:
    for row, value in enumerate(values):
        missing = value is None or value != value or (isinstance(value, list) and None in value)
        if missing or (empty_is_missing and isinstance(value, str) and not value.strip()):
            raise InputError(
                f"{split.where(row, column)}: expected a label, got "
                f"{split.columns[column][row]!r}. "
                "Label the row or remove it."
            )


def _split_names(value: str, separator: str) -> list[str]:
    return [name for part in value.split(separator) if (name := part.strip())]


def _kind(split: RawSplit, column: str, values: list[Any]) -> str:
    """Gives the one kind of all labels."""
    found = set(map(type, values))
    if found <= {list}:
        inside = set(map(type, chain.from_iterable(values)))
        if inside <= {str} or inside <= {int}:
            return "lists"
    elif found <= {str}:
        return "names"
    elif found in ({int}, {bool}):
        return "integers"
    elif found <= {int, float}:
        return "numbers"
    expected = _type_name(values[0])
    row = next((row for row, value in enumerate(values) if _type_name(value) != expected), 0)
    raise InputError(
        f"{split.where(row, column)}: expected labels of one type (all strings, all numbers, or "
        f"all lists of strings or of integers), got {values[row]!r} where row 1 holds "
        f"{values[0]!r}. Write them all alike."
    )


def _type_name(value: object) -> str:
    if isinstance(value, list):
        return f"list of {sorted({type(item).__name__ for item in value})}"
    return type(value).__name__
