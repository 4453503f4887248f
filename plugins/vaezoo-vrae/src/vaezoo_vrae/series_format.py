"""Csv files of time series with named channels, read as the data set ``sequences`` reads them.

Shapes: n windows of at most T steps, D channels.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from pydantic import TypeAdapter, ValidationError

import vaezoo
from vaezoo_vrae.dividing import window_starts
from vaezoo_vrae.series_files import Missing, SeriesOptions, TimeSeries, read_header, read_series

_INDEX = ["example", "step"]
"""The first columns of a file with several examples."""
_DIGITS = 6
"""How many digits of a value count beyond those of the standard deviation of its channel."""


@dataclass(frozen=True)
class _Window:
    """A window of a file: its first row, counted from 0, and its values, NaN where missing."""

    start: int
    values: np.ndarray


@dataclass(frozen=True)
class _Reading:
    """How files are read, as it is kept with the weights: see ``sequences``."""

    window: Annotated[int, Ge(0)]
    stride: Annotated[int, Ge(0)]
    decimals: tuple[int | None, ...]
    time: str
    time_format: str
    missing: Missing


def _check_reading(facts: Any) -> _Reading:
    """What was kept; raises ValueError if it is damaged."""
    try:
        return TypeAdapter(_Reading).validate_json(json.dumps(facts, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"the facts of the series are damaged: {place}: {first['msg']}") from None


class SeriesCsv(vaezoo.Format):
    """Series in the columns and units of the files that a model was trained on.

    Files are cut into windows as in training. Columns are found by name, and others are not used;
    the column of times may be missing. A file may also hold several series, with the columns
    ``example`` and ``step`` before the channels, as ``vaezoo sample`` writes them.
    """

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        facts = data.facts.get("vaezoo-vrae", {}).get("series")
        if facts is None:
            raise ValueError("these examples are no series of named channels")
        reading = _check_reading(facts)
        self.channels = tuple(field.name for field in data.fields)
        if len(reading.decimals) != len(self.channels):
            raise ValueError("the facts of the series are damaged: decimals of other channels")
        self.window, self.stride, self.decimals = reading.window, reading.stride, reading.decimals
        self.options = SeriesOptions(
            reading.time, reading.time_format, self.channels, reading.missing
        )

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes series ``[n, T, D]``; of several, each has its number in a column ``example``."""
        sequences = examples.sequences()
        index = _INDEX if len(sequences) > 1 else _INDEX[1:]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*index, *self.channels])
            for i, sequence in enumerate(sequences):
                for t, values in enumerate(sequence.tolist()):
                    cells = [self._text(value, d) for d, value in enumerate(values)]
                    writer.writerow([*[i, t][-len(index) :], *cells])

    def _text(self, value: float, channel: int) -> str:
        """A value with as many digits as its channel has, and as float32 tells."""
        scale, decimals = abs(self.data.fields[channel].scale), self.decimals[channel]
        most = _DIGITS - math.floor(math.log10(scale))
        return f"{round(value, most if decimals is None else min(most, decimals)):.15g}"

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads the windows of a file, without those in which nothing is observed."""
        return self.read_named(path).batch

    def read_named(self, path: Path) -> vaezoo.NamedBatch:
        """Reads windows, each with the row in which it starts, counted from 0, and its time."""
        series, windows = self._windows(path)
        rows = series.rows(self.options.time)
        starts = [window.start for window in windows]
        names = {name: [cells[start] for start in starts] for name, cells in rows.items()}
        return vaezoo.NamedBatch(self._batch(windows), names, vaezoo.FileSteps(starts, rows))

    def read_incomplete(self, path: Path) -> vaezoo.Batch:
        """Reads windows that do not overlap, with those in which nothing is observed.

        Raises:
            vaezoo.DataError: no cell is missing.
        """
        return self._batch(self._incomplete(path))

    def _incomplete(self, path: Path) -> list[_Window]:
        if self.options.missing == "error":
            raise vaezoo.DataError(
                f"{path}: this model was trained without missing cells, and cannot fill them; "
                "train it with missing: hide"
            )
        series, windows = self._windows(path, fills=True)
        if not np.isnan(series.values).any():
            raise vaezoo.DataError(f"{path}: nothing is missing")
        return windows

    def lengths(self, path: Path) -> Sequence[int]:
        """The number of rows of each window; the last one of a series may have fewer."""
        return [len(window.values) for window in self._incomplete(path)]

    def completes(self, source: Path) -> bool:
        """Whether it is a csv file of channels."""
        return source.suffix.lower() == ".csv"

    def write_completed(self, path: Path, source: Path, examples: vaezoo.Batch) -> None:
        """Writes the rows of a file with values in the cells that had none."""
        data = source.read_bytes()
        text, has_mark = data.decode("utf-8-sig"), data.startswith(codecs.BOM_UTF8)
        delimiter = _delimiter(text, read_header(source)[0])
        every = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        names, *rows = (row for row in every if row)  # as `read_header` counts them
        places = [[cell.strip() for cell in names].index(name) for name in self.channels]
        for window, x in zip(self._incomplete(source), examples.x.tolist(), strict=True):
            for t, d in np.argwhere(np.isnan(window.values)).tolist():
                rows[window.start + t][places[d]] = self._text(x[t][d], d)
        encoding, end = "utf-8-sig" if has_mark else "utf-8", "\r\n" if "\r\n" in text else "\n"
        with open(path, "w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(every)

    def read_prefixes(self, path: Path) -> vaezoo.Batch:
        """Reads the beginnings of series, in full."""
        series = self._series(path)
        spans = _examples(path, len(series.values))
        return self._batch([_Window(span.start, series.values[span]) for span in spans])

    def _series(self, path: Path) -> TimeSeries:
        return read_series(path, self.options, needs_time=False)

    def _windows(self, path: Path, *, fills: bool = False) -> tuple[TimeSeries, list[_Window]]:
        """The series of a file, and its windows.

        Args:
            path: the file.
            fills: whether windows cover each row once, also where nothing is observed.
        """
        series, windows = self._series(path), []
        for span in _examples(path, len(series.values)):
            steps = span.stop - span.start
            window = self.window or steps
            stride = window if fills or not self.window else self.stride
            for start in window_starts(steps, window, stride):
                first = span.start + start
                values = series.values[first : min(first + window, span.stop)]
                if fills or not np.isnan(values).all():
                    windows.append(_Window(first, values))
        if not windows:
            raise vaezoo.DataError(f"{path}: no cell of the channels has a value")
        return series, windows

    def _batch(self, windows: Sequence[_Window]) -> vaezoo.Batch:
        """Windows as one batch ``[n, T, D]``, padded at their ends."""
        longest = max(len(window.values) for window in windows)
        x = np.full((len(windows), longest, len(self.channels)), np.nan)
        for row, window in zip(x, windows, strict=True):
            row[: len(window.values)] = window.values
        mask = torch.from_numpy(~np.isnan(x))  # [n, T, D]
        mask = mask if self.data.mask_dims == 2 else mask.any(-1)
        return vaezoo.Batch(torch.from_numpy(np.nan_to_num(x)), None, mask)


def _delimiter(text: str, names: Sequence[str]) -> str:
    """The character between the cells of a csv file that has these names in its first row."""
    for delimiter in ",;\t|":
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        if [cell.strip() for cell in next(row for row in rows if row)] == [*names]:
            return delimiter
    raise ValueError(f"no delimiter divides the names {', '.join(names)}")


def _examples(path: Path, steps: int) -> Iterator[slice]:
    """The rows of each example of a file; all of them if it has no column ``example``."""
    names, rows = read_header(path)
    if names[:2] != _INDEX:
        yield slice(0, steps)
        return
    numbers = [row[0] for _, row in rows]
    ends = [i for i in range(1, steps) if numbers[i] != numbers[i - 1]]
    for start, stop in zip([0, *ends], [*ends, steps], strict=True):
        yield slice(start, stop)
