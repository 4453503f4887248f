"""Tables through the door of users: a spec in, rows of the same columns out."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from vaezoo_tabular.dataset import Table

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.utils.errors import UsageError

HEADER = "id,age,height,town,member,born,plan,zip"
TOWNS = ("Bonn", "Köln", "Ulm")


def people(n=200):
    """Rows of a table with columns of each kind; some ages and towns are missing."""
    rng = np.random.default_rng(0)
    rows = [HEADER]
    for i in range(n):
        age = "" if i % 10 == 3 else str(rng.integers(18, 80))
        town = "NA" if i % 20 == 7 else TOWNS[rng.integers(3)]
        born = f"{rng.integers(1950, 2000)}-0{rng.integers(1, 9)}-1{rng.integers(10)}"
        member = "TRUE" if rng.integers(2) else "FALSE"
        height = f"{rng.normal(170, 10):.1f}"
        rows.append(
            f"user-{i},{age},{height},{town},{member},{born},basic,0{rng.integers(100, 105)}"
        )
    return rows


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("\n".join(people()), "utf-8")
    return path


@pytest.fixture
def trained(table, tmp_path):
    spec = {
        "spec": "vaezoo/v2",
        "name": "people",
        "data": {"type": "table", "path": str(table), "batch_size": 32},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [16]}},
            "decoder": {"type": "mlp", "hidden": [16]},
            "likelihood": {"type": "table", "units": 8},
        },
        "train": {"epochs": 2, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=tmp_path / "runs")


def test_columns_are_described(table):
    data = Table(path=str(table))
    kinds = {field.name: field.kind for field in data.spec.fields}
    assert kinds == {
        "age": "integer",
        "age is missing": "binary",
        "height": "numeric",
        "town": "categorical",
        "town is missing": "binary",
        "member": "binary",
        "born": "datetime",
        "zip": "categorical",
    }
    assert data.left_out == (
        "1 column that names the rows (id)",
        "1 column with one value only (plan)",
    )
    assert any("zeros before numbers of column 'zip'" in note for note in data.notes)
    split = data.split("train")
    assert split.x.shape == (160, 8) and split.x[:, 1].max() == 1
    assert abs(split.x[split.x[:, 1] < 0.5, 0].mean()) < 1e-5
    assert json.loads(json.dumps(data.spec.facts)) == data.spec.facts


def test_a_boolean_column_has_two_values(table):
    with pytest.raises(vaezoo.DataError, match="column 'town' is not boolean: it has 3 different"):
        Table(path=str(table), kinds={"town": "boolean"}).split("train")


@pytest.mark.parametrize(("count", "lost"), [(4, 3), (500, 128)])
def test_numbers_that_float32_does_not_tell_apart_are_noted(tmp_path, count, lost):
    """As one number is very large: of known values, and of the edges of bins."""
    cells = [str(i % count / 10) for i in range(1000)]
    for large, expected in (("5.5", 0), ("1e13", lost)):
        rows = [f"{cell},{'xy'[i % 2]}" for i, cell in enumerate([*cells, *[large] * 200])]
        (tmp_path / "t.csv").write_text("\n".join(["a,b", *rows]))
        data = Table(path=str(tmp_path / "t.csv"))
        (*notes,) = (note for note in data.notes if "not told from others" in note)
        if not expected:
            assert not notes
            continue
        assert f"column 'a', of which {lost} are not told" in notes[0] and "1e+13" in notes[0]
        x = data.split("train").x[:, 0]
        assert len(x.unique()) == 2


def test_rows_come_out_as_they_came_in(trained, table, tmp_path):
    """The names, order, units, categories, spellings and formats of the table."""
    out = tmp_path / "rows.csv"
    arguments = ["sample", str(trained.path), "-n", "40", "--out", str(out)]
    assert CliRunner().invoke(cli, arguments, obj={}).exit_code == 0
    with open(out, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == HEADER.split(",")[1:]  # identifiers are not made up
    real = [row.split(",")[1:] for row in people()[1:]]
    for name, made, known in zip(header, zip(*rows), zip(*real)):
        if name in ("town", "member", "plan", "zip", "age"):
            assert {*made} <= {"" if value == "NA" else value for value in known}, name
        elif name == "height":
            assert all(len(value.split(".")[1]) == 1 for value in made if "." in value)
        else:
            assert all(len(value) == 10 and value[4] == "-" for value in made)


def test_rows_are_the_same_after_reading_and_writing(trained, table, tmp_path):
    file_format = vaezoo.runs.example_files.format_for(trained.model.data, tmp_path / "x.csv")
    batch = file_format.read(table)
    file_format.write(tmp_path / "x.csv", batch, 1)
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        rows = [",".join(row) for row in csv.reader(file)]
    wanted = [row.partition(",")[2].replace("NA", "") for row in people()]
    for got, want in zip(rows, wanted, strict=True):
        for a, b in zip(got.split(","), want.split(","), strict=True):
            assert a == b or float(a) == float(b)


def test_scores_of_a_table_are_those_of_the_split(trained, table, tmp_path):
    out = tmp_path / "scores.csv"
    arguments = ["score", str(trained.path), str(table), "--out", str(out)]
    assert CliRunner().invoke(cli, arguments, obj={}).exit_code == 0
    header, *lines = out.read_text().splitlines()
    assert header == "file,example,id,score" and len(lines) == 200
    assert [line.split(",")[2] for line in lines[:2]] == ["user-0", "user-1"]
    by_id = {line.split(",")[2]: float(line.split(",")[3]) for line in lines}
    arguments[2] = "all"
    assert CliRunner().invoke(cli, arguments, obj={}).exit_code == 0
    header, *lines = out.read_text().splitlines()
    assert header == "split,example,id,score" and len(lines) == 200
    found = {line.split(",")[2]: float(line.split(",")[3]) for line in lines}
    assert found.keys() == by_id.keys() and lines[0].startswith("train,0,user-")


def test_rows_are_conditioned_on_columns_and_completed(trained, table, tmp_path):
    out = tmp_path / "rows.csv"
    run, arguments = CliRunner(), ["sample", str(trained.path), "-n", "9", "--out", str(out)]
    done = run.invoke(cli, [*arguments, "--condition", "town=Ulm,age=30"], obj={})
    assert done.exit_code == 0 and "effective sample size" in done.output
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert len(rows) == 9 and all(r["town"] == "Ulm" and r["age"] == "30" for r in rows)
    words = ["--condition", "born=1970-01-11", "--condition", "town=Ulm", "--proposals", "1"]
    assert run.invoke(cli, [*arguments, *words], obj={}).exit_code == 0
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert all(r["born"] == "1970-01-11" and r["town"] == "Ulm" for r in rows)
    for text, message in (
        ("nope=1", "no column 'nope'"),
        ("town=Rom", "no value 'Rom'"),
        ("born=soon", "born: 'soon' is no date"),
        ("age=3,5", "age: '3,5' has a decimal comma"),
        ("town=all", "takes one value, not all"),
        ("town=Ulm;age=30", "'Ulm;age=30'.*; separate several conditions by commas"),
        ("town=Ulm and age=30", "separate several conditions by commas"),
        ("age=30; town=Ulm", "is not a number; separate several conditions by commas"),
        ("town=Rom;Ulm", "no value 'Rom;Ulm'(?!.*separate)"),
    ):
        with pytest.raises(UsageError, match=message):
            run.invoke(cli, [*arguments, "--condition", text], obj={}, catch_exceptions=False)
    one = run.invoke(cli, [*arguments, "--condition", "town=Ulm", "--proposals", "1"], obj={})
    assert one.exit_code == 0 and "size 1.0 of 1 proposals" in one.output
    lines = table.read_text("utf-8").splitlines()
    holes = tmp_path / "holes.csv"
    holes.write_text("\n".join([lines[0], "a,,170.0,,TRUE,1970-01-11,basic,", lines[1]]), "utf-8")
    arguments = ["impute", str(trained.path), str(holes), "--draws", "2", "--out", str(out)]
    assert run.invoke(cli, arguments, obj={}).exit_code == 0
    for name in ("rows-1.csv", "rows-2.csv"):
        first, second = csv.DictReader((tmp_path / name).read_text("utf-8").splitlines())
        assert all(first.values()) and first["id"] == "a" and first["height"] == "170.0"
        assert second["age"] == lines[1].split(",")[1]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        *(
            (option, f"{option[0]} has no effect with --condition on columns")
            for option in (
                ("--temperature", "0"),
                ("--prior-temperature", "1"),  # also the default, if it is given
                ("--sampler", "s"),
                ("--prefix", "p.csv"),
                ("--steps", "4"),
                ("--draw",),
                ("--extra", "size=2"),
            )
        ),
        (("--condition", "age=30,age is missing=missing"), "'age' has a value and is missing"),
        (("--condition", "age=30,age=40"), "'age' has two values"),
        (("--condition", "town=all"), "'town' takes one value, not all"),
        (("--condition", "age=nan"), "age: 'nan' is not a number"),
    ],
)
def test_what_cannot_count_in_samples_of_given_columns_is_refused(trained, option, message):
    arguments = ["sample", str(trained.path), "--condition", "town=Ulm", *option]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)


def test_proposals_are_refused_where_no_column_is_given(trained):
    arguments = ["sample", str(trained.path), "--proposals", "9"]
    with pytest.raises(UsageError, match="--proposals is for --condition on columns"):
        CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"nope": "integer"}}, "no column 'nope'"),
        ({"kinds": {"town": "integer"}}, "people.csv:2: column 'town': 'Köln' is not a number"),
        ({"kinds": {"height": "integer"}}, "is not a whole number"),
        ({"kinds": {"id": "text"}}, "column 'id' holds text"),
        ({"kinds": {"id": "categorical"}, "max_categories": 50}, "column 'id' has 200 categories"),
        ({"dates": {"town": "%Y"}}, "column 'town': 'Köln' is no date such as %Y"),
        ({"condition": "nope"}, "no column 'nope'"),
        ({"missing": "error"}, "column 'age' is empty; set missing to model or drop"),
        ({"max_categories": 2}, "column 'town' has 3 categories, more than max_categories: 2"),
    ],
)
def test_what_cannot_be_modelled_is_named(table, options, message):
    with pytest.raises(vaezoo.DataError) as raised:
        _ = Table(path=str(table), **options).spec
    assert message in str(raised.value)


def test_options_change_what_is_modelled(table):
    data = Table(
        path=str(table), missing="drop", rare=75, kinds={"zip": "ignore"}, condition="member"
    )
    names = [field.name for field in data.spec.fields]
    assert names == ["age", "height", "town", "born"]
    assert data.spec.classes == ("FALSE", "TRUE") and data.split("test").condition is not None
    assert data.left_out[0].startswith("30 rows with missing cells (5, 9, ...)")
    assert data.spec.fields[2].categories[-1] == "(other)"
    assert sum(data.sizes.values()) == 170


def test_test_rows_may_be_in_another_file(table, tmp_path):
    rows = people(230)
    (tmp_path / "test.csv").write_text("\n".join([rows[0], *rows[201:]]), "utf-8")
    data = Table(path=str(table), test=str(tmp_path / "test.csv"))
    assert data.sizes == {"train": 178, "validation": 22, "test": 30}
    (tmp_path / "test.csv").write_text("id,age\n1,2\n", "utf-8")
    with pytest.raises(vaezoo.DataError, match=r"test\.csv: has no column 'born'"):
        _ = Table(path=str(table), test=str(tmp_path / "test.csv")).spec


def test_data_frames_are_read_as_they_are(table):
    import pandas as pd

    frame = pd.read_csv(table, dtype={"zip": str}, parse_dates=["born"])
    data = Table()
    data.set_data(frame)
    spec = data.spec
    assert [field.name for field in spec.fields] == [
        *("age", "age is missing", "height", "town", "town is missing", "member", "born", "zip"),
    ]
    with pytest.raises(vaezoo.DataError, match="already has its data"):
        data.set_data(frame)
    with pytest.raises(vaezoo.DataError, match="needs a data frame, not list"):
        Table().set_data([1, 2])


def test_labels_may_be_missing_and_columns_may_be_factors(table):
    options = {"condition": "town", "factors": ["member", "plan"]}
    data = Table(path=str(table), **options)
    towns = [line.split(",")[3] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    labels = torch.cat([data.split(name).condition for name in ("train", "validation", "test")])
    assert int((labels < 0).sum()) == towns.count("NA") > 0
    assert len(data.spec.classes) == len({*towns} - {"NA"})
    assert [field.name for field in data.spec.factors] == ["member", "plan"]
    assert not {"member", "plan", "town"} & {field.name for field in data.spec.fields}
    assert data.split("test").factors.shape == (data.sizes["test"], 2)
    dropped = Table(path=str(table), missing="drop", **options)
    assert int(dropped.split("train").condition.min()) == 0
    with pytest.raises(vaezoo.DataError, match="no column 'nope'"):
        _ = Table(path=str(table), factors=["nope"]).spec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": ["d"]}, "no column 'd'"),
        ({"factors": ["b"]}, "factor 'b' has no value in example 3"),
        ({"factors": ["b"], "missing": "error"}, "column 'b' is empty"),
        ({"factors": ["c"], "condition": "c"}, "no column 'c'; known: a, b"),
        ({"factors": ["a", "b", "c"], "missing": "drop"}, "no column is left"),
    ],
)
def test_columns_of_factors_that_do_not_fit_are_refused(options, message, tmp_path):
    rows = [f"{i},{'' if i == 3 else i % 2},{i % 3}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,c", *rows]))
    with pytest.raises(vaezoo.DataError, match=message):
        Table(path=str(tmp_path / "x.csv"), **options).split("train")


def test_factors_need_a_value_only_in_the_rows_that_are_kept(tmp_path):
    rows = [f"{i},{'' if i == 3 else i % 2},{i % 3}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,c", *rows]))
    data = Table(path=str(tmp_path / "x.csv"), factors=["b"], missing="drop")
    assert sum(data.sizes.values()) == 39 and data.spec.factors[0].categories == ("0", "1")
