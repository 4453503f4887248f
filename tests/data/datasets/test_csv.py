from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.data.datasets.csv import CsvDataset
from vaezoo.data.splits import SPLIT_NAMES, split_indices
from vaezoo.utils.errors import DataError, SpecError


@pytest.fixture
def table(tmp_path):
    def make(text: str | bytes, **options) -> CsvDataset:
        encoding = options.pop("encoding", "utf-8")
        data = text if isinstance(text, bytes) else text.encode(encoding)
        (tmp_path / "some.csv").write_bytes(data)
        return CsvDataset(path=str(tmp_path / "some.csv"), **options)

    return make


def rows(count=20, **cells: str) -> str:
    """Columns a (0, 1, 2 ...) and b (red, blue, red ...).

    ``r3="7,red"`` replaces data row 3, which is line 5.
    """
    lines = [cells.get(f"r{i}", f"{i},{('red', 'blue')[i % 2]}") for i in range(count)]
    return "\n".join(["a,b", *lines]) + "\n"


def odd(cell: str) -> str:
    """Column a with ``cell`` for each number ``i``, and b (0, 1, 2 ...)."""
    return "a,b\n" + "".join(f"{cell.format(i=i)},{i}\n" for i in range(20))


def everything(data: CsvDataset) -> torch.Tensor:
    return torch.cat([data.split(name).x for name in SPLIT_NAMES])


