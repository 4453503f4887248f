"""Reads csv and parquet files as columns of Arrow."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

import vaezoo
from vaezoo_tabular.csv_output import CsvForm
from vaezoo_tabular.kinds import MISSING_IN_ANY_CASE, clean_text
from vaezoo_tabular.recognition import NUMBER, guess_decimal, guess_separator, looks_like_header
from vaezoo_tabular.source import Source, check_names, checked

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""
_SAMPLE = 2**16
"""The number of bytes from which separator, decimal sign and header are recognised, or more if the
first two lines are longer."""
_RARE_SPACES = (b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x1f")


@dataclass(frozen=True)
class CsvOptions:
    """How a csv file is written; None is recognised from its first lines.

    Attributes:
        separator: the character between cells.
        decimal: the decimal sign of numbers, ``.`` or ``,``.
        header: whether the first row holds the names of the columns.
        encoding: the encoding of the text, such as ``utf-8`` or ``latin-1``.
    """

    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    encoding: str = "utf-8"


def is_table_file(path: Path) -> bool:
    """Whether a file has an ending of a table."""
    return path.name.lower().endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES))


def read_table(path: Path, options: CsvOptions, likely: CsvForm | None = None) -> Source:
    """Reads a csv or a parquet file.

    Args:
        path: the file.
        options: how a csv file is written.
        likely: how it is written where its first lines can be read in several ways.

    Raises:
        vaezoo.DataError: it cannot be read, has no rows, or names two columns alike; names the
            file, and for csv the line.
    """
    if not path.is_file():
        what = "is a folder; name a file in it" if path.is_dir() else "no such file"
        raise vaezoo.DataError(f"{path}: {what}")
    name = path.name.lower()
    if name.endswith(PARQUET_SUFFIXES):
        source = Source(str(path), _read_parquet(path))
    elif name.endswith(CSV_SUFFIXES):
        source = _read_csv(path, options, likely)
    else:
        endings = ", ".join((*CSV_SUFFIXES, *PARQUET_SUFFIXES))
        raise vaezoo.DataError(f"{path}: unknown kind of table; use one of the endings {endings}")
    return checked(source)


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pa.parquet.read_table(path, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise vaezoo.DataError(f"{path}: not a readable parquet file: {reason}") from error
    return table.rename_columns([name.strip() for name in table.column_names])


def _read_csv(path: Path, options: CsvOptions, likely: CsvForm | None) -> Source:
    data, encoding = _text_bytes(path, options.encoding)
    second = data.find(b"\n", data.find(b"\n") + 1)  # of a long header
    sample = data[: max(_SAMPLE, second + 1)].decode("utf-8", "replace")
    separator = options.separator or guess_separator(path, sample, likely)
    rows = _sample_rows(path, sample, separator)
    data_rows = rows if options.header is False else rows[1:]
    decimal = options.decimal or guess_decimal(data_rows, separator, likely)
    header, notes = options.header, []
    if header is None:
        header = looks_like_header(rows)
        first = ", ".join(rows[0][:3]) + (", ..." if len(rows[0]) > 3 else "")
        if header and any(NUMBER.fullmatch(cell) for cell in rows[0]):
            notes.append(
                f"the first row ({first}), which names the columns; if it is data, set "
                "header: false"
            )
        if not header:
            notes.append(
                f"the first row ({first}), which is read as data; if it names the "
                "columns, set header: true"
            )
    if any("\ufffd" in cell for cell in rows[0]):
        _decode(path, data, "utf-8")  # which says the line
    names = rows[0] if header else [f"column{i}" for i in range(1, len(rows[0]) + 1)]
    table = _parse(path, data, separator, names, has_header=header)
    if not _is_clean(data, separator):
        cells = [clean_text(column.combine_chunks()) for column in table.columns]
        table = pa.Table.from_arrays(cells, names=names)
    line_of = _line_finder(path, data, separator, has_header=header)
    form = CsvForm(separator, decimal, header, encoding)
    return Source(str(path), table, form, line_of, tuple(notes))


def _line_finder(
    path: Path, data: bytes, separator: str, *, has_header: bool
) -> Callable[[int], int]:
    """The line of a row, counted from 1; rows are counted from 0, without the header."""

    def find(row: int) -> int:
        rows = _rows_with_lines(path, data.decode(), separator)
        return next(line for i, (line, _) in enumerate(rows) if i == row + has_header)

    return find


def _rows_with_lines(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line in which each row that is not empty begins, and its cells.

    Raises:
        vaezoo.DataError: the text is no csv; names the line.
    """
    reader, line = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        is_open = "unexpected end" in str(error)
        reason = "a quote is not closed" if is_open else f"cannot be read as csv: {error}"
        raise vaezoo.DataError(f"{path}:{line}: {reason}") from error


