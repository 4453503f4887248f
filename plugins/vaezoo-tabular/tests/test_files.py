"""Tables are read from csv and parquet files and data frames; what is odd is named."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet
import pytest
from vaezoo_tabular.files import CsvOptions, read_table
from vaezoo_tabular.frames import read_frame

import vaezoo


def read(path, text, **options):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return read_table(path, CsvOptions(**options))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.csv.gz"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_recognised(tmp_path, name, separator):
    if name == "t.tsv" and separator != "\t":
        pytest.skip("a .tsv file has tabs")
    rows = ["a,b,c", '1,"x y",', "2, NA ,0.5"]
    source = read(tmp_path / name, "\n".join(row.replace(",", separator) for row in rows))
    assert source.table.to_pydict() == {"a": ["1", "2"], "b": ["x y", None], "c": [None, "0.5"]}


def test_a_decimal_comma_is_recognised(tmp_path):
    source = read(tmp_path / "t.csv", "a;b\n1,5;x\n-2,25;y\n")
    assert source.decimal == ","
    assert read(tmp_path / "t.csv", "a;b\n1,5;2.5\n").decimal == "."  # which of them is not clear
    assert read(tmp_path / "t.csv", 'a,b\n"1,5",2\n').decimal == "."
    assert read(tmp_path / "t.csv", 'a,b\n"1,5",2\n', decimal=",").decimal == ","


@pytest.mark.parametrize(
    ("text", "names", "note"),
    [
        ("a,b\n1,2\n", ["a", "b"], ""),
        ("1,2\n3,4\n", ["column1", "column2"], "the first row (1, 2), which is read as data"),
        ("country,2019,2020\nx,1,2\n", ["country", "2019", "2020"], "which names the columns"),
        ("red,red\nblue,red\n", ["column1", "column2"], "which is read as data"),
    ],
)
def test_a_header_is_recognised_and_told_where_it_is_not_clear(tmp_path, text, names, note):
    source = read(tmp_path / "t.csv", text)
    assert source.table.column_names == names
    assert note in " ".join(source.notes) and bool(note) == bool(source.notes)


def test_other_encodings_are_asked_for(tmp_path):
    text = "town\nKöln\nUlm\n"
    for encoding in ("utf-8-sig", "utf-16"):
        source = read(tmp_path / "t.csv", text.encode(encoding))
        assert source.table.to_pydict() == {"town": ["Köln", "Ulm"]}
    with pytest.raises(vaezoo.DataError, match=r"t.csv:2: is not text in utf-8; set encoding"):
        read(tmp_path / "t.csv", text.encode("latin-1"))
    source = read(tmp_path / "t.csv", text.encode("latin-1"), encoding="latin-1")
    assert source.table["town"][0].as_py() == "Köln"
    with pytest.raises(vaezoo.DataError, match="unknown encoding 'nope'"):
        read(tmp_path / "t.csv", text, encoding="nope")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("a,b\n1,2\n3\n", "t.csv:3: has 1 cells, expected 2"),
        ("a,b\n1,2,3\n", "t.csv:2: has 3 cells, expected 2"),
        ('a\n"1\n2\n', "t.csv:2: a quote is not closed"),
        ("a,b\n1,\0\n", "t.csv:2: has a NUL byte"),
        ("a,\n1,2\n", "column 2 has no name"),
        ("a,a\n1,2\n", "two columns have the same name 'a'"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(vaezoo.DataError) as raised:
        read(tmp_path / "t.csv", text)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_files_of_other_kinds_are_refused(tmp_path):
    for name, data, message in (
        ("t.xlsx", b"PK", "unknown kind of table"),
        ("t.parquet", b"PAR1 no", "not a readable parquet file"),
        ("t.csv.gz", b"\x1f\x8b no", "cannot be read"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(vaezoo.DataError, match=message):
            read_table(tmp_path / name, CsvOptions())
    with pytest.raises(vaezoo.DataError, match="no such file"):
        read_table(tmp_path / "none.csv", CsvOptions())


def test_parquet_files_and_data_frames_keep_their_types(tmp_path):
    table = pa.table({"a": [1, None], "b": [0.5, 1.5], "c": ["x", None], "d": [True, False]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", CsvOptions()).table.equals(table)
    for frame in (table, table.to_pandas(types_mapper=None)):
        source = read_frame(frame)
        assert source.table.column_names == ["a", "b", "c", "d"] and source.table.num_rows == 2


def test_rows_are_named_by_their_lines(tmp_path):
    assert read(tmp_path / "t.csv", "a\n1\n2\n").place(1).endswith("t.csv:3")
    assert read(tmp_path / "t.csv", "a\n1\n\n2\n").place(1).endswith("t.csv:4")
    assert read(tmp_path / "t.csv", 'a\n"x\ny"\n2\n').place(1).endswith("t.csv:4")


def test_a_header_may_be_long(tmp_path):
    names = [f"a column with a name {i}" for i in range(12_000)]
    lines = [";".join(names), *(";".join(f"{i},{j % 9}" for j in range(12_000)) for i in (1, 2))]
    source = read(tmp_path / "t.csv", "\n".join(lines))
    assert source.table.column_names == names and source.decimal == ","
