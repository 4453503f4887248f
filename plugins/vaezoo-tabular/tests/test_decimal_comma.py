"""Csv files with a decimal comma: points separate thousands, or belong to dates and versions."""

from __future__ import annotations

import pyarrow as pa
import pytest
import torch
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.kinds import find_kind, numbers_of

import vaezoo
from vaezoo.data.splits import SPLIT_NAMES


@pytest.fixture
def table(tmp_path):
    def make(cells, **options):
        rows = "".join(f"{i},5;{cell}\n" for i, cell in enumerate(cells))
        (tmp_path / "some.csv").write_text(f"a;b\n{rows}", "utf-8")
        return Table(path=str(tmp_path / "some.csv"), **options)

    return make


def kinds(data):
    return {name: kind for name, kind, *_ in data.table[1:]}


def test_points_separate_thousands_only_in_groups_of_three():
    cells = pa.array(["1.234,5", "-12.345.678", "7", "0,25", None, "1,5e3"])
    numbers = numbers_of(cells, ",").tolist()
    assert numbers[:4] == [1234.5, -12345678, 7, 0.25] and numbers[4] != numbers[4]
    assert numbers[5] == 1500
    for cell in ("1.5", "31.12.2020", "12.34,5", "0.125", "1,234.5"):
        with pytest.raises(pa.ArrowInvalid):
            numbers_of(pa.array([cell]), ",")


def test_whole_numbers_with_points_are_whole():
    values = pa.array([f"{i}.234" for i in range(1, 60)])
    found = find_kind("some", values, ",")
    assert found.kind == "integer"
    assert find_kind("id", values, ",").kind == "identifier"


def test_german_dates_and_versions_are_no_numbers(table):
    dates = table([f"{10 + i}.12.2020" for i in range(20)])
    assert kinds(dates) == {"a": "numeric", "b": "datetime"}
    assert dates.spec.fields[0].kind == "numeric"
    versions = table([f"1.{i % 3}.2" for i in range(20)])
    assert kinds(versions)["b"] == "categorical"


def test_a_decimal_point_is_refused_with_its_place(table, refuses):
    cells = [f"{i},25" for i in range(30)]
    cells[4] = "1.5"
    data = table(cells, decimal=",")
    refuses(
        vaezoo.DataError, lambda: data.spec, "some.csv:6: column 'b'", "'1.5' has a decimal point",
        "1234,5", 'set decimal: "."',
    )  # fmt: skip
    data = table(cells, decimal=",", kinds={"b": "numeric"})
    refuses(vaezoo.DataError, lambda: data.spec, "some.csv:6", "'1.5' has a decimal point")
    data = table([*cells[:4], "1.500", *cells[5:]], decimal=",")
    x = torch.cat([data.split(name).x for name in SPLIT_NAMES])
    assert data.spec.fields[1].scale * x[:, 1].max() + data.spec.fields[1].offset == 1500
