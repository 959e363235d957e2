"""One data file to raw columns, each row with its place in the file."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import InputError
from .raw_split import LazyColumns, RawSplit, class_names
from .rows import (
    broken_json,
    check_header,
    file_format,
    is_gzip,
    json_rows,
    separator_of,
    table_rows,
)

FASTTEXT_LABEL = re.compile(r"(?<!\S)__label__(\S+)")
TAB_HEADER_LINES = 3


def read_file(path: Path) -> RawSplit:
    """Gives the raw columns of one data file.

    Args:
        path: a file whose extension is a key of `READERS`; all but Parquet may end in ".gz".

    Returns:
        The columns, with at least one row.

    Raises:
        InputError: the file cannot be read, is empty, broken or of an unknown format.
    """
    reader = READERS.get(file_format(path))
    if reader is None or path.is_dir():
        raise InputError(
            f"Expected a file ending in {', '.join(READERS)} (or .gz), got {str(path)!r}. "
            "Convert it, or load it yourself and pass the data set."
        )
    try:
        split = reader(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}). Check the file.") from error
    if split.num_rows == 0:
        raise InputError(f"{path}: expected rows of data, found none. Add labelled texts.")
    return split


def _read_text(path: Path) -> str:
    """Gives the decoded text of a file, or say at which byte it is not UTF-8."""
    try:
        data = gzip.decompress(path.read_bytes()) if is_gzip(path) else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: expected a complete gzip file ({error}). Fetch or compress it again."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: expected UTF-8, but byte {error.start} (line {line}) is "
            f"0x{data[error.start]:02x}. Convert the file, for instance with "
            f"`iconv -f latin1 -t utf-8`."
        ) from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty. Expected labelled texts.")
    return text


def _read_csv(path: Path) -> RawSplit:
    text = _read_text(path)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    return _parse_table(path, text, separator_of(header), quoted=True)


def _read_tsv(path: Path) -> RawSplit:
    text = _read_text(path)
    try:
        return _parse_table(path, text, "\t", quoted=True)
    except InputError as error:
        # Many TSV files quote nothing and hold quotation marks as ordinary characters.
        if '"' not in text:
            raise
        try:
            return _parse_table(path, text, "\t", quoted=False)
        except InputError:
            raise error from None


def _parse_table(path: Path, text: str, separator: str, *, quoted: bool) -> RawSplit:
    """Gives the columns of separated values; every row must be as wide as the header."""
    lines_of_text = io.StringIO(text, newline="")
    rows = table_rows(lines_of_text, separator, quoted=quoted, longest_field=len(text) + 1)
    header: list[str] = []
    values: list[list[str]] = []
    lines = []
    for line, row, problem in rows:
        if problem:
            raise InputError(f"{path}, row {len(values) + 1} (line {line}): {problem}")
        if not header:
            header = check_header(str(path), row)
        else:
            values.append(row)
            lines.append(line)
    of_columns = map(list, zip(*values, strict=True)) if values else [[] for _ in header]
    columns = dict(zip(header, of_columns, strict=True))
    return RawSplit(str(path), columns, len(values), lines, untyped=True)


def _read_json(path: Path) -> RawSplit:
    """Gives the columns of an array of objects, or of JSON lines under this extension."""
    text = _read_text(path)
    if not text.lstrip().startswith("["):
        return _parse_json_lines(path, text)
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: {broken_json(error)}") from error
    for row, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {row}: expected a JSON object, got {record!r}.")
    return _from_records(path, records, None)


def _read_json_lines(path: Path) -> RawSplit:
    return _parse_json_lines(path, _read_text(path))


def _parse_json_lines(path: Path, text: str) -> RawSplit:
    records, lines = [], []
    for line, record, problem in json_rows(text.split("\n")):
        if problem:
            raise InputError(f"{path}, line {line}: {problem}")
        records.append(record)
        lines.append(line)
    return _from_records(path, records, lines)


def _from_records(path: Path, records: list[dict[str, Any]], lines: list[int] | None) -> RawSplit:
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = LazyColumns(names, lambda name: [record.get(name) for record in records])
    return RawSplit(str(path), columns, len(records), lines)


def _read_parquet(path: Path) -> RawSplit:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except pa.ArrowException as error:
        raise InputError(f"{path}: expected a Parquet file ({error}). Write it again.") from error
    return RawSplit(
        source=str(path),
        columns=LazyColumns(table.column_names, lambda name: table.column(name).to_pylist()),
        num_rows=table.num_rows,
        class_names=class_names(datasets.Features.from_arrow_schema(table.schema)),
    )


def _read_fasttext(path: Path) -> RawSplit:
    """Return text and labels of lines such as "__label__a __label__b some text"."""
    text = _read_text(path)
    if not FASTTEXT_LABEL.search(text):
        raise InputError(
            f"{path}: expected fastText lines such as '__label__NAME some text', found no "
            "'__label__'. For other data use .csv, .tsv, .jsonl or .parquet."
        )
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    columns: dict[str, list[Any]] = {
        "text": [FASTTEXT_LABEL.sub("", line).strip() for _, line in numbered],
        "label": [FASTTEXT_LABEL.findall(line) for _, line in numbered],
    }
    lines = [number for number, _ in numbered]
    return RawSplit(str(path), columns, len(lines), lines, one_label_lists=True)


def read_corpus_file(path: Path) -> RawSplit:
    """Return label and text of one file of a named corpus.

    Args:
        path: three header lines, then label, tab and text on each line, nothing quoted.

    Returns:
        The columns "label" and "text".
    """
    body = path.read_text(encoding="utf-8").split("\n")[TAB_HEADER_LINES:]
    numbered = [(n, line) for n, line in enumerate(body, TAB_HEADER_LINES + 1) if line.strip()]
    pairs = [line.split("\t", 1) for _, line in numbered]
    columns = {"label": [pair[0] for pair in pairs], "text": [pair[1] for pair in pairs]}
    return RawSplit(str(path), columns, len(pairs), [number for number, _ in numbered])


READERS: dict[str, Callable[[Path], RawSplit]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".txt": _read_fasttext,
}
