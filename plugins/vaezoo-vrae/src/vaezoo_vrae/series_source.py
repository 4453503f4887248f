"""All series of a csv file or a folder of them, and what describes their channels and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import vaezoo
from vaezoo_vrae.dividing import DividedSequences
from vaezoo_vrae.ragged import Origin, RaggedSequences
from vaezoo_vrae.sequence_files import read_folder
from vaezoo_vrae.series_files import (
    SeriesOptions,
    TimeSeries,
    is_irregular,
    read_series,
    typical_interval,
    unit_of,
)
from vaezoo_vrae.sources import ALL, Unreadable


@dataclass(frozen=True)
class SeriesSource:
    """Series that are read.

    Attributes:
        divided: the series by split.
        channels: the names of the channels.
        decimals: the digits that each channel has after the decimal point; None for any number.
        step: the times of steps; None if there are none, or if they are irregular.
        rows: the number of each row of a file, and its time, by the name of the file.
    """

    divided: DividedSequences
    channels: tuple[str, ...]
    decimals: tuple[int | None, ...]
    step: vaezoo.Field | None
    rows: Mapping[str, Mapping[str, Sequence[Any]]]

    def name_split(self, split: vaezoo.Split, data: RaggedSequences) -> vaezoo.Split:
        """The split with the names of its sequences and of their steps.

        Args:
            split: the split.
            data: its sequences, those of a file one after another.
        """
        origins = data.origins or []
        places = [(self.rows[origin.file], origin.start) for origin in origins]
        names = {"file": [origin.file for origin in origins]}
        first_row, _ = places[0]
        names |= {column: [rows[column][start] for rows, start in places] for column in first_row}
        steps, pairs = [], zip(origins, data.sequences, strict=True)
        for file, of_file in groupby(pairs, key=lambda pair: pair[0].file):
            spans = [(origin.start, origin.start + len(x)) for origin, x in of_file]
            first, stop = spans[0][0], max(end for _, end in spans)
            of_steps = {column: cells[first:stop] for column, cells in self.rows[file].items()}
            starts = [start - first for start, _ in spans]
            title = {"file": [file] * (stop - first)}
            steps.append(vaezoo.FileSteps(starts, title | of_steps))
        return replace(split, names=names, steps=steps)


def read_series_source(
    path: Path,
    options: SeriesOptions,
    *,
    fractions: Sequence[float],
    split_seed: int,
    unreadable: Unreadable,
) -> SeriesSource:
    """Reads the series of a csv file, or of a folder of them.

    Without ``options.columns`` the channels are those of the first file.

    Args:
        path: the file or the folder.
        options: which columns are read, and how.
        fractions, split_seed, unreadable: as for ``read_source``.

    Raises:
        vaezoo.DataError: they cannot be read; names the file and the line.
    """
    read: dict[Path, TimeSeries] = {}

    def read_one(file: Path) -> np.ndarray:
        known = next(iter(read.values()), None)
        columns = options.columns or (known.channels if known else ())
        read[file] = read_series(file, replace(options, columns=columns))
        return read[file].values

    if path.is_dir():
        divided = read_folder(path, read_one, fractions, split_seed, unreadable)
    else:
        only = RaggedSequences([read_one(path)], origins=[Origin(path.name)])
        divided = DividedSequences({ALL: only})
    first = next(iter(read.values()))
    unused = dict.fromkeys(name for series in read.values() for name in series.unused)
    one, many = "column that is not used", "columns that are not used"
    left_out = (*divided.left_out, *vaezoo.count_phrase([*unused], one, many))
    if options.missing == "hide":
        divided = replace(divided, splits=_with_cells(divided.splits))
    divided = replace(divided, left_out=left_out, notes=(*divided.notes, *_irregular(read, path)))
    rows = {_title(file, path): series.rows(options.time) for file, series in read.items()}
    step = _step(options.time, list(read.values()))
    decimals = [_most(each) for each in zip(*(s.decimals for s in read.values()), strict=True)]
    return SeriesSource(divided, first.channels, tuple(decimals), step, rows)


def _most(decimals: Sequence[int | None]) -> int | None:
    """The most digits that a channel has in any file; None if there may be any number."""
    known = [each for each in decimals if each is not None]
    return max(known) if len(known) == len(decimals) else None


def _with_cells(splits: Mapping[str, RaggedSequences]) -> dict[str, RaggedSequences]:
    """The series of each split, with the cells that have a value."""
    return {
        name: replace(split, observed=[np.isfinite(values) for values in split.sequences])
        for name, split in splits.items()
    }


def _title(file: Path, root: Path) -> str:
    """What a file is called in results, given the file or folder of the data set."""
    return file.name if file == root else file.relative_to(root).as_posix()


def _irregular(read: Mapping[Path, TimeSeries], root: Path) -> list[str]:
    """A phrase of the files whose steps are not equally long."""
    files = [_title(file, root) for file, each in read.items() if is_irregular(each.intervals)]
    what = "whose steps are not equally long; they are modelled as if they were"
    return list(vaezoo.count_phrase(files, f"file {what}", f"files {what}"))


def _step(time: str, series: Sequence[TimeSeries]) -> vaezoo.Field | None:
    """The times of steps, if there are any and they are regular."""
    interval = typical_interval([each.intervals for each in series])
    if interval is None:
        return None
    unit = "s" if series[0].are_dates else unit_of(time)
    return vaezoo.Field(time, "numeric", (0, 1), unit=unit, scale=interval)


def series_spec(
    source: SeriesSource,
    splits: Mapping[str, RaggedSequences],
    *,
    standardise: bool,
    units: Mapping[str, str],
    reading: Mapping[str, Any],
) -> vaezoo.DataSpec:
    """Describes windows of the series, standardised with the cells of the training split.

    Args:
        source: the series.
        splits: their windows.
        standardise: whether channels that are not all 0 or 1 are standardised.
        units: the units of channels by name.
        reading: how files are read, for the format ``csv``.

    Raises:
        vaezoo.DataError: a channel has no value in training, or a unit is of no channel.
    """
    channels = source.channels
    for name in units:
        if name not in channels:
            raise vaezoo.DataError(f"units: no channel {name!r}; they are {', '.join(channels)}")
    train = splits["train"].observed_steps()  # [steps, D]
    empty = np.isnan(train).all(0)
    if empty.any():
        name = channels[int(empty.argmax())]
        raise vaezoo.DataError(
            f"channel {name!r} has no value in the training split; leave it out of columns"
        )
    every = np.concatenate([split.observed_steps() for split in splits.values()])
    is_binary = bool(np.isin(every[~np.isnan(every)], (0, 1)).all())
    mean, scale = vaezoo.mean_and_scale(train)
    if is_binary or not standardise:
        mean, scale = np.zeros(len(channels)), np.ones(len(channels))
    classes = splits["train"].classes
    longest = max(len(each) for split in splits.values() for each in split.sequences)
    return vaezoo.DataSpec(
        (longest, len(channels)),
        "binary" if is_binary else "real",
        levels=2 if is_binary else 0,
        variable_length=True,
        mask_dims=1 if splits["train"].observed is None else 2,
        classes=classes,
        condition_shape=() if classes else None,
        fields=tuple(
            vaezoo.Field(
                name,
                "numeric",
                (i, i + 1),
                unit=units.get(name, unit_of(name)),
                offset=float(mean[i]),
                scale=float(scale[i]),
            )
            for i, name in enumerate(channels)
        ),
        facts={"vaezoo-vrae": {"series": reading}},
        step=source.step,
    )
