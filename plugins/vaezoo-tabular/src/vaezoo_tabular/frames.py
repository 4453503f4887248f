"""Data frames of pandas, polars, pyarrow and other libraries that narwhals knows."""

from __future__ import annotations

import hashlib
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.source import Source, check_names, checked

FRAME = "data frame"


def is_frame(data: Any) -> bool:
    """Whether it is a data frame that ``read_frame`` takes."""
    if nw.dependencies.is_pandas_dataframe(data):  # narwhals refuses names that occur twice
        return True
    return nw.from_native(data, eager_only=True, pass_through=True) is not data


def read_frame(frame: Any) -> Source:
    """Takes a data frame; the index of one of pandas is no column.

    Raises:
        vaezoo.DataError: a column holds values of several types, or has the name of another, or
            there are no rows.
    """
    try:
        if nw.dependencies.is_pandas_dataframe(frame):
            check_names([str(name) for name in frame.columns], FRAME)
            table = pa.Table.from_pandas(frame, preserve_index=False)
        else:
            table = nw.from_native(frame, eager_only=True).to_arrow()
    except (pa.ArrowException, nw.exceptions.NarwhalsError, TypeError, ValueError) as error:
        raise vaezoo.DataError(f"{FRAME}: cannot be read: {_first_line(error)}") from error
    table = table.rename_columns([str(name).strip() for name in table.column_names])
    return checked(Source(FRAME, table))


def fingerprint(source: Source) -> vaezoo.Fingerprint:
    """A hash of the names, the types and the cells of a data frame."""
    arrays = {}
    for place, name in enumerate(source.table.column_names):
        cells = source.table[name].combine_chunks()
        key = f"{place} {name} {cells.type}"
        if pa.types.is_string(cells.type):
            encoded = cells.dictionary_encode()
            texts = "\0".join(encoded.dictionary.to_pylist())
            key += f" {hashlib.sha256(texts.encode()).hexdigest()}"
            cells = encoded.indices
        elif not pa.types.is_floating(cells.type):
            cells = cells.cast(pa.int64() if _has_times(cells.type) else cells.type)
        arrays[f"{key} missing"] = np.asarray(cells.is_null())
        zero = pa.scalar(0).cast(cells.type)
        arrays[key] = pc.fill_null(cells, zero).to_numpy(zero_copy_only=False)
    return vaezoo.Fingerprint.of(arrays)


def _has_times(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date64(kind)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
