"""Csv files as people have them: what is read, and what is refused in one line with its place."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from vaezoo_tabular.dataset import Table

import vaezoo
from vaezoo.data.splits import SPLIT_NAMES, split_indices


@pytest.fixture
def table(tmp_path):
    def make(text, **options):
        encoding = options.pop("text_encoding", "utf-8")
        data = text if isinstance(text, bytes) else text.encode(encoding)
        (tmp_path / "some.csv").write_bytes(data)
        return Table(path=str(tmp_path / "some.csv"), **options)

    return make


def rows(count=20, **cells):
    """Columns a (0.5, 1.5, ...) and b (red, blue, red ...).

    ``r3="7,red"`` replaces data row 3, which is line 5.
    """
    lines = [cells.get(f"r{i}", f"{i}.5,{('red', 'blue')[i % 2]}") for i in range(count)]
    return "\n".join(["a,b", *lines]) + "\n"


def odd(cell):
    """Column a with ``cell`` for each number ``i``, and b (0, 1, 2 ...)."""
    return "a,b\n" + "".join(f"{cell.format(i=i)},{i % 7}\n" for i in range(20))


def everything(data):
    return torch.cat([data.split(name).x for name in SPLIT_NAMES])


def test_numbers_are_standardised_by_the_training_split(table):
    data = table(rows())
    train = data.split("train").x[:, 0]
    assert torch.allclose(train.mean(), torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(train.std(correction=0), torch.tensor(1.0))
    steps = everything(data)[:, 0].sort().values.diff()
    assert torch.allclose(steps, steps.mean().expand(19), atol=1e-5)


@pytest.mark.parametrize("value", ["5", "0.1", "-1e9", "0", "1e-300"])
def test_a_column_that_is_constant_in_training_keeps_its_scale(table, value):
    text = "a,b\n" + "".join(f"{value},{i % 9}\n" for i in range(60))
    other = int(split_indices(60, (0.8, 0.1, 0.1), 0, "csv")["test"][0])
    lines = text.splitlines()
    lines[other + 1] = f"{float(value) + 0.25},{other % 9}"
    data = table("\n".join(lines))
    assert data.spec.fields[0].scale == 1 and data.spec.fields[0].name == "a"
    x = everything(data)[:, 0]
    assert x.max() == 0.25 and x.eq(0).sum() == 59


def test_separator_quotes_spaces_and_byte_order_mark(table):
    text = "".join(f'{i % 9}; "b;lue"\n' if i % 2 else f"{i % 9} ;red\n" for i in range(20))
    data = table("a; b\n" + text.replace('; "', ';"'), condition="b", text_encoding="utf-8-sig")
    assert data.spec.classes == ("b;lue", "red") and data.spec.fields[0].name == "a"


@pytest.mark.parametrize("hole", ["", "NA", "n/a", "NaN", "null", "None", "?", " "])
def test_a_missing_cell_is_modelled_refused_or_dropped(table, refuses, hole):
    text = rows(r3=f"{hole},red")
    x = everything(table(text))
    assert x.shape == (20, 3) and x[:, 1].sum() == 1 and x[x[:, 1] == 1, 0] == 0
    assert everything(table(text, missing="drop")).shape == (19, 2)
    refused = table(text, missing="error")
    refuses(vaezoo.DataError, lambda: refused.spec, "some.csv:5", "'a' is empty", "model or drop")


def test_missing_and_ignored_columns_do_not_count_as_holes(table):
    text = "a,b,c\n" + "".join(f"{i % 5},{i % 3},\n" for i in range(20))
    assert table(text, missing="error", kinds={"c": "ignore"}).spec.shape == (2,)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (rows(r3="3"), {}, (":5: has 1 cells, expected 2",)),
        (rows(r3="3,red,1"), {}, (":5: has 3 cells, expected 2", "in quotes")),
        (rows(r3="three,red"), {"kinds": {"a": "numeric"}}, (":5: column 'a': 'three' is not a",)),
        (rows(r3="inf,red"), {}, (":5: column 'a': 'inf' has no finite value",)),
        (rows(r3="1e308,red"), {}, (":5: column 'a': '1e308' is too large",)),
        (rows(r3="-1e999,red"), {}, (":5: column 'a': '-1e999' is too large",)),
        (rows(), {"condition": "bb"}, ("no column 'bb'; did you mean 'b'?",)),
        (rows(), {"kinds": {"bb": "ignore"}}, ("no column 'bb'; did you mean 'b'?",)),
        (rows(), {"kinds": {"a": "numeric"}, "condition": "a"}, ("'a' is the condition",)),
        (rows(), {"kinds": {"a": "ignore"}, "condition": "b"}, ("no column is left",)),
        (rows().replace("a,b", "a,a"), {}, ("two columns have the same name 'a'",)),
        (rows().replace("a,b", ",b"), {}, ("column 1 has no name",)),
        (rows(r3='3,"red'), {}, (":5: a quote is not closed",)),
        (rows(r3='3,"re"d"'), {}, (":5: ",)),
        (rows(r3="3,re\0d"), {}, (":5: has a NUL byte",)),
        (gzip.compress(rows().encode(), mtime=0)[:-9], {}, ("cannot be read",)),
        (b"PK\x03\x04", {}, ("is a zip archive or a spreadsheet; save it as csv",)),
        (b"a,b\n\xff\xfe\n" * 9, {}, (":2: is not text in utf-8",)),
        (b"a\xff,b\n1,2\n" * 9, {}, (":1: is not text in utf-8",)),
        (odd('"{i},5"'), {}, (":2", "'a'", "'0,5' has a decimal comma; write", 'decimal: ","')),
        (odd('"{i},5"'), {"kinds": {"a": "numeric"}}, (":2", "'0,5' has a decimal comma; write")),
        (odd('"1,{i:03}"'), {}, (":2", "'1,000' has a comma")),
        (odd("{i} 000 000"), {}, (":2", "'0 000 000' has separators of thousands")),
        (odd("{i}%"), {}, (":2", "'0%' has a percent sign")),
        (odd("${i}.25"), {}, (":2", "'$0.25' has a currency sign")),
        ("a,b\n", {}, ("no rows",)),
        ("", {"header": False}, ("no rows",)),
        (rows(2), {}, ("2 examples are too few",)),
        ("a,b\n" + ",\n" * 9, {"missing": "drop"}, ("every row",)),
        ("a,b\n" + ",1\n,2\n" * 9, {"kinds": {"a": "numeric"}}, ("'a' has no number",)),
        (rows().replace("a,b", "a,a is missing").replace("3.5,", ","), {}, ("indicator; rename",)),
    ],
)
def test_bad_tables_are_refused(table, refuses, text, options, words):
    data = table(text, **options)
    refuses(vaezoo.DataError, lambda: data.spec, "some.csv", *words)


def test_text_and_codes_of_categories_are_no_odd_numbers(table):
    for cell in ("10.0.0.{i}", "v{i}", "{i}_0"):
        text = "a,b\n" + "".join(f"{cell.format(i=i % 15)},{i % 7}\n" for i in range(60))
        assert table(text).spec.fields[0].kind == "categorical"
    few = "a,b\n" + "".join(f"{(i % 3) + 1 if i else '1%'},{i % 5}\n" for i in range(20))
    assert table(few).spec.fields[0].categories == ("1", "1%", "2", "3")


def test_cells_with_line_ends_leave_the_lines_of_others(table, refuses):
    text = rows(r1='1,"re\nd"', r5="x,red")
    data = table(text, kinds={"a": "numeric"})
    refuses(vaezoo.DataError, lambda: data.spec, "some.csv:8: column 'a': 'x' is not a number")


def test_rows_are_named_by_the_file_they_come_from(table, tmp_path, refuses):
    (tmp_path / "test.csv").write_text(rows(9, r2="x,red"))
    options = {"test": str(tmp_path / "test.csv"), "kinds": {"a": "numeric"}}
    data = table(rows(), **options)
    refuses(vaezoo.DataError, lambda: data.spec, "test.csv:4: column 'a': 'x' is not a number")
    data = table(rows(r1=",red"), missing="drop", **options)
    refuses(vaezoo.DataError, lambda: data.spec, "test.csv:4: column 'a': 'x' is not a number")
    (tmp_path / "test.csv").write_text(rows(9))
    data = table(rows(r1=",red", r4="x,red"), missing="drop", **options)
    refuses(vaezoo.DataError, lambda: data.spec, "some.csv:6: column 'a': 'x' is not a number")


def test_what_is_not_used_or_may_be_meant_otherwise_is_told(table):
    assert not table(rows()).left_out and not table(rows()).notes
    dropped = table(rows(r3=",red", r6="6,?"), missing="drop")
    assert dropped.left_out == ("2 rows with missing cells (5, 8)",)
    assert dropped.sizes == {"train": 14, "validation": 2, "test": 2}
    (header,) = table(rows().replace("a,b", "1,2")).notes
    assert header.startswith("the first row (1, 2), which is read as data; if it names the")
    (typo, *_) = table(rows(20, r3="l3,red")).notes
    assert "'l3' is none, so that it is read as text" in typo


def test_categories_and_classes_without_training_rows_are_told(table):
    place = int(split_indices(20, (0.8, 0.1, 0.1), 0, "csv")["test"][0])
    text = rows(20, **{f"r{place}": f"{place},green"})
    note = "1 value of 'b' without a training row (green)"
    assert table(text).notes == table(text, condition="b").notes == (note,)


def test_a_missing_file_is_refused(tmp_path, refuses):
    data = Table(path=str(tmp_path / "none.csv"))
    refuses(vaezoo.DataError, lambda: data.spec, "none.csv")


def test_a_table_trains_with_a_density_of_numbers(table, tmp_path):
    text = "a,b,t\n" + "".join(f"{i},{('red', 'blue')[i % 2]},{1.7e9 + i}\n" for i in range(40))
    table(text)  # times in seconds have no place in float32
    spec = {
        "spec": "vaezoo/v2",
        "name": "table",
        "data": {"type": "table", "path": str(tmp_path / "some.csv"), "kinds": {"a": "integer"}},
        "model": {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"},
        "train": {"steps": 2},
        "evaluate": ["elbo"],
    }
    run = vaezoo.run(spec, out=tmp_path)
    exchanged = "\n".join(",".join(line.split(",")[::-1]) for line in text.splitlines())
    (tmp_path / "exchanged.csv").write_text(exchanged)
    x = torch.cat([run.data(name).split.x for name in SPLIT_NAMES])
    for name in ("some.csv", "exchanged.csv"):
        read = run.from_file(tmp_path / name).x
        torch.testing.assert_close(read[read[:, 0].argsort()], x[x[:, 0].argsort()])
    with pytest.raises(vaezoo.SpecError, match=r"needs binary or .*, but this data set is mixed"):
        vaezoo.run({**spec, "model": {**spec["model"], "likelihood": "bernoulli"}})


def test_a_spec_that_names_csv_is_told_what_reads_it():
    spec = {"spec": "vaezoo/v1", "name": "t", "data": {"type": "csv", "path": "t.csv"}}
    model = {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"}
    with pytest.raises(vaezoo.SpecError) as raised:
        vaezoo.load_spec({**spec, "model": model})
    assert "no dataset named 'csv'; use 'table' of the plugin vaezoo-tabular" in str(raised.value)


def test_numbers_of_a_few_values_keep_their_place(table):
    values = np.array([0.1, 0.2, 0.7] * 10)
    data = table("a,b\n" + "".join(f"{v},{i % 4}\n" for i, v in enumerate(values)))
    source = data.spec.to_source_units(everything(data).double())[:, 0]
    np.testing.assert_allclose(np.sort(source.numpy()), np.sort(values), atol=1e-6)
