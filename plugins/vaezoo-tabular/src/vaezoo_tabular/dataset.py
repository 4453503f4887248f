"""The data set of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from annotated_types import Gt, Len

import vaezoo
from vaezoo_tabular.columns import Column, to_values
from vaezoo_tabular.files import CsvOptions, is_table_file, read_table
from vaezoo_tabular.fitting import FitOptions, fit_columns, untrained
from vaezoo_tabular.formats import TableCsv
from vaezoo_tabular.frames import FRAME, fingerprint, is_frame, read_frame
from vaezoo_tabular.kinds import Kind
from vaezoo_tabular.loading import (
    Loaded,
    Unseen,
    join_tables,
    without_missing,
)
from vaezoo_tabular.proposal import propose
from vaezoo_tabular.source import Source

Missing = Literal["model", "error", "drop"]
Count = Annotated[int, Gt(0)]
_NAMED = 3
"""How many of the rows that are left out have their lines looked up."""


class Table(vaezoo.InMemoryDataset):
    """A csv or parquet file, or a data frame, with one example per row.

    What each column holds is found out and shown before training: numbers, whole numbers,
    categories, truth values and dates are modelled; columns that name the rows are kept beside
    them, and constant ones are written again. Missing cells are modelled: such a column has an
    indicator beside its value. Cells of csv files are missing if they are empty, NA, N/A, NaN,
    null, none or ?.

    ``x`` holds the modelled columns in the order of the table: standardised numbers, and indices
    of categories. Files of samples have the names, units and categories of the table.

    Args:
        path: the file, .csv, .tsv, .txt, .parquet, or csv compressed by gzip (.csv.gz); a relative
            path is looked up in the working directory, then in ``VAEZOO_DATA``. None if Python
            gives a data frame: ``vaezoo.run(spec, data=frame)``.
        test: a file of the test rows; by default they are a part of the table.
        kinds: what some columns hold, by name: numeric, integer, count, categorical, boolean or
            datetime; identifier or ignore if they are not modelled.
        dates: the formats of dates in text by column, such as ``%d.%m.%Y``.
        condition: a column of class labels, which is not part of ``x``. Missing cells are unknown
            labels, unless ``missing`` is ``drop``.
        factors: columns of ground-truth factors, for scores of disentanglement, which are not part
            of ``x``. Numbers with more than 64 different values are cut into 20 bins.
        missing: whether missing cells are modelled, refused, or their rows dropped.
        unseen: of the files that a trained model reads: whether columns that they lack, and
            categories that no training row has, are refused, or count as missing cells where
            training rows have some.
        max_categories: the most categories of a column.
        rare: categories of a column that have fewer training rows become one category, (other).
        max_values: each different number of a column has a probability of its own, unless there
            are more of them; then only numbers of .2 % of the training rows have one, and all
            others lie in ``bins`` with equally many training rows.
        bins: the number of bins. Within a bin numbers are distributed as the training rows are.
        separator: between the cells of a csv file; by default it is recognised.
        decimal: the decimal sign of a csv file; by default it is recognised.
        header: whether the first line of a csv file has the names of its columns; by default this
            is recognised.
        encoding: of a csv file, such as ``utf-8`` or ``cp1252``.
        fractions: the shares of train, validation and test.
        split_seed: decides which row belongs to which split.
    """

    def __init__(
        self,
        *,
        path: vaezoo.DataPath | None = None,
        test: vaezoo.DataPath | None = None,
        kinds: dict[str, Kind] | None = None,
        dates: dict[str, str] | None = None,
        condition: str | None = None,
        factors: Sequence[str] = (),
        missing: Missing = "model",
        unseen: Unseen = "error",
        max_categories: Count = 256,
        rare: Count = 1,
        max_values: Count = 256,
        bins: Count = 128,
        separator: Annotated[str, Len(1, 1)] | None = None,
        decimal: Literal[".", ","] | None = None,
        header: bool | None = None,
        encoding: str = "utf-8",
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.test, self.condition = path, test, condition
        self.missing, self.unseen = missing, unseen
        self.fractions, self.split_seed, self.factors = fractions, split_seed, factors
        self.csv = CsvOptions(separator, decimal, header, encoding)
        self.fit_options = FitOptions(
            kinds=kinds or {},
            dates=dates or {},
            max_categories=max_categories,
            rare=rare,
            max_values=max_values,
            bins=bins,
        )
        self._frame: Source | None = None

    @property
    def needs_data(self) -> bool:
        """Whether there is no file, so that Python must give a data frame."""
        return self.path is None

    def set_data(self, data: Any) -> None:
        """Takes a data frame.

        Raises:
            vaezoo.DataError: it is none, it cannot be read, or there is data already.
        """
        if self._frame is not None or self.path is not None:
            raise vaezoo.DataError("data: table: already has its data")
        if not is_frame(data):
            raise vaezoo.DataError(f"data: table: needs a data frame, not {type(data).__name__}")
        self.kind, self._frame = FRAME, read_frame(data)

    @cached_property
    def fingerprint(self) -> vaezoo.Fingerprint:
        """A hash of the data frame."""
        return fingerprint(self._source()[0])

    @classmethod
    def propose(cls, path: Path) -> vaezoo.Proposal:
        """A spec for a table."""
        return propose(path, cls)

    def file_format(self, data: vaezoo.DataSpec, path: Path) -> vaezoo.Format | None:
        """Reads csv and parquet files with any of the endings that tables may have."""
        return TableCsv(data) if is_table_file(path) else None

    @property
    def spec(self) -> vaezoo.DataSpec:
        """A vector of all modelled columns."""
        loaded = self._loaded
        columns = loaded.fitted.columns
        facts: dict[str, Any] = {
            "columns": [column.to_json() for column in columns],
            "csv": asdict(replace(self.csv, header=loaded.form.header)),
            "form": asdict(loaded.form),
            "unseen": self.unseen,
        }
        if not loaded.form.header:
            facts["order"] = list(loaded.names)
        if self.condition is not None:
            facts["condition"] = self.condition
            facts["condition_type"] = loaded.condition_type
        if self.factors:
            facts["factors"] = list(self.factors)
        return vaezoo.DataSpec(
            (sum(column.width for column in columns),),
            "mixed",
            fields=tuple(field for each in columns if each.is_modelled for field in each.fields),
            classes=loaded.classes,
            condition_shape=() if loaded.classes else None,
            factors=() if loaded.factors is None else loaded.factors.fields,
            mask_dims=1,
            facts={"vaezoo-tabular": facts},
        )

    def split(self, name: str) -> vaezoo.Split:
        """Returns one of the three splits."""
        loaded = self._loaded
        index = loaded.rows[name]
        labels = None if loaded.labels is None else torch.from_numpy(loaded.labels[index])
        factors = None if loaded.factors is None else loaded.factors.values[index]
        names = {
            name: cells.take(pa.array(index)).to_pylist()
            for name, cells in loaded.identifiers.items()
        }
        x = torch.from_numpy(loaded.fitted.x[index])
        return vaezoo.Split(x, labels, factors=factors, names=names)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of rows of each split."""
        return {name: len(index) for name, index in self._loaded.rows.items()}

    @property
    def table(self) -> Sequence[Sequence[str]]:
        """The kind and the values of each column."""
        return [("column", "kind", "missing", "values"), *self._loaded.fitted.table]

    @property
    def left_out(self) -> Sequence[str]:
        """Rows and columns that are not used."""
        loaded = self._loaded
        one, many = "row with a missing cell", "rows with missing cells"
        return (*vaezoo.count_phrase(loaded.dropped, one, many), *loaded.fitted.left_out)

    @property
    def notes(self) -> Sequence[str]:
        """Columns that may be meant otherwise."""
        return self._loaded.notes

    @cached_property
    def _loaded(self) -> Loaded:
        source, test_rows = self._source()
        places: list[int] = []
        if self.missing != "model":
            ignored = [name for name, kind in self.fit_options.kinds.items() if kind == "ignore"]
            if self.missing == "error" and self.condition is not None:
                ignored.append(self.condition)
            whole, count = source, source.table.num_rows
            source, dropped = without_missing(source, ignored, drops=self.missing == "drop")
            test_rows -= sum(row >= count - test_rows for row in dropped)
            places = [whole.number(row) for row in dropped[:_NAMED]] + dropped[_NAMED:]
        rows, names = self._divide(source, test_rows), tuple(source.table.column_names)
        source, label, labels = self._labels(source)
        source, factors = self._separate_factors(source)
        fitted = fit_columns(source, rows["train"], self.fit_options)
        notes: tuple[str, ...] = () if factors is None else tuple(factors.notes)
        if label is not None and labels is not None:
            notes = (*notes, *untrained(label, labels[rows["train"]]))
        return Loaded(
            fitted=fitted,
            labels=None if labels is None else labels.astype(np.int64),
            classes=() if label is None else label.categories,
            condition_type="" if label is None else label.dtype,
            factors=factors,
            identifiers={
                column.name: pc.cast(source.table[column.name], pa.string())
                for column in fitted.columns
                if column.kind == "identifier"
            },
            rows=rows,
            dropped=tuple(places),
            notes=(*fitted.notes, *notes),
            names=names,
            form=source.form,
        )

    def _source(self) -> tuple[Source, int]:
        """The table, and the number of test rows at its end."""
        if self._frame is not None:
            return self._frame, 0
        if self.path is None:
            raise vaezoo.DataError(
                "data: table: set path, or give a data frame: vaezoo.run(spec, data=frame)"
            )
        source = read_table(vaezoo.find_data(self.path), self.csv)
        if self.test is None:
            return source, 0
        test = read_table(vaezoo.find_data(self.test), self.csv, source.form)
        return join_tables(source, test), test.table.num_rows

    def _divide(self, source: Source, test_rows: int) -> Mapping[str, np.ndarray]:
        """The indices of the rows of each split."""
        count = source.table.num_rows
        if self.test is None:
            return vaezoo.split_indices(count, self.fractions, self.split_seed, source.name)
        given = {"train": range(count - test_rows), "test": range(count - test_rows, count)}
        splits = vaezoo.complete_splits(given, self.fractions, self.split_seed, source.name)
        return {name: np.array(index) for name, index in splits.items()}

    def _separate_factors(self, source: Source) -> tuple[Source, vaezoo.Factors | None]:
        """The table without the columns of factors, and these."""
        for name in self.factors:
            if name not in source.table.column_names:
                hint = vaezoo.did_you_mean(name, source.table.column_names)
                raise vaezoo.DataError(f"{source.name}: no column {name!r}{hint}")
        cells = {
            name: pc.fill_null(pc.cast(source.table[name], pa.string()), "").to_pylist()
            for name in self.factors
        }
        factors = vaezoo.read_factors(cells, source.name)
        return replace(source, table=source.table.drop_columns([*cells])), factors

    def _labels(self, source: Source) -> tuple[Source, Column | None, np.ndarray | None]:
        """The table without the column of labels, that column, and the labels ``[n]``.

        Labels are -1 where they are missing.
        """
        name = self.condition
        if name is None:
            return source, None, None
        if name not in source.table.column_names:
            hint = vaezoo.did_you_mean(name, source.table.column_names)
            raise vaezoo.DataError(f"{source.name}: no column {name!r}{hint}")
        if name in self.fit_options.kinds:
            raise vaezoo.DataError(
                f"{source.name}: column {name!r} is the condition, without kind"
            )
        cells = source.table[name].combine_chunks()
        texts = pc.cast(cells, pa.string())
        classes = tuple(sorted(pc.unique(texts.drop_null()).to_pylist()))
        if not classes:
            raise vaezoo.DataError(f"{source.name}: column {name!r} has no label")
        column = Column(name=name, kind="categorical", dtype=str(cells.type), categories=classes)
        labels = np.nan_to_num(to_values(column, cells, source.decimal), nan=-1)
        return replace(source, table=source.table.drop_columns([name])), column, labels
