"""Parquet files keep the types of columns, and files of other types are completed."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.formats import TableCsv, TableParquet

import vaezoo

N = 60
DAY = datetime.date(2020, 1, 1)


@pytest.fixture
def fit(tmp_path):
    """The format of parquet files of a table, and its rows."""

    def make(table, **options):
        pa.parquet.write_table(table, tmp_path / "train.parquet")
        data = Table(path=str(tmp_path / "train.parquet"), **options)
        batch = TableParquet(data.spec).read(tmp_path / "train.parquet")
        return TableParquet(data.spec), batch

    return make


TYPES = {
    "code": pa.array([i % 3 for i in range(N)], pa.int64()),
    "real": pa.array([0.5 + i % 7 for i in range(N)], pa.float32()),
    "small": pa.array([i % 7 - 3 for i in range(N)], pa.int8()),
    "byte": pa.array([250 + i % 5 for i in range(N)], pa.uint8()),
    "whole": pa.array([float(i % 7) for i in range(N)], pa.float64()),
    "flag": pa.array([i % 2 == 0 for i in range(N)]),
    "day": pa.array([DAY + datetime.timedelta(i % 9) for i in range(N)]),
    "time": pa.array([1_600_000_000_000 + 1000 * i for i in range(N)], pa.timestamp("ms", "UTC")),
    "same": pa.array([5] * N, pa.int16()),
    "label": pa.array([i % 2 for i in range(N)], pa.int32()),
    "mark": pa.array([True if i % 3 else None for i in range(N)]),
    "word": pa.array(["x", "y"] * (N // 2)),
}


def test_parquet_keeps_the_types_of_columns(fit, tmp_path):
    table = pa.table(TYPES)
    fmt, batch = fit(table, kinds={"code": "categorical"}, condition="label")
    assert {c.name: c.kind for c in fmt.columns}["mark"] == "categorical"
    fmt.write(tmp_path / "out.parquet", batch, 1)
    read = pa.parquet.read_table(tmp_path / "out.parquet").select(table.column_names)
    assert read.schema.types == table.schema.types
    assert read.equals(table)


def complete(fmt, path, out, writer=None):
    """What ``impute`` does with a file; the model is one that fills zeros."""
    batch = fmt.read_incomplete(path)
    (writer or fmt).write_completed(out, path, batch)


@pytest.mark.parametrize(
    ("trained", "given", "fills", "kind"),
    [
        (pa.array([0.5 + i % 7 for i in range(N)]), pa.array([3, None]), 0.0, "int64"),
        (TYPES["whole"], pa.array([3, None], pa.int8()), 0, "int8"),
        (pa.array([1000 * (i % 7) for i in range(N)]), pa.array([3, None], pa.int8()), 0, "int8"),
        (TYPES["day"], pa.array(["02.01.2020", None]), None, "string"),
        (pa.array([f"0{1 + i % 9}.01.2020" for i in range(N)]), pa.array([DAY, None]), None,
         "date32[day]"),
        (pa.array([f"{1 + i % 9}" for i in range(N)]), pa.array([3, None]), 0, "int64"),
        (pa.array([["TRUE", "FALSE"][i % 2] for i in range(N)]), pa.array([True, None]), False,
         "bool"),
        (pa.array([["a", "b"][i % 2] for i in range(N)]), pa.array(["a", None]), "a", "string"),
    ],
)  # fmt: skip
def test_files_of_other_types_are_completed(fit, tmp_path, trained, given, fills, kind):
    table = pa.table({"a": trained, "b": TYPES["real"]})
    fmt, _ = fit(table)
    path = tmp_path / "holes.parquet"
    pa.parquet.write_table(pa.table({"a": given, "b": [1.5, 1.5]}), path)
    complete(fmt, path, tmp_path / "full.parquet")
    read = pa.parquet.read_table(tmp_path / "full.parquet")
    assert read["a"][0].as_py() == given[0].as_py() and read["a"].null_count == 0
    assert str(read.schema.field("a").type) == kind
    if fills is not None:
        assert read["a"][1].as_py() == fills


def test_values_that_a_type_cannot_hold_widen_it(fit, tmp_path):
    fmt, _ = fit(pa.table({"a": pa.array([1000.5 + i % 7 for i in range(N)]), "b": TYPES["real"]}))
    path = tmp_path / "holes.parquet"
    pa.parquet.write_table(pa.table({"a": pa.array([3, None], pa.int8()), "b": [1.5, 1.5]}), path)
    batch = fmt.read_incomplete(path)
    batch = vaezoo.Batch(torch.where(batch.x == 0, 1003.5, batch.x))
    fmt.write_completed(tmp_path / "full.parquet", path, batch)
    read = pa.parquet.read_table(tmp_path / "full.parquet")
    assert read["a"].to_pylist() == [3.0, 1003.5]


def test_what_is_given_is_what_is_read(fit, tmp_path):
    """Categories in another case, and unknown numbers, count as missing where reading says so."""
    table = pa.table(
        {
            "code": pa.array([None if i % 4 == 3 else i % 4 for i in range(N)]),
            "word": pa.array([[None, "Ulm", "Bonn"][i % 3] for i in range(N)]),
        }
    )
    fmt, _ = fit(table, kinds={"code": "categorical"}, unseen="missing")
    path = tmp_path / "holes.parquet"
    pa.parquet.write_table(pa.table({"code": [7, 1], "word": ["ULM", "Ulm"]}), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        complete(fmt, path, tmp_path / "full.parquet")
    read = pa.parquet.read_table(tmp_path / "full.parquet").to_pydict()
    assert read == {"code": [0, 1], "word": ["Bonn", "Ulm"]}


def test_grouped_categories_are_text(fit, tmp_path):
    codes = pa.array([i % 3 if i % 20 else 100 + i for i in range(N)])
    fmt, batch = fit(pa.table({"code": codes}), kinds={"code": "categorical"}, rare=5)
    fmt.write(tmp_path / "out.parquet", batch, 1)
    read = pa.parquet.read_table(tmp_path / "out.parquet")["code"].to_pylist()
    assert read[:3] == ["(other)", "1", "2"]


def test_columns_of_factors_are_known(tmp_path):
    frame = pd.DataFrame(
        {"a": np.arange(N) % 7 + 0.5, "f": np.arange(N) % 3, "b": ["x", "y"] * 30}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = Table(path=str(tmp_path / "t.csv"), factors=["f"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableCsv(data.spec).read(tmp_path / "t.csv")
