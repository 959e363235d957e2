"""Rows as they were read, each with its place, before they are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets

from .errors import InputError


class LazyColumns(Mapping[str, list[Any]]):
    """Columns by name, each turned into Python values only when it is asked for."""

    def __init__(self, names: Sequence[str], read: Callable[[str], list[Any]]) -> None:
        self._names = list(names)
        self._read = read

    def __getitem__(self, name: str) -> list[Any]:
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class RawSplit:
    """One split as it was read, before its text and labels are checked.

    Attributes:
        source: file or data set, as error messages name it.
        columns: column name to values.
        num_rows: number of rows.
        lines: line of the file on which each row starts, 1-based; None when there are no lines.
        class_names: names of the columns that hold class numbers with known names.
        untyped: True where the format knows only strings, so that numbers look like text.
        one_label_lists: True where a list of one label may mean a single-label task.
    """

    source: str
    columns: Mapping[str, list[Any]]
    num_rows: int
    lines: Sequence[int] | None = None
    class_names: Mapping[str, list[str]] = field(default_factory=dict)
    untyped: bool = False
    one_label_lists: bool = False

    def where(self, row: int, column: str) -> str:
        """Gives the place of a value as error messages give it.

        Args:
            row: index of the row, 0-based.
            column: name of its column.

        Returns:
            Source, row (1-based), line where known, and column.
        """
        line = f" (line {self.lines[row]})" if self.lines is not None else ""
        return f"{self.source}, row {row + 1}{line}, column {column!r}"


def read_dataset(dataset: datasets.Dataset, source: str) -> RawSplit:
    """Gives the raw columns of a loaded data set.

    Args:
        dataset: rows in any format; transforms set on it are not applied.
        source: how error messages name it.

    Returns:
        The columns, read when asked for.

    Raises:
        InputError: the data set has no rows.
    """

    def read(name: str) -> list[Any]:
        table = dataset.select_columns([name]).with_format("arrow")[:]
        values: list[Any] = table.column(name).to_pylist()
        return values

    if len(dataset) == 0:
        raise InputError(f"{source}: expected rows of data, found none. Add labelled texts.")
    return RawSplit(
        source=source,
        columns=LazyColumns(dataset.column_names, read),
        num_rows=len(dataset),
        class_names=class_names(dataset.features),
    )


def class_names(features: datasets.Features) -> dict[str, list[str]]:
    """Gives the names behind class numbers.

    Args:
        features: features of a data set.

    Returns:
        Column to names, for columns that are a `ClassLabel` or a list of them.
    """
    names = {}
    for column, feature in features.items():
        inner = getattr(feature, "feature", feature)
        if isinstance(inner, datasets.ClassLabel) and inner.names:
            names[column] = list(inner.names)
    return names