def _text_bytes(path: Path, encoding: str) -> tuple[bytes, str]:
    """The text of a file in UTF-8, without a byte order mark, and its encoding."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise vaezoo.DataError(f"{path}: cannot be read: {error}") from error
    if data.startswith(b"PK\x03\x04"):
        raise vaezoo.DataError(f"{path}: is a zip archive or a spreadsheet; save it as csv")
    if data.startswith(_UTF_16):
        encoding = "utf-16"
    elif data.startswith(_MARK):
        encoding = "utf-8-sig"
    if encoding not in ("utf-8", "utf-8-sig"):
        data = _decode(path, data, encoding).encode()
    place = data.find(b"\0")
    if place >= 0:
        raise vaezoo.DataError(f"{path}:{_line_of(data, place)}: has a NUL byte; is it text?")
    return data.removeprefix(_MARK), encoding


def _decode(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except LookupError:
        raise vaezoo.DataError(f"{path}: unknown encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        line = _line_of(data, error.start)
        raise vaezoo.DataError(
            f"{path}:{line}: is not text in {encoding}; set encoding, such as latin-1"
        ) from None


def _line_of(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def _sample_rows(path: Path, sample: str, separator: str) -> list[list[str]]:
    """The first rows as text; the last, which may be cut, is left out if there are others."""
    rows, reader = [], csv.reader(io.StringIO(sample, newline=""), delimiter=separator)
    with suppress(csv.Error):  # of a cell that is too long for it: the rows before are enough
        for row in filter(None, reader):
            rows.append([cell.strip() for cell in row])
    if not rows:
        raise vaezoo.DataError(f"{path}: has no rows")
    return rows[:-1] if len(rows) > 2 and len(sample) >= _SAMPLE // 2 else rows


def _is_clean(data: bytes, separator: str) -> bool:
    """Whether no cell has spaces around it; Arrow has then found the missing ones."""
    if not data.isascii():
        return False
    is_edge = np.zeros(256, bool)
    is_edge[list(separator.encode() + b'\n\r"')] = True
    text = np.frombuffer(data, np.uint8)
    if any(each in data for each in _RARE_SPACES):
        return False
    for space in (b" ", b"\t"):
        if space == separator.encode() or space not in data:
            continue
        places = np.flatnonzero(text == ord(space))
        before, after = places[places > 0] - 1, places[places < len(text) - 1] + 1
        if is_edge[text[before]].any() or is_edge[text[after]].any():
            return False
    return data[:1] not in b" \t" and data[-1:] not in b" \t"


def _parse(
    path: Path, data: bytes, separator: str, names: list[str], *, has_header: bool
) -> pa.Table:
    """All columns as text; null where a cell has no value, unless there are spaces around it."""
    check_names(names, str(path))
    if data.count(b'"') % 2:
        raise _fault(path, data, separator, len(names), "a quote is not closed")
    try:
        return pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(column_names=names, skip_rows_after_names=int(has_header)),
            pa.csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in data),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=MISSING_IN_ANY_CASE.to_pylist(),
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        _decode(path, data, "utf-8")  # which says the line
        reason = str(error).splitlines()[0].removeprefix("CSV parse error: ")
        raise _fault(path, data, separator, len(names), reason) from error


def _fault(path: Path, data: bytes, separator: str, width: int, reason: str) -> vaezoo.DataError:
    """What is wrong in a csv file, with its line.

    Args:
        path: the file.
        data: its bytes.
        separator: between cells.
        width: the number of columns.
        reason: what is wrong, if each row by itself is as it should be.
    """
    try:
        for line, row in _rows_with_lines(path, _decode(path, data, "utf-8"), separator):
            if len(row) != width:
                hint = f"; put cells with {separator!r} in quotes" if len(row) > width else ""
                return vaezoo.DataError(
                    f"{path}:{line}: has {len(row)} cells, expected {width}{hint}"
                )
    except vaezoo.DataError as error:
        return error
    return vaezoo.DataError(f"{path}: {reason}")
