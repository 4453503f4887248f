"""Time series of named channels from csv files, with the times of their steps beside them.

Shapes: T steps (the rows of a file), D channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

import vaezoo

Missing: TypeAlias = Literal["error", "hide"]
"""What to do with a cell that has no value."""
_MAX_NUMBER = float(np.finfo(np.float32).max)
_TOLERANCE = 0.05
"""The relative deviation of a step from the typical one that counts as regular."""


@dataclass(frozen=True)
class SeriesOptions:
    """How the columns of a file are read.

    Attributes:
        time: the name of the column of times; empty if there is none.
        time_format: the format of times, as ``datetime.strptime`` has it; empty for numbers and
            dates such as ``2024-05-31 13:00:00``.
        columns: the names of the channels; empty for all columns but that of times.
        missing: whether a cell without a value is an error or hidden.
    """

    time: str = ""
    time_format: str = ""
    columns: tuple[str, ...] = ()
    missing: Missing = "hide"


@dataclass(frozen=True)
class TimeSeries:
    """The series of one file.

    Attributes:
        channels: the names of the channels.
        values: float64 ``[T, D]``; NaN where there is no value.
        times: the times as they stand in the file; empty if it has none.
        seconds: the times as numbers, ``[T]``: seconds if they are dates.
        are_dates: whether the times are dates.
        unused: the names of the other columns.
        decimals: for each channel, the greatest number of digits after the decimal point; None if
            numbers have an exponent.
    """

    channels: tuple[str, ...]
    values: np.ndarray
    times: tuple[str, ...]
    seconds: np.ndarray
    are_dates: bool
    unused: tuple[str, ...]
    decimals: tuple[int | None, ...]

    @property
    def intervals(self) -> np.ndarray:
        """The distances of successive steps in time, ``[T - 1]``."""
        return np.diff(self.seconds)

    def rows(self, time: str) -> dict[str, list[Any]]:
        """The number of each row, from 0, and its time in the file.

        Args:
            time: the name of the column of times; empty if there is none.
        """
        rows: dict[str, list[Any]] = {"row": list(range(len(self.values)))}
        if time:
            rows[time] = list(self.times) or [""] * len(self.values)
        return rows


def read_series(path: Path, options: SeriesOptions, *, needs_time: bool = True) -> TimeSeries:
    """Reads a csv file with a header and a row for each step.

    Args:
        path: the file.
        options: which columns are read, and how.
        needs_time: whether the column of times must be there.

    Raises:
        vaezoo.DataError: a column or a value is missing, a cell is no number, or the times are not
            in order; names the line.
    """
    names, rows = read_header(path)
    time = options.time if needs_time or options.time in names else ""
    channels = options.columns or tuple(name for name in names if name != time)
    places = [_place(name, names, path) for name in channels]
    values = np.array(
        [
            [_number(row[place], f"{path}:{line}: column {names[place]!r}", options.missing)
             for place in places]
            for line, row in rows
        ]
    )  # fmt: skip
    times, seconds, are_dates = (), np.zeros(0), False
    if time:
        place = _place(time, names, path)
        times = tuple(row[place].strip() for _, row in rows)
        lines = [line for line, _ in rows]
        seconds, are_dates = _seconds(times, lines, options.time_format, path)
    unused = tuple(name for name in names if name not in (*channels, time))
    decimals = tuple(_decimals([row[place] for _, row in rows]) for place in places)
    return TimeSeries(channels, values, times, seconds, are_dates, unused, decimals)


def read_header(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns of a csv file, and its rows with the lines in which they begin.

    Raises:
        vaezoo.DataError: it has no rows below a header, or a row of another length.
    """
    rows = vaezoo.read_rows(path)
    if len(rows) < 2:
        raise vaezoo.DataError(f"{path}: has no rows below a header")
    names = [cell.strip() for cell in rows[0][1]]
    for line, row in rows:
        if len(row) != len(names):
            raise vaezoo.DataError(f"{path}:{line}: has {len(row)} cells, expected {len(names)}")
    if all(is_number(name) for name in names):
        raise vaezoo.DataError(f"{path}: needs a header with the names of the columns")
    return names, rows[1:]


