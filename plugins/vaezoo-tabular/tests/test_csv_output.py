"""Csv files that are written: quotes where they are needed, and every cell as it was."""

from __future__ import annotations

import csv

import pyarrow as pa
import pytest
from vaezoo_tabular.csv_output import write_csv
from vaezoo_tabular.files import CsvOptions, read_table

TEXTS = ["plain", "two words", "a,b", 'say "hi"', "two\nlines", "Köln", None, "'", "a;b", "-"]


def test_only_cells_that_need_quotes_have_them(tmp_path):
    write_csv(pa.table({"name, first": TEXTS, "n": range(len(TEXTS))}), tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text("utf-8")
    assert text.startswith('"name, first",n\nplain,0\ntwo words,1\n"a,b",2\n"say ""hi""",3\n')
    assert text.endswith("Köln,5\n,6\n',7\na;b,8\n-,9\n")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == [text or "" for text in TEXTS]


def test_what_is_written_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo_tabular.csv_output._ROWS", 3)
    table = pa.table({"a": TEXTS, "b": [0.1 * i for i in range(len(TEXTS))]})
    write_csv(table, tmp_path / "t.csv")
    read = read_table(tmp_path / "t.csv", CsvOptions()).table
    assert read["a"].to_pylist() == TEXTS
    assert [float(cell) for cell in read["b"].to_pylist()] == table["b"].to_pylist()


@pytest.mark.parametrize("cells", [["x", None, "y"], [None, None, None]])
def test_a_missing_cell_of_the_only_column_is_a_row(tmp_path, cells):
    write_csv(pa.table({"a": pa.array(cells, pa.string())}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv", CsvOptions()).table["a"].to_pylist() == cells
