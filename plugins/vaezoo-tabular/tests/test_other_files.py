"""Files that a trained model reads: score, encode, reconstruct and impute, through the command."""

from __future__ import annotations

import csv
import datetime
import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import vaezoo
from vaezoo.cli.main import main

N = 120
RNG = np.random.default_rng(0)
ROWS = {
    "age": RNG.integers(18, 80, N).astype(str).tolist(),
    "height": [f"{value:.1f}" for value in RNG.normal(170, 10, N)],
    "town": [["Bonn", "Köln", "", "Ulm"][i % 4] for i in range(N)],
    "member": [["TRUE", "FALSE"][i % 2] for i in range(N)],
    "born": [f"{10 + i % 9}.0{1 + i % 8}.19{50 + i % 40}" for i in range(N)],
}
PLAIN = {"age": "30", "height": "170.5", "town": "Ulm", "member": "TRUE", "born": "10.01.1960"}


def write(path, rows, separator=","):
    """Writes rows, each a mapping, as csv."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def train(folder, **data):
    rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
    write(folder / "people.csv", rows)
    spec = {
        "spec": "vaezoo/v2",
        "name": "people",
        "data": {"type": "table", "path": str(folder / "people.csv"), "batch_size": 32, **data},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [8]}},
            "decoder": {"type": "mlp", "hidden": [8]},
            "likelihood": {"type": "table", "units": 4},
        },
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=folder / "runs").path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that refuses what it does not know, and one to which it is missing."""
    folders = {unseen: tmp_path_factory.mktemp(unseen) for unseen in ("error", "missing")}
    return {unseen: train(folder, unseen=unseen) for unseen, folder in folders.items()}


@pytest.fixture
def call(capsys, tmp_path):
    """Calls the command; returns its exit code and the lines on stderr."""

    def run(command, *arguments, out="scores.csv"):
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with pytest.raises(SystemExit) as ended:
                main([command, *map(str, arguments), "--out", str(tmp_path / out)])
        return ended.value.code or 0, capsys.readouterr().err.splitlines()

    return run


def scores(tmp_path):
    rows = csv.DictReader((tmp_path / "scores.csv").read_text("utf-8").splitlines())
    return [float(row["score"]) for row in rows]


@pytest.mark.parametrize("command", ["score", "encode", "reconstruct"])
def test_columns_are_found_by_name_and_others_are_ignored_in_one_line(
    command, runs, call, tmp_path
):
    rows = [{**PLAIN, "age": str(age)} for age in (20, 40, 60)]
    out = "rows.csv"
    code, lines = call(command, runs["error"], write(tmp_path / "a.csv", rows), out=out)
    assert code == 0 and len(lines) == 1, lines
    first = (tmp_path / out).read_bytes()
    names = ["extra", *reversed(PLAIN), "x,y"]
    exchanged = [{name: {"extra": "1", "x,y": "z", **row}[name] for name in names} for row in rows]
    path = write(tmp_path / "b.csv", exchanged, separator=";")
    code, lines = call(command, runs["error"], path, out=out)
    assert code == 0 and lines[0] == (
        f"warning: {path}: ignores columns that training lacks: 'extra', 'x,y'"
    )
    again = (tmp_path / out).read_bytes().replace(b"b.csv", b"a.csv")
    assert len(lines) == 2 and again == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": "abc"}, "c.csv:3: column 'age': 'abc' is not a number"),
        ({"age": "3.5"}, "c.csv:3: column 'age': '3.5' is not a whole number"),
        ({"height": "1,5"}, "c.csv:3: column 'height': '1,5' has a decimal comma; write it as"),
        ({"height": "1e99"}, "c.csv:3: column 'height': '1e99' is too large"),
        ({"height": "NA"}, "c.csv:3: column 'height': the cell is empty, but the table of training"
         " has no empty cell in this column; fill such cells (vaezoo impute does), or train on"),
        ({"member": "yes"}, "c.csv:3: column 'member': 'yes' is none of its values (FALSE, TRUE)"),
        ({"town": "Rom"}, "c.csv:3: column 'town': 'Rom' is none of its values (Bonn, Köln, Ulm)"),
        ({"born": "1960-01-01"}, "c.csv:3: column 'born': '1960-01-01' is no date such as %d.%m"),
        ({"born": "31.02.1960"}, "c.csv:3: column 'born': '31.02.1960' is no date such as %d.%m"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["score", "impute"])
def test_a_cell_that_a_column_cannot_hold_is_refused(
    command, change, message, runs, call, tmp_path
):
    if command == "impute" and "NA" in change.values():
        pytest.skip("which is what is filled")
    path = write(tmp_path / "c.csv", [{**PLAIN, "town": ""}, {**PLAIN, **change}])
    code, lines = call(command, runs["error"], path, out="out.csv")
    assert code == 1 and len(lines) == 1 and message in lines[0]


