"""One data file to raw columns, each row with its place in the file."""

from __future__ import annotations

import csv
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

FASTTEXT_LABEL = re.compile(r"(?<!\S)__label__(\S+)")
TAB_HEADER_LINES = 3


def file_format(path: Path) -> str:
    """Gives the extension that decides how a file is read.

    Args:
        path: a file, perhaps compressed with gzip.

    Returns:
        Lower-case extension such as ".csv", without a final ".gz".
    """
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


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
        data = gzip.decompress(path.read_bytes()) if _is_gzip(path) else path.read_bytes()
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


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _read_csv(path: Path) -> RawSplit:
    text = _read_text(path)
    header = text.lstrip("\r\n").split("\n", 1)[0]
    # Spreadsheets write ";" where "," is the decimal mark.
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    return _parse_table(path, text, separator, quoted=True)


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
    limit = csv.field_size_limit(len(text) + 1)
    stream = io.StringIO(text, newline="")
    reader = csv.reader(
        stream,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    header: list[str] = []
    rows: list[list[str]] = []
    lines, line = [], 1
    try:
        for row in reader:
            if row and not header:
                header = _check_header(path, row)
            elif row:
                if len(row) != len(header):
                    raise InputError(
                        f"{path}, row {len(rows) + 1} (line {line}): expected {len(header)} "
                        f"fields as in the header, got {len(row)}. Quote fields that hold "
                        f"{separator!r} or a line break."
                    )
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, row {len(rows) + 1} (line {line}): {error}. Put quotation marks around the "
            "whole field and double those inside it."
        ) from error
    finally:
        csv.field_size_limit(limit)
    values = map(list, zip(*rows, strict=True)) if rows else [[] for _ in header]
    columns = dict(zip(header, values, strict=True))
    return RawSplit(str(path), columns, len(rows), lines, untyped=True)


def _check_header(path: Path, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    for name in header:
        if header.count(name) > 1:
            raise InputError(
                f"{path}, line 1: expected a header of different column names, got {name!r} "
                "twice. Rename one, or add a header line if there is none."
            )
    return header


def _read_json(path: Path) -> RawSplit:
    """Gives the columns of an array of objects, or of JSON lines under this extension."""
    text = _read_text(path)
    if not text.lstrip().startswith("["):
        return _parse_json_lines(path, text)
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken_json(f"{path}, line {error.lineno}", error) from error
    for row, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {row}: expected a JSON object, got {record!r}.")
    return _from_records(path, records, None)


def _read_json_lines(path: Path) -> RawSplit:
    return _parse_json_lines(path, _read_text(path))


def _parse_json_lines(path: Path, text: str) -> RawSplit:
    records, lines = [], []
    # Not splitlines: a JSON string may hold other line separators as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise _broken_json(f"{path}, line {number}", error) from error
        if not isinstance(record, dict):
            raise InputError(
                f"{path}, line {number}: expected a JSON object such as "
                f'{{"text": "...", "label": "..."}}, got {record!r}.'
            )
        records.append(record)
        lines.append(number)
    return _from_records(path, records, lines)


def _broken_json(where: str, error: json.JSONDecodeError) -> InputError:
    return InputError(f"{where}: expected JSON, but {error.msg} at column {error.colno}. Mend it.")


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
