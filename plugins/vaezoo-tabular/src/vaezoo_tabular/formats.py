"""Files of rows, in the columns of the table that a model was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import torch
from torch import Tensor

import vaezoo
from vaezoo_tabular.checks import read_values
from vaezoo_tabular.columns import Column, arrow_type, decode, to_values
from vaezoo_tabular.comparison import to_rows
from vaezoo_tabular.csv_output import CsvForm, write_csv
from vaezoo_tabular.facts import table_facts
from vaezoo_tabular.files import is_table_file, read_table
from vaezoo_tabular.loading import complete_table, encode_rows
from vaezoo_tabular.notation import number_texts
from vaezoo_tabular.pictures import draw_associations, draw_marginals, draw_table
from vaezoo_tabular.source import Source

_ROWS = 16
"""How many rows a picture of the report shows."""
_MAX_ROWS = 128
"""How many rows a file shows at most."""
_COLOURS = 9
"""The most categories of a column by which the latent space is coloured."""
_FLOAT32 = 2.5e-7
"""The relative distance from which numbers differ in float32."""
_LETTERS = 18
"""How many letters of a cell a picture shows."""


class TableFormat(vaezoo.Format):
    """Rows with the names, units, categories and order of the columns of the table.

    When read, columns are found by name; others are ignored, with a warning that names them. What
    a column cannot hold is refused. The option ``unseen`` of the data set says what becomes of
    columns that a file lacks, and of categories that no training row has.
    """

    keeps_decimal = False
    """Whether numbers in text have the decimal sign of the source."""

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        facts = table_facts(data)
        self.columns, self.csv, self.likely = facts.columns, facts.csv, facts.form
        self.condition, self.condition_type = facts.condition, facts.condition_type
        self.unseen, self.factors, self.order = facts.unseen, facts.factors, facts.order
        self.form = facts.form or CsvForm()

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes rows ``[n, D]``."""
        self._write(self.to_table(examples), path, self.form)

    def _write(self, table: pa.Table, path: Path, form: CsvForm) -> None:
        raise NotImplementedError

    def to_table(self, examples: vaezoo.Batch) -> pa.Table:
        """The rows as a table of Arrow."""
        x, cells = examples.x.double().numpy(), {}
        for column in self.columns:
            if column.is_modelled:
                stop = column.start + column.width
                cells[column.name] = decode(column, x[:, column.start : stop])
            elif column.kind == "constant":
                texts = list(column.categories) or [None]
                cells[column.name] = pc.cast(
                    pa.array(texts * len(x), pa.string()), arrow_type(column.dtype)
                )
        if self.condition is not None and examples.condition is not None:
            labels = examples.condition.long().numpy()
            names = pa.array(self.data.classes).take(pa.array(labels, mask=labels < 0))
            cells[self.condition] = pc.cast(names, arrow_type(self.condition_type))
        return pa.table(cells)

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads rows, in the units of the source."""
        return self.read_named(path).batch

    def read_named(self, path: Path) -> vaezoo.NamedBatch:
        """Reads rows, with the columns that name them."""
        source = read_table(path, self.csv, self.likely)
        names = {
            column.name: pc.cast(source.table[column.name], pa.string()).to_pylist()
            for column in self.columns
            if column.kind == "identifier" and column.name in source.table.column_names
        }
        return vaezoo.NamedBatch(self._batch(source, fills_missing=False), names)

    def parse_number(self, column: str, text: str) -> float:
        """The number of a column, or the seconds of a date, of a cell in the form of the table."""
        known = next(each for each in self.columns if each.name == column)
        cells = pa.array([text])
        source = Source("", pa.table({column: cells}), self.form)
        try:
            number = float(read_values(source, known, cells)[0])
        except vaezoo.DataError as error:
            raise ValueError(str(error).rpartition(repr(text))[2].strip()) from error
        low, high = known.limits
        tolerance = _FLOAT32 * max(known.scale, abs(number - known.offset))
        if not low - tolerance <= number <= high + tolerance:
            self._warn_of_range(known, text)
        return number

    def _warn_of_range(self, column: Column, text: str) -> None:
        """Warns that a number or date lies outside of the range of the training rows."""
        limits = np.array([[limit, 0.0] for limit in column.limits])[:, : column.width]
        low, high = number_texts(decode(column, limits), self.form.decimal).to_pylist()
        warnings.warn(
            f"column {column.name!r}: {text} lies outside of the range of the training rows, "
            f"{low} to {high}, so that the model has not learned what goes with it",
            stacklevel=3,
        )

    def read_incomplete(self, path: Path) -> vaezoo.Batch:
        """Reads rows with missing cells, also of columns without missing cells in training."""
        return self._batch(read_table(path, self.csv, self.likely), fills_missing=True)

    def completes(self, source: Path) -> bool:
        """Whether it is a csv or parquet file."""
        return is_table_file(source)

    def write_completed(self, path: Path, source: Path, examples: vaezoo.Batch) -> None:
        """Writes the rows of a file with values in the cells that had none.

        Its other columns, and columns of the model that it lacks, are there, too.
        """
        rows = read_table(source, self.csv, self.likely)
        form = rows.form if rows.is_csv else self.form
        filled = self.to_table(examples)
        decimal = form.decimal if self.keeps_decimal else "."
        self._write(complete_table(rows, self.columns, filled, decimal=decimal), path, form)

    def _batch(self, source: Source, *, fills_missing: bool) -> vaezoo.Batch:
        mask = None
        self._check_extra(source)
        values = encode_rows(source, self.columns, unseen=self.unseen, fills_missing=fills_missing)
        if fills_missing:
            mask = torch.from_numpy(~np.isnan(values))
        x = torch.from_numpy(np.nan_to_num(values))
        name = self.condition
        if name is None or name not in source.table.column_names:
            return vaezoo.Batch(x, mask=mask)
        column = Column(name=name, kind="categorical", categories=self.data.classes)
        labels = to_values(column, source.table[name].combine_chunks(), source.decimal)
        if (labels < 0).any():
            row = int((labels < 0).argmax())
            raise vaezoo.DataError(f"{source.place(row)}: column {name!r} has no known label")
        labels = np.nan_to_num(labels, nan=-1).astype(np.int64)  # of missing cells: unknown
        return vaezoo.Batch(x, torch.from_numpy(labels), mask)

    def _check_extra(self, source: Source) -> None:
        """Warns of columns that the model does not know."""
        known = {self.condition, *self.factors, *(column.name for column in self.columns)}
        extra = [name for name in source.table.column_names if name not in known]
        if extra:
            names = ", ".join(map(repr, extra))
            warnings.warn(
                f"{source.name}: ignores columns that training lacks: {names}", stacklevel=2
            )


class TableCsv(TableFormat):
    """A csv file in the form of that of training: separator, decimal sign, header and encoding.

    After training on parquet or data frames it has commas, decimal points and a header, in UTF-8.
    Cells are in quotes where they have a separator, a quote or the end of a line. Without a header
    all columns of the source are written, those that are not modelled without values.
    """

    keeps_decimal = True

    def _write(self, table: pa.Table, path: Path, form: CsvForm) -> None:
        write_csv(table if form.header else self._in_order(table), path, form)

    def _in_order(self, table: pa.Table) -> pa.Table:
        """The table with all columns of the source in their places."""
        known = dict(zip(table.column_names, table.columns, strict=True))
        empty = pa.nulls(table.num_rows, pa.string())
        return pa.table({**{name: known.get(name, empty) for name in self.order}, **known})


class TableParquet(TableFormat):
    """A parquet file."""

    def _write(self, table: pa.Table, path: Path, form: CsvForm) -> None:
        pa.parquet.write_table(table, path)


class TablePng(TableFormat):
    """A picture of the first 128 rows as a table. It is for writing only."""

    reads = False

    def _write(self, table: pa.Table, path: Path, form: CsvForm) -> None:
        path.write_bytes(draw_table(_texts(table.slice(0, _MAX_ROWS)), table.column_names))

    def read(self, path: Path) -> vaezoo.Batch:
        """Not possible."""
        raise NotImplementedError("is for writing only")

    def report_pictures(
        self, model: Any, examples: vaezoo.Batch, seed: int
    ) -> Mapping[str, tuple[str, bytes]]:
        """Generated rows beside those of the split, and rows beside their reconstructions."""
        samples = model.sample(len(examples), examples.condition, seed=seed)
        real, made = (
            to_rows(self.data.to_source_units(x.cpu().double()).numpy(), self.columns)
            for x in (examples.x, samples)
        )
        pairs = {
            "marginals": ("The distribution of each column, in real and in generated rows",
                          draw_marginals(real, made, self.columns)),
            "samples": ("Samples: rows drawn from p(x|z) for z drawn from the prior",
                        self._draw(samples[:_ROWS])),
            "reconstructions": ("Rows, each above the likeliest row of its posterior mean; what "
                                "differs is set in colour", self._draw_pairs(model, examples)),
        }  # fmt: skip
        if len(real.numbers) + len(real.categories) > 1:
            pairs["associations"] = (
                "The association of two columns: correlation, correlation ratio or Cramer's V",
                draw_associations(real, made),
            )
        return pairs

    def point_labels(self, examples: vaezoo.Batch) -> tuple[str, np.ndarray, Sequence[str]] | None:
        """The last column of few categories."""
        few = [c for c in self.columns if c.is_modelled and 1 < len(c.categories) <= _COLOURS]
        if not few:
            return None
        column = few[-1]
        rows = to_rows(examples.x.cpu().double().numpy(), [column])
        return column.name, rows.categories[column.name], (*column.categories, "missing")

    def _table_of(self, x: Tensor) -> pa.Table:
        return self.to_table(vaezoo.Batch(self.data.to_source_units(x.cpu().double())))

    def _draw(self, x: Tensor) -> bytes:
        table = self._table_of(x)
        return draw_table(_texts(table), table.column_names)

    def _draw_pairs(self, model: Any, examples: vaezoo.Batch) -> bytes:
        """Some rows, each above its reconstruction."""
        some = examples.select(slice(_ROWS // 2))
        table = self._table_of(torch.stack([some.x, model.reconstruct(some)], 1).flatten(0, 1))
        rows = _texts(table)
        marked = np.zeros((len(rows), len(table.column_names)), bool)
        for i in range(1, len(rows), 2):
            marked[i] = [a != b for a, b in zip(rows[i - 1], rows[i], strict=True)]
        return draw_table(rows, table.column_names, marked)


def _texts(table: pa.Table) -> list[list[str]]:
    """The cells of a table as text, cut after some letters."""
    columns = [["" if value is None else _short(value) for value in column.to_pylist()]
               for column in table.columns]  # fmt: skip
    return [list(row) for row in zip(*columns, strict=True)]


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
