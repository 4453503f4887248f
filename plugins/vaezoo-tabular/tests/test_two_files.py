"""Training and test rows in files of their own."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet
import pytest
from vaezoo_tabular.dataset import Table

import vaezoo


@pytest.fixture
def table(tmp_path):
    def make(train, test, **options):
        for name, text in (("train.csv", train), ("test.csv", test)):
            (tmp_path / name).write_text(text, "utf-8")
        paths = {"path": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
        return Table(**paths, **options)

    return make


def rows(cell, count=30):
    return "a;b\n" + "".join(f"{cell.format(i)};{i % 7}\n" for i in range(count))


def test_dropped_rows_of_the_test_file_are_left_out(table):
    test = rows("{},5", 10).splitlines()
    test[3] = ";1"
    data = table(rows("{},5"), "\n".join(test), missing="drop")
    assert data.sizes["test"] == 9 and sum(data.sizes.values()) == 39
    assert data.left_out[0].startswith("1 row with a missing cell") and "4" in data.left_out[0]


def test_files_of_different_decimal_signs_are_refused(table, refuses):
    data = table(rows("{},5"), rows("{}.5"))
    refuses(vaezoo.DataError, lambda: data.spec, "test.csv", "decimal sign is '.'", "','")
    assert table(rows("{},5"), rows("{}", 5)).sizes["test"] == 5


def test_columns_of_types_that_differ_are_refused(tmp_path, refuses):
    dates = [datetime.date(2020, 1, 1 + i) for i in range(20)]
    for name, cells in (("train", dates), ("test", list(range(20)))):
        table = pa.table({"a": [i % 3 + 0.5 for i in range(20)], "b": cells})
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    data = Table(path=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.parquet"))
    refuses(vaezoo.DataError, lambda: data.spec, "test.parquet: column 'b' holds int64", "date32")
