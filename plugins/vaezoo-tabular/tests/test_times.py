"""Times with fractions of seconds and time zones, in text."""

from __future__ import annotations

import pyarrow as pa
import pytest
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.dates import format_dates, iso_format, parse_dates
from vaezoo_tabular.formats import TableCsv

import vaezoo


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-01T00:00:00.250", "2024-02-29T23:59:59.001"], "%Y-%m-%dT%H:%M:%S.%3f"),
        (["2024-01-01 00:00:00.250125", "1969-02-28 23:59:59.000001"], "%Y-%m-%d %H:%M:%S.%6f"),
        (["2024-01-01T00:00:00Z", "2024-02-29T23:59:59Z"], "%Y-%m-%dT%H:%M:%SZ"),
        (["2024-01-01T00:00Z", "2024-02-29T23:59Z"], "%Y-%m-%dT%H:%MZ"),
        (["2024-01-01T00:00:00.250+02:00", "2024-02-29T23:59:59.001+02:00"],
         "%Y-%m-%dT%H:%M:%S.%3f+02:00"),
        (["2024-01-01T00:00:00-03:30", "2024-02-29T23:59:59-03:30"],
         "%Y-%m-%dT%H:%M:%S-03:30"),
    ],
)  # fmt: skip
def test_times_are_written_as_they_were(texts, expected):
    cells = pa.array([*texts, None])
    found = iso_format(pa.array(texts))
    assert found == expected
    stamps = parse_dates(cells, found)
    assert format_dates(stamps, found).to_pylist() == [*texts, None]


def test_times_of_several_zones_become_utc():
    texts = pa.array(["2024-01-01T00:30:00+01:00", "2024-07-01T00:30:00+0200"])
    found = iso_format(texts)
    assert format_dates(parse_dates(texts, found), found).to_pylist() == [
        "2023-12-31T23:30:00+00:00", "2024-06-30T22:30:00+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-30T00:00:00.250", "2024-01-01T00:00:00.250"],
        ["2024-01-01T00:00:00Z", "2024-01-01T00:00:01"],
        ["2024-01-01T00:00:00Z", "soon"],
    ],
)
def test_what_is_no_time_is_none(texts):
    assert iso_format(pa.array(texts)) == ""


@pytest.mark.parametrize("end", [".250", "Z", ".250+02:00"])
def test_a_column_of_times_is_modelled_and_written_again(tmp_path, refuses, end):
    texts = [f"2024-01-{1 + i % 28:02}T{i % 24:02}:00:00{end}" for i in range(60)]
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["t", *texts]), "utf-8")
    data = Table(path=str(path))
    assert data.table[1][:2] == ("t", "datetime")
    fmt = TableCsv(data.spec)
    fmt.write(tmp_path / "out.csv", fmt.read(path), 1)
    assert (tmp_path / "out.csv").read_text("utf-8").splitlines() == ["t", *texts]
    path.write_text("t\n2024-01-01\n", "utf-8")
    refuses(vaezoo.DataError, lambda: fmt.read(path), "some.csv:2: column 't'", "is no date such")
