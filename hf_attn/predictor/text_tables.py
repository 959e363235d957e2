"""The texts of a table row by row: CSV, TSV, JSON lines, JSON and Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from ..columns import choose_columns
from ..errors import InputError
from ..rows import (
    broken_json,
    check_header,
    file_format,
    json_rows,
    separator_of,
    table_rows,
)
from ..texts import in_short
from .text_block import TextBlock, in_blocks
from .text_files import lines_of

# What a row is numbered with, its values, and what is wrong with it.
Row: TypeAlias = tuple[int, Sequence[Any], str]

# So many first rows, or lines, decide what is chosen for all.
_ROWS_TO_LOOK_AT = 1000
_LINES_TO_LOOK_AT = 100_000
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class _Opened:
    """A table whose first rows have been read.

    Attributes:
        source: Its name.
        columns: Name to the values of the first rows.
        rows: Gives all rows with the values of the columns that are named.
        unit: What rows are numbered by.
        untyped: Whether the format knows only strings.
    """

    source: str
    columns: Mapping[str, Sequence[Any]]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    unit: str = "line"
    untyped: bool = False


def table_blocks(path: Path, text_column: str | None = None) -> Iterator[TextBlock]:
    """Gives the texts of a table, and their second texts if it has such a column.

    Only the first rows are read before the first block is asked for.

    Args:
        path: A file whose format is one of `TABLES`.
        text_column: Column of the text; None takes the obvious one.

    Raises:
        InputError: It cannot be opened, or it is not clear which column holds the text.
    """
    table = TABLES[file_format(path)](path)
    if table is None:
        return iter(())
    chosen = choose_columns(table, text=text_column, labelled=False)
    names = [chosen.text] if chosen.text_pair is None else [chosen.text, chosen.text_pair]
    return in_blocks(table.rows(names), table.unit, in_pairs=len(names) > 1)


def _open_csv(path: Path) -> _Opened | None:
    lines = lines_of(path, "")
    head = []
    for line in lines:
        head.append(line)
        if line.strip("\r\n"):
            break
    if not head:
        return None
    return _open_separated(path, chain(head, lines), separator_of(head[-1]), quoted=True)


def _open_tsv(path: Path) -> _Opened | None:
    return _open_separated(path, lines_of(path, ""), "\t", quoted=_quotes_values(path))


def _quotes_values(path: Path) -> bool:
    """Tells from its first lines whether a TSV file has quotation marks around values.

    Many have not, and hold quotation marks as ordinary characters.
    """

    def first_lines() -> Iterator[str]:
        return islice(lines_of(path, ""), _LINES_TO_LOOK_AT)

    def is_whole(*, quoted: bool) -> bool:
        rows = table_rows(first_lines(), "\t", quoted=quoted)
        return not any(problem for *_, problem in rows)

    has_marks = any('"' in line for line in first_lines())
    return not has_marks or is_whole(quoted=True) or not is_whole(quoted=False)


def _open_separated(
    path: Path, lines: Iterator[str], separator: str, *, quoted: bool
) -> _Opened | None:
    rows = table_rows(lines, separator, quoted=quoted)
    line, values, problem = next(rows, (1, [], ""))
    if problem:
        raise InputError(f"{path}, line {line}: {problem}")
    if not values:
        return None
    header = check_header(str(path), values)
    first = list(islice(rows, _ROWS_TO_LOOK_AT))
    whole = [values for _, values, problem in first if not problem]
    columns = {name: [row[place] for row in whole] for place, name in enumerate(header)}

    def read(names: Sequence[str]) -> Iterator[Row]:
        places = [header.index(name) for name in names]
        for line, values, problem in chain(first, rows):
            yield line, () if problem else [values[place] for place in places], problem

    return _Opened(str(path), columns, read, untyped=True)


def _open_json(path: Path) -> _Opened | None:
    """Opens an array of objects, or JSON lines under this extension."""
    start = next(filter(None, map(str.lstrip, lines_of(path, "\n"))), "")
    if not start.startswith("["):
        return _open_json_lines(path)
    try:
        records = json.loads("".join(lines_of(path, "\n")))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: {broken_json(error)}") from error
    except (ValueError, RecursionError) as error:  # numbers too long, objects too deep
        raise InputError(f"{path}: {broken_json(error)}") from error
    return _open_records(path, _array_rows(records), "row")


def _array_rows(records: list[object]) -> Iterator[tuple[int, dict[str, Any], str]]:
    for number, record in enumerate(records, 1):
        if isinstance(record, dict):
            yield number, record, ""
        else:
            yield number, {}, f"expected a JSON object, got {in_short(record)}."


def _open_json_lines(path: Path) -> _Opened | None:
    return _open_records(path, json_rows(lines_of(path, "\n")), "line")


def _open_records(
    path: Path, rows: Iterator[tuple[int, dict[str, Any], str]], unit: str
) -> _Opened | None:
    first = list(islice(rows, _ROWS_TO_LOOK_AT))
    whole = [record for _, record, problem in first if not problem]
    if first and not whole:
        number, _, problem = first[0]
        raise InputError(f"{path}, {unit} {number}: {problem}")
    if not first:
        return None
    names = dict.fromkeys(name for record in whole for name in record)
    columns = {name: [record.get(name) for record in whole] for name in names}

    def read(names: Sequence[str]) -> Iterator[Row]:
        for number, record, problem in chain(first, rows):
            yield number, () if problem else [record.get(name) for name in names], problem

    return _Opened(str(path), columns, read, unit)


def _open_parquet(path: Path) -> _Opened:
    import pyarrow as pa  # takes long to import
    import pyarrow.parquet as pq

    def read(names: Sequence[str]) -> Iterator[Row]:
        try:
            values = chain.from_iterable(
                zip(*(_values(batch.column(name)) for name in names), strict=True)
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False)
            )
            for number, row in enumerate(values, 1):
                yield number, row, ""
        except (OSError, pa.ArrowException) as error:
            raise _broken_parquet(path, error) from error

    try:
        file = pq.ParquetFile(path)
        first = file.iter_batches(_ROWS_TO_LOOK_AT, use_threads=False)
        found = next(first, pa.RecordBatch.from_pylist([], file.schema_arrow))
    except (OSError, pa.ArrowException) as error:
        raise _broken_parquet(path, error) from error
    # Only whether it is a string is asked for: other columns may hold long lists.
    columns = {name: _values(found.column(name).drop_null()[:1]) for name in found.column_names}
    return _Opened(str(path), columns, read, "row")


def _values(column: Any) -> list[Any]:
    """Gives the values of an Arrow array; what is no UTF-8 becomes lone surrogates."""
    import pyarrow as pa

    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        values = column.cast(pa.large_binary()).to_pylist()
        return [value and value.decode("utf-8", "surrogateescape") for value in values]


def _broken_parquet(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: expected a Parquet file ({error}). Write it again.")


TABLES: dict[str, Callable[[Path], _Opened | None]] = {
    ".csv": _open_csv,
    ".tsv": _open_tsv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".json": _open_json,
    ".parquet": _open_parquet,
}