def test_numbers_are_standardised_by_the_training_split(table):
    data = table(rows())
    train = data.split("train").x[:, 0]
    assert torch.allclose(train.mean(), torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(train.std(correction=0), torch.tensor(1.0))
    steps = everything(data)[:, 0].sort().values.diff()
    assert torch.allclose(steps, steps.mean().expand(19), atol=1e-5)


def test_categories_are_one_hot_in_alphabetical_order(table):
    data = table(rows())
    assert data.spec.shape == (3,)
    x = everything(data)
    assert x[:, 1:].sum(1).eq(1).all() and x[:, 1:].sum(0).tolist() == [10, 10]
    place = x[:, 0].argsort()
    assert x[place, 2].tolist() == [1, 0] * 10  # blue, red; the first row is red


@pytest.mark.parametrize("value", ["5", "0.1", "-1e9", "0", "1e-300"])
def test_a_column_that_is_constant_in_training_keeps_its_scale(table, value):
    text = "a,b\n" + "".join(f"{value},{i}\n" for i in range(60))
    data = table(text)
    assert everything(data)[:, 0].eq(0).all() and data.spec.fields[0].scale == 1
    other = int(split_indices(60, data.fractions, data.split_seed, "csv")["test"][0])
    exception = text.replace(f"{value},{other}\n", f"{float(value) + 0.25},{other}\n")
    assert everything(table(exception))[:, 0].max() == 0.25


def test_a_condition_is_a_label_and_no_part_of_x(table):
    data = table(rows(), condition="b")
    assert (data.spec.shape, data.spec.classes, data.spec.condition_shape) == (
        (1,),
        ("blue", "red"),
        (),
    )
    x = torch.cat([data.split(name).x[:, 0] for name in SPLIT_NAMES])
    labels = torch.cat([data.split(name).condition for name in SPLIT_NAMES])
    assert labels[x.argsort()].tolist() == [1, 0] * 10


def test_columns_may_be_chosen(table):
    text = "a,b,c\n" + "".join(f"{i},{i % 3},x{i}\n" for i in range(20))
    assert table(text, numeric=["a"], categorical=["b"]).spec.shape == (4,)
    assert table(text, numeric=["a"]).spec.shape == (1 + 3 + 20,)
    assert table(text, categorical=["b"]).spec.shape == (4,)


def test_a_column_that_is_not_used_may_have_holes(table):
    text = "a,b,c\n" + "".join(f"{i},{i % 3},\n" for i in range(20))
    assert table(text, numeric=["a"], categorical=["b"]).spec.shape == (4,)


def test_columns_have_numbers_for_names_where_there_is_no_header(table):
    data = table(rows().partition("\n")[2], header=False, condition="1")
    assert (len(everything(data)), data.spec.shape, data.spec.classes) == (
        20,
        (1,),
        ("blue", "red"),
    )


def test_delimiter_quotes_spaces_and_byte_order_mark(table):
    text = "".join(f'{i}; "b;lue"\n' if i % 2 else f"{i} ;red\n" for i in range(20)).replace(
        '; "', ';"'
    )
    data = table(
        "a; b\n" + text, delimiter=";", condition="b", encoding="utf-8-sig", numeric=["a"]
    )
    assert data.spec.classes == ("b;lue", "red")


@pytest.mark.parametrize("hole", ["", "NA", "n/a", "NaN", "null", "None", "?", " "])
def test_a_missing_number_is_an_error_by_default(table, refuses, hole):
    data = table(rows(r3=f"{hole},red"))
    refuses(DataError, lambda: data.spec, "some.csv:5", "'a' is empty", "drop or mean")


def test_drop_leaves_the_row_out(table):
    x = everything(table(rows(r3=",red", r6="6,?"), missing="drop"))
    assert x.shape == (18, 3)


def test_mean_fills_in_the_training_mean(table):
    x = everything(table(rows(r3=",red"), missing="mean"))
    assert len(x) == 20
    assert x[:, 0].abs().min() < 1e-6


def test_missing_categories_are_one_category(table):
    data = table(rows(r2="2,", r3="3,NA", r4="4,?"), missing="mean")
    assert data.spec.shape == (1 + 3,)
    assert everything(data)[:, 1].sum() == 3


def test_the_training_split_alone_fills_and_scales(table):
    data = table(rows(r3=",red"), missing="mean")
    raw = np.array([np.nan if i == 3 else i for i in range(20)])
    index = split_indices(20, data.fractions, data.split_seed, "csv")
    train = raw[index["train"]]
    expected = (np.where(np.isnan(raw), np.nanmean(train), raw) - np.nanmean(train)) / np.nanstd(
        train
    )
    for name in SPLIT_NAMES:
        assert np.allclose(data.split(name).x[:, 0].numpy(), expected[index[name]], atol=1e-6)


def test_fields_say_where_the_columns_are_and_what_was_subtracted(table):
    data = table(rows(r3="3,red"))
    number, category = data.spec.fields
    assert data.spec.support == "mixed"
    assert (number.name, number.kind, number.columns) == ("a", "numeric", (0, 1))
    assert (category.name, category.kind, category.columns) == ("b", "categorical", (1, 3))
    assert category.categories == ("blue", "red")
    x = torch.cat([data.split(name).x for name in SPLIT_NAMES])
    source = data.spec.to_source_units(x)
    torch.testing.assert_close(source[:, 0].sort().values, torch.arange(20.0), atol=1e-5, rtol=0)
    assert torch.equal(source[:, 1:], x[:, 1:]), "categories have no units"
    torch.testing.assert_close(data.spec.from_source_units(source), x)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (rows(r3="3"), {}, (":5", "1 cells, expected 2")),
        (
            rows(r3="three,red"),
            {"numeric": ["a"]},
            (":5", "'a'", "'three' is not a number"),
        ),
        (rows(r3="inf,red"), {}, (":5", "'a'", "'inf' is not a finite number")),
        (rows(r3="1e308,red"), {}, (":5", "'a'", "'1e308' is not a finite number")),
        (rows(), {"condition": "bb"}, ("no column 'bb'", "did you mean 'b'")),
        (rows(), {"numeric": ["a"], "condition": "a"}, ("'a' is named twice",)),
        (rows(), {"numeric": [], "categorical": [], "condition": "a"}, ("no columns are left",)),
        (rows().replace("a,b", "a,a"), {}, ("two columns have the same name 'a'",)),
        (rows().replace("a,b", ",b"), {}, ("column 1 has no name",)),
        (rows().replace("a,b", "0.5,1"), {}, (":1: has numbers as names", "set header: false")),
        (rows().replace(",", ";"), {}, ("one column, 'a;b'", "set data.delimiter to ';'")),
        (rows(r3='3,"red'), {}, (":5", "a quote is not closed")),
        (rows(r3="3,re\0d"), {}, (":5", "has a NUL byte")),
        (rows(r3="3,red,1"), {}, (":5", "3 cells, expected 2", "in quotes")),
        (rows().encode("utf-16"), {}, ("is UTF-16 text; save it as UTF-8",)),
        (gzip.compress(rows().encode(), mtime=0), {}, ("is a gzip archive; unpack it",)),
        (b"PK\x03\x04", {}, ("a spreadsheet; save it as csv",)),
        (b"a,b\n\xff\xfe\n", {}, (":2: byte 0xff is not UTF-8 text",)),
        (odd('"{i},5"'), {}, (":2", "'a'", "'0,5' has a decimal comma; write numbers such as")),
        (odd('"{i},5"'), {"numeric": ["a"]}, (":2", "'a'", "'0,5' has a decimal comma; write")),
        (odd('"1,{i:03}"'), {}, (":2", "'1,000' has a comma")),
        (odd("{i} 000 000"), {}, (":2", "'0 000 000' has separators of thousands")),
        (odd("{i}%"), {}, (":2", "'0%' has a percent sign")),
        (odd("${i}.25"), {}, (":2", "'$0.25' has a currency sign")),
        ("a,b\n", {}, ("no rows",)),
        ("", {"header": False}, ("no rows",)),
        (rows(2), {}, ("2 examples are too few",)),
        ("a,b\n" + ",\n" * 9, {"missing": "drop"}, ("every row",)),
        (
            "a,b\n" + "".join(f",{i}\n" for i in range(20)),
            {"missing": "mean"},
            ("'a' has no number",),
        ),
    ],
)
def test_bad_tables_are_refused(table, refuses, text, options, words):
    data = table(text, **options)
    refuses(DataError, lambda: data.spec, "some.csv", *words)


