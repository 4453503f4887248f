"""What columns hold is found by their values."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from vaezoo_tabular.kinds import clean_text, find_kind

MANY = 60


def kind(values, decimal="."):
    if isinstance(values[0], str):
        return find_kind("some", clean_text(pa.array(values)), decimal)
    return find_kind("some", pa.array(values), decimal)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1.5", "2", "?"], "numeric"),
        (["1", "-2", ""], "integer"),
        (["1e3", "2"], "numeric"),
        (["x", "y", "x"], "categorical"),
        (["007", "012", "100"], "categorical"),
        (["True", "false"], "boolean"),
        (["yes", "no"], "categorical"),
        (["same", "same"], "constant"),
        (["same", "same", "NA"], "categorical"),
        (["NA", "NA"], "constant"),
        ([5, 5, None], "categorical"),
        (["1", "1.0", ""], "numeric"),
        ([1.0, 2.0, None], "integer"),
        ([1.0, 2.5], "numeric"),
        ([1, 2, 2], "integer"),
        ([True, False, None], "boolean"),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], "datetime"),
        (["2020-01-01", "2021-12-31"], "datetime"),
        (["2020-01-01 12:30:00", "2021-12-31 00:00:00"], "datetime"),
        (["31.12.2020", "01.02.2021"], "datetime"),
        (["12/31/2020", "01/02/2021"], "datetime"),
        ([f"user-{i}" for i in range(MANY)], "identifier"),
        (list(range(100, 100 + MANY)), "identifier"),
        ([17 * i % 1009 for i in range(MANY)], "integer"),
        ([f"it was the {i}th of many days" for i in range(MANY)], "text"),
    ],
)
def test_the_kind_of_a_column(values, expected):
    assert kind(values).kind == expected


def test_a_decimal_comma():
    assert kind(["1,5", "2,25"], ",").kind == "numeric"
    found = kind(["1,5", "2,25"])
    assert found.odd == "1,5" and found.problem.startswith("has a decimal comma; write")


def test_what_may_be_meant_otherwise_is_noted():
    assert "read as %m/%d/%Y" in kind(["01/02/2020", "03/04/2020"]).note
    assert not kind(["12/31/2020", "03/04/2020"]).note
    assert "zeros before numbers" in kind(["007", "012", "100"]).note
    cells = [*map(str, range(MANY)), "l3"]
    assert "'l3' is none, so that it is read as text" in kind(cells).note


def test_an_identifier_is_known_by_its_name():
    values = pa.array(np.random.default_rng(0).permutation(10 * MANY)[:MANY])
    assert find_kind("customer_id", values, ".").kind == "identifier"
    assert find_kind("weight", values, ".").kind == "integer"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("categorical", "no categories"),
        ("boolean", "no categories"),
        ("numeric", "no values and no bins"),
        ("datetime", "no values and no bins"),
    ],
)
def test_a_column_without_cases_is_no_column(kind, says):
    from vaezoo_tabular.columns import Column

    with pytest.raises(ValueError, match=f"column 'a' is {kind} and has {says}"):
        Column(name="a", kind=kind, start=0, edges=(1.0,)).check(1)
    Column(name="a", kind=kind).check(1)  # which is not modelled