def test_unseen_categories_and_absent_columns_are_missing_where_the_spec_says_so(
    runs, call, tmp_path
):
    empty = write(tmp_path / "a.csv", [{**PLAIN, "town": ""}])
    assert call("score", runs["missing"], empty)[0] == 0
    wanted = scores(tmp_path)
    unseen = write(tmp_path / "b.csv", [{**PLAIN, "town": "Rom"}])
    code, lines = call("score", runs["missing"], unseen)
    assert code == 0 and scores(tmp_path) == wanted
    assert lines[0] == (
        f"warning: {unseen}: 1 cell of column 'town' counts as missing, because no training row "
        "has its value ('Rom')"
    )
    absent = {name: cell for name, cell in PLAIN.items() if name != "town"}
    code, lines = call("score", runs["missing"], write(tmp_path / "c.csv", [absent]))
    assert code == 0 and scores(tmp_path) == wanted
    code, lines = call("score", runs["error"], tmp_path / "c.csv")
    assert code == 1 and lines == [
        f"error: {tmp_path / 'c.csv'}: no column 'town'; known: age, born, height, member"
    ]
    code, lines = call(
        "score", runs["missing"], write(tmp_path / "d.csv", [{**PLAIN, "member": "x"}])
    )
    assert code == 1 and lines[0].endswith(
        "d.csv:2: column 'member': 'x' is none of its values (FALSE, TRUE); it cannot count as "
        "missing, as the table of training has no empty cell in this column; fill such cells "
        "(vaezoo impute does), or train on a table in which some are empty"
    )
    absent = {("ages" if name == "age" else name): cell for name, cell in PLAIN.items()}
    code, lines = call("score", runs["missing"], write(tmp_path / "e.csv", [absent]))
    assert code == 1 and lines[-1].endswith("e.csv: no column 'age'; did you mean 'ages'?")


def test_other_kinds_of_files_hold_the_same_rows(runs, call, tmp_path):
    """Numbers, truth values and dates may have types of their own."""
    path = write(tmp_path / "a.csv", [PLAIN, {**PLAIN, "member": "false"}])
    assert call("score", runs["error"], path)[0] == 0
    wanted = scores(tmp_path)
    table = pa.table(
        {
            "age": [30.0, 30.0],
            "height": [170.5, 170.5],
            "town": pa.array(["Ulm", "Ulm"]).dictionary_encode(),
            "member": [True, False],
            "born": [datetime.date(1960, 1, 10)] * 2,
        }
    )
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    assert call("score", runs["error"], tmp_path / "a.parquet")[0] == 0
    assert scores(tmp_path) == wanted
    for name, cells, message in (
        ("age", ["x", "y"], "a.parquet, row 1: column 'age': 'x' is not a number"),
        ("age", [30.0, 30.5], "a.parquet, row 2: column 'age': '30.5' is not a whole number"),
        ("height", [True, False], "a.parquet, row 1: column 'height': 'True' is not a number"),
        ("born", [1.5, 2.5], "a.parquet, row 1: column 'born': '1.5' is not a date"),
        ("town", [1, 2], "a.parquet, row 1: column 'town': '1' is none of its values (Bonn,"),
    ):
        changed = table.set_column(table.column_names.index(name), name, pa.array(cells))
        pa.parquet.write_table(changed, tmp_path / "a.parquet")
        code, lines = call("score", runs["error"], tmp_path / "a.parquet")
        assert code == 1 and len(lines) == 1 and message in lines[0]


def test_absent_columns_and_unseen_categories_are_imputed(runs, call, tmp_path):
    holes = [{"age": "30", "height": "170.5", "town": "Rom", "member": "TRUE"}]
    path = write(tmp_path / "a.csv", holes)
    code, lines = call("impute", runs["error"], path, out="full.csv")
    assert code == 1 and "'Rom' is none of its values" in lines[0]
    code, lines = call("impute", runs["missing"], path, out="full.csv")
    assert code == 0 and "counts as missing" in lines[0]
    (row,) = csv.DictReader((tmp_path / "full.csv").read_text("utf-8").splitlines())
    assert row["age"] == "30" and row["town"] in ("Bonn", "Köln", "Ulm") and row["born"]


def test_the_form_of_csv_files_is_that_of_training(call, tmp_path):
    """Encoding and header that the spec gives are those of other files."""
    lines = [f"{i % 7},{i % 10};{'äb'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(lines), "latin-1")
    spec = {
        "spec": "vaezoo/v2",
        "name": "t",
        "data": {
            "type": "table",
            "path": str(tmp_path / "t.csv"),
            "batch_size": 16,
            "header": False,
            "encoding": "latin-1",
        },
        "model": {"latent_dim": 1, "encoder": "mlp", "decoder": "mlp", "likelihood": "table"},
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    run = vaezoo.run(spec, out=tmp_path)
    (tmp_path / "one.csv").write_text("3,5;ä", "latin-1")
    x = run.model.data.to_source_units(run.from_file(tmp_path / "one.csv").x)
    assert x.shape == (1, 2) and x[0, 0].item() == pytest.approx(3.5)
    assert json.loads(json.dumps(run.model.data.facts)) == run.model.data.facts
