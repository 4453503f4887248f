from __future__ import annotations

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.data.datasets.csv import CsvDataset
from vaezoo.data.splits import SPLIT_NAMES, split_indices
from vaezoo.utils.errors import DataError, SpecError


@pytest.fixture
def table(tmp_path):
    def make(text: str, **options) -> CsvDataset:
        (tmp_path / "some.csv").write_text(text, encoding=options.pop("encoding", "utf-8"))
        return CsvDataset(path=str(tmp_path / "some.csv"), **options)

    return make


def rows(count=20, **cells: str) -> str:
    """Columns a (0, 1, 2 ...) and b (red, blue, red ...).

    ``r3="7,red"`` replaces data row 3, which is line 5.
    """
    lines = [cells.get(f"r{i}", f"{i},{('red', 'blue')[i % 2]}") for i in range(count)]
    return "\n".join(["a,b", *lines]) + "\n"


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


def test_a_constant_column_becomes_zero(table):
    text = "a,b\n" + "".join(f"5,{i}\n" for i in range(20))
    assert everything(table(text))[:, 0].eq(0).all()


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
            (":5", "'a'", "'three' is not a finite number"),
        ),
        (rows(r3="inf,red"), {}, (":5", "'a'", "'inf' is not a finite number")),
        (rows(r3="3,"), {"condition": "b"}, (":5", "'b' has no label")),
        (rows(r3="3,"), {"condition": "b", "missing": "mean"}, (":5", "'b' has no label")),
        (rows(), {"condition": "bb"}, ("no column 'bb'", "did you mean 'b'")),
        (rows(), {"numeric": ["a"], "condition": "a"}, ("'a' is named twice",)),
        (rows(), {"numeric": [], "categorical": [], "condition": "a"}, ("no columns are left",)),
        (rows().replace("a,b", "a,a"), {}, ("same name",)),
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


def test_bytes_that_are_no_text_are_refused(table, tmp_path, refuses):
    data = table("")
    (tmp_path / "some.csv").write_bytes(b"a,b\n\xff\xfe\n")
    refuses(DataError, lambda: data.spec, "some.csv", "cannot be read as csv")


def test_a_missing_file_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: CsvDataset(path=str(tmp_path / "none.csv")).spec, "none.csv")


def test_a_table_with_categories_trains_with_a_density_of_numbers(table, tmp_path):
    table(rows(40))
    spec = {
        "spec": "vaezoo/v1",
        "name": "table",
        "data": {"type": "csv", "path": str(tmp_path / "some.csv")},
        "model": {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"},
        "train": {"steps": 2},
        "evaluate": ["elbo"],
    }
    run = vaezoo.run(spec, out=tmp_path)
    assert run.model.sample(4).shape == (4, 3)
    with pytest.raises(SpecError, match=r"needs binary or .*, but this data set is mixed"):
        vaezoo.run({**spec, "model": {**spec["model"], "likelihood": "bernoulli"}})
