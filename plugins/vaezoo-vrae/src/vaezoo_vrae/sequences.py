"""Sequences of numbers from an npz file, a csv file or a folder of csv files.

Shapes: n sequences, T steps, D values per step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

import vaezoo
from vaezoo_vrae.dividing import DividedDataset, DividedSequences, divide
from vaezoo_vrae.polyphonic import to_float
from vaezoo_vrae.proposals import guess_options, propose_series, propose_window
from vaezoo_vrae.ragged import RaggedSequences, ragged_split
from vaezoo_vrae.sequence_files import read_source
from vaezoo_vrae.series_files import Missing, SeriesOptions
from vaezoo_vrae.series_source import SeriesSource, read_series_source, series_spec
from vaezoo_vrae.sources import TABLE_SUFFIXES, Unreadable

_FEWEST_SERIES = 10
"""The number of series of named channels below which each is split along time."""


class Sequences(DividedDataset):
    """Sequences of vectors of the same width, from an npz file or from csv files.

    The npz file contains ``x``: all sequences one after another ``[steps, D]`` with their
    ``lengths`` ``[n]``, or padded ``[n, T, D]``, with or without ``lengths``; and optionally
    ``mask`` ``[steps]`` or ``[n, T]``, which is 0 at steps that are not observed, and
    ``condition`` ``[n]``, labels counted from 0. What is hidden may be NaN and has no influence.

    In a folder each csv file is a sequence with one row per step; a header is skipped, and files
    in sub-folders are labelled with the name of the sub-folder. Sub-folders train, validation and
    test are the splits, each with its own sub-folders of classes.

    Series of named channels, such as those of sensors, are read by name: with ``time``,
    ``columns`` or ``missing: hide``, or from a single csv file, each file needs a header. Outputs
    of the model then have these names and their units, and commands read files of this kind.

    Values are standardized with the mean and standard deviation of the observed steps of the
    training split, which are stored with the model, unless all values are 0 or 1.

    Args:
        path: the npz file (``x`` [steps, D] with ``lengths`` [n], or ``x`` [n, T, D]; labels
            ``condition`` [n]), the csv file, or the folder (one csv file per sequence, one
            subfolder per class); a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
        time: the column of times, which is not modelled: it names the steps. Times are numbers or
            dates, each later than the one before.
        time_format: the format of dates as Python's ``strptime`` has it, such as
            ``%d.%m.%Y %H:%M``; empty for dates such as ``2024-05-31 13:00:00``.
        columns: the columns that are modelled, the channels; empty for all others than ``time``.
        missing: what to do with a cell without a value (empty, NA, NaN): ``error`` reports it,
            ``hide`` hides it from encoder and likelihood, so that it has no influence.
        units: the units of channels, such as ``{temperature: °C}``; by default what stands in
            brackets at the end of their names.
        window: cut sequences into windows of this many steps, the last of which may be shorter; 0
            keeps them in full.
        stride: number of steps between the starts of two windows; 0 means ``window``.
        standardise: scale each column to mean 0 and standard deviation 1.
        fractions: the fractions of train, validation and test: of the sequences, or of the time of
            each where there are one or two, or fewer than ten series of named channels; not used
            for splits that have a folder.
        split_seed: seed of the assignment of sequences to splits.
        unreadable: what to do with a csv file that cannot be read: ``error`` reports it, ``skip``
            leaves it out and counts it.
    """

    def __init__(
        self,
        *,
        path: vaezoo.DataPath,
        time: str = "",
        time_format: str = "",
        columns: Sequence[str] = (),
        missing: Missing = "error",
        units: dict[str, str] | None = None,
        window: Annotated[int, Ge(0)] = 0,
        stride: Annotated[int, Ge(0)] = 0,
        standardise: bool = True,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        unreadable: Unreadable = "error",
    ) -> None:
        if stride and not window:
            raise ValueError("stride needs window: set window too")
        if time and time in columns:
            raise ValueError(f"column {time!r} is the time; leave it out of columns")
        if time_format and not time:
            raise ValueError("time_format needs time, the column of times")
        self.options = SeriesOptions(time, time_format, tuple(columns), missing)
        self.units = units or {}
        self.path, self.window, self.stride, self.standardise = (
            path,
            window,
            stride or window,
            standardise,
        )
        self.fractions, self.split_seed = fractions, split_seed
        self.unreadable = unreadable

    @classmethod
    def propose(cls, path: Path) -> vaezoo.Proposal:
        """A spec for files of this kind."""
        options = guess_options(path)
        source: dict[str, Any] = {"path": str(path), **(options or {})}
        if path.is_dir():
            source["unreadable"] = "skip"
        if options is not None:
            source |= propose_window(cls(**source).divided.longest)
        return propose_series(source, cls(**source), is_named=options is not None)

    @cached_property
    def source(self) -> SeriesSource | None:
        """The series of named channels; None for sequences without names.

        Raises:
            vaezoo.DataError: options of csv files are given for another file.
        """
        path, options = vaezoo.find_data(self.path), self.options
        is_table = path.suffix.lower() in TABLE_SUFFIXES
        is_named = options != SeriesOptions(missing="error") or bool(self.units)
        if not path.is_dir() and not is_table:
            if is_named:
                raise vaezoo.DataError(
                    f"{path}: time, columns, missing and units are options of csv files"
                )
            return None
        if not is_named and not is_table:
            return None
        return read_series_source(
            path,
            options,
            fractions=self.fractions,
            split_seed=self.split_seed,
            unreadable=self.unreadable,
        )

    @cached_property
    def divided(self) -> DividedSequences:
        """The sequences of the splits."""
        path, source = vaezoo.find_data(self.path), self.source
        given = (
            read_source(path, self.fractions, self.split_seed, self.unreadable)
            if source is None
            else source.divided
        )
        return divide(
            given,
            self.fractions,
            self.split_seed,
            source=str(path),
            window=self.window,
            stride=self.stride,
            fewest=3 if source is None else _FEWEST_SERIES,
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """The longest length of all splits; values are standardized with the training split."""
        if self.source is None:
            return sequence_spec(self.divided.splits, self.standardise)
        reading = asdict(self.options) | {
            "columns": list(self.source.channels),
            "window": self.window,
            "stride": self.stride,
            "decimals": list(self.source.decimals),
        }
        return series_spec(
            self.source,
            self.divided.splits,
            standardise=self.standardise,
            units=self.units,
            reading=reading,
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        data = self.divided.splits[name]
        observed = data.observed or [np.array(True)] * len(data.sequences)
        stored = [
            np.where(shown if shown.ndim == 2 else shown[..., None], self._model_input(values), 0)
            for values, shown in zip(data.sequences, observed, strict=True)
        ]
        split = ragged_split(replace(data, sequences=stored), self.spec.shape[0], to_float)
        return split if self.source is None else self.source.name_split(split, data)

    def _model_input(self, values: np.ndarray) -> np.ndarray:
        """Values ``[T, D]`` of the source, standardised: uint8 if they are binary, or float32."""
        if self.spec.support == "binary":
            return np.nan_to_num(values).astype(np.uint8)
        # a mean may be large in comparison with the deviation, such as that of times in seconds
        exact = torch.from_numpy(values.astype(np.float64))
        return self.spec.from_source_units(exact).float().numpy()


def sequence_spec(splits: Mapping[str, RaggedSequences], standardize: bool) -> vaezoo.DataSpec:
    """The spec of sequences; ``standardize`` scales non-binary values by the training split."""
    sequences = [sequence for split in splits.values() for sequence in split.sequences]
    is_binary = all(bool(np.isin(sequence, (0, 1)).all()) for sequence in sequences)
    train = splits["train"].observed_steps()  # [steps, D]
    mean, scale = vaezoo.mean_and_scale(train)
    fields = tuple(
        vaezoo.Field(str(i), "numeric", (i, i + 1), offset=float(mean[i]), scale=float(scale[i]))
        for i in range(train.shape[1])
    )
    classes = splits["train"].classes
    return vaezoo.DataSpec(
        (max(len(sequence) for sequence in sequences), train.shape[1]),
        "binary" if is_binary else "real",
        levels=2 if is_binary else 0,
        variable_length=True,
        mask_dims=1,
        classes=classes,
        condition_shape=() if classes else None,
        fields=fields if standardize and not is_binary else (),
    )