def _place(name: str, names: Sequence[str], path: Path) -> int:
    """Where a column is; raises DataError if there is none of that name, or several."""
    if names.count(name) != 1:
        problem = "two columns" if name in names else "no column"
        raise vaezoo.DataError(f"{path}: has {problem} {name!r}; it has {', '.join(names)}")
    return names.index(name)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number; an empty one does not."""
    try:
        return not math.isnan(vaezoo.parse_number(cell))
    except ValueError:
        return False


def _number(cell: str, place: str, missing: Missing) -> float:
    """A cell as a number, NaN if it has no value.

    Raises:
        DataError: it is no number that is finite as float32, or has no value and must have one.
    """
    try:
        value = vaezoo.parse_number(cell)
    except ValueError as error:
        hint = "; choose the channels with the option columns"
        raise vaezoo.DataError(f"{place}: {cell!r} {error}{hint}") from None
    if math.isnan(value):
        if missing == "error":
            raise vaezoo.DataError(f"{place} has no value; a model trained with missing: hide can")
        return value
    if abs(value) > _MAX_NUMBER:
        raise vaezoo.DataError(f"{place}: {cell!r} is not a finite number")
    return value


def _decimals(cells: Sequence[str]) -> int | None:
    """The greatest number of digits after the decimal point; None if one has an exponent."""
    numbers = [cell for cell in cells if is_number(cell)]
    if any("e" in cell or "E" in cell for cell in numbers):
        return None
    return max((len(cell.strip().partition(".")[2]) for cell in numbers), default=0)


def _seconds(
    times: Sequence[str], lines: Sequence[int], time_format: str, path: Path
) -> tuple[np.ndarray, bool]:
    """The times as numbers ``[T]``, and whether they are dates.

    Raises:
        DataError: one cannot be read, or does not come after the one before.
    """
    are_dates = bool(time_format) or not is_number(times[0])
    seconds = np.empty(len(times))
    for i, (line, cell) in enumerate(zip(lines, times, strict=True)):
        try:
            seconds[i] = parse_date(cell, time_format) if are_dates else float(cell)
        except ValueError:
            wanted = "a number"
            if are_dates:
                wanted = f"of the format {time_format or '2024-05-31 13:00:00 (set time_format)'}"
            raise vaezoo.DataError(f"{path}:{line}: time {cell!r} is not {wanted}") from None
        if i and not seconds[i] > seconds[i - 1]:
            raise vaezoo.DataError(
                f"{path}:{line}: time {cell!r} does not come after {times[i - 1]!r}; sort the "
                "rows, and keep one of those with the same time"
            )
    return seconds, are_dates


def parse_date(cell: str, time_format: str = "") -> float:
    """A date in seconds since 1970; without a time zone it is taken as UTC.

    Raises:
        ValueError: it is none of this format.
    """
    date = datetime.strptime(cell, time_format) if time_format else datetime.fromisoformat(cell)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def typical_interval(intervals: Sequence[np.ndarray]) -> float | None:
    """The median distance of steps, of all files; None if more than a tenth differ from it."""
    every = np.concatenate([np.zeros(0), *intervals])
    if not len(every):
        return None
    median = float(np.median(every))
    return median if _deviates(every, median).mean() <= 0.1 else None


def is_irregular(intervals: np.ndarray) -> bool:
    """Whether some steps of a file are longer or shorter than its median one."""
    return bool(len(intervals) and _deviates(intervals, float(np.median(intervals))).any())


def _deviates(intervals: np.ndarray, median: float) -> np.ndarray:
    """Which distances differ from the median by more than rounding, bool ``[n]``."""
    return np.abs(intervals - median) > _TOLERANCE * median


def unit_of(name: str) -> str:
    """The unit in the name of a column: what stands in brackets at its end, as in ``T [°C]``."""
    for opening, closing in ("[]", "()"):
        if name.endswith(closing) and opening in name:
            return name[name.rindex(opening) + 1 : -1].strip()
    return ""