def test_text_and_codes_of_categories_are_no_odd_numbers(table):
    for cell in ("10.0.0.{i}", "v{i}", "2026-01-{i:02}", "{i}_0"):
        assert table(odd(cell)).spec.shape == (21,)
    few = "a,b\n" + "".join(f"{(i % 3) + 1 if i else '1%'},{i}\n" for i in range(20))
    assert table(few).spec.shape == (4 + 1,)


def test_one_hot_columns_beyond_the_limit_are_refused_before_they_are_made(
    table, refuses, monkeypatch
):
    monkeypatch.setattr("vaezoo.data.columns._MAX_BYTES", 4 * 20 * 21)
    assert table(rows()).spec.shape == (3,)
    text = "id,b\n" + "".join(f"n{i},{('red', 'blue')[i % 2]}\n" for i in range(20))
    refuses(DataError, lambda: table(text).spec, "column 'id' has 20 values", "GiB")


def test_what_is_not_used_or_may_be_meant_otherwise_is_told(table):
    assert table(rows()).left_out == table(rows()).notes == []
    dropped = table(rows(r3=",red", r6="6,?"), missing="drop")
    assert dropped.left_out == ["2 rows with empty cells (5, 8)"]
    assert dropped.sizes == {"train": 14, "validation": 2, "test": 2}
    (unused,) = table(rows(), numeric=["a"], categorical=[]).left_out
    assert unused == "1 column that no option names (b)"
    codes = "a,b\n" + "".join(f"{i:02},1\n" for i in range(40))
    (zeros,) = table(codes).notes
    assert zeros.startswith("zeros before numbers of column 'a' ('00' in line 2, read as a number")
    assert table(codes, numeric=["a", "b"]).notes == []
    (typo, *_) = table(rows(20, r3="l3,red")).notes
    assert typo.startswith("numbers of column 'a' ('l3' in line 5, so that its values are cat")
    (header,) = table(rows().replace("a,b", "1,2")).notes
    assert header.startswith("the first row (1, 2), which names the columns; if it is data, set")


def test_categories_and_classes_without_training_rows_are_told(table):
    index = split_indices(20, (0.8, 0.1, 0.1), 0, "csv")
    place = int(index["test"][0])
    text = rows(20, **{f"r{place}": f"{place},green"})
    note = "1 value of 'b' without a training row (green)"
    assert table(text).notes == table(text, condition="b").notes == [note]


def test_a_missing_file_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: CsvDataset(path=str(tmp_path / "none.csv")).spec, "none.csv")


def test_a_table_with_categories_trains_with_a_density_of_numbers(table, tmp_path):
    text = "a,b,t\n" + "".join(f"{i},{('red', 'blue')[i % 2]},{1.7e9 + i}\n" for i in range(40))
    table(text)  # times in seconds have no place in float32
    spec = {
        "spec": "vaezoo/v1",
        "name": "table",
        "data": {"type": "csv", "path": str(tmp_path / "some.csv")},
        "model": {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"},
        "train": {"steps": 2},
        "evaluate": ["elbo"],
    }
    run = vaezoo.run(spec, out=tmp_path)
    assert run.model.sample(4).shape == (4, 4)
    lines = text.splitlines()
    exchanged = "\n".join(",".join(line.split(",")[::-1]) for line in lines)
    (tmp_path / "exchanged.csv").write_text(exchanged)
    x = torch.cat([run.data(name).split.x for name in SPLIT_NAMES])
    for name in ("some.csv", "exchanged.csv"):
        read = run.from_file(tmp_path / name).x
        torch.testing.assert_close(read[read[:, 0].argsort()], x[x[:, 0].argsort()])
    with pytest.raises(SpecError, match=r"needs binary or .*, but this data set is mixed"):
        vaezoo.run({**spec, "model": {**spec["model"], "likelihood": "bernoulli"}})
