"""Samples are written as the csv file of training is, and a model reads its own files again."""

from __future__ import annotations

import csv
import json
import warnings

import numpy as np
import pandas as pd
import pytest

import vaezoo
from vaezoo.cli.main import main

N = 60


def train(folder, path, frame=None, context=None, **data):
    data = {"type": "table", "batch_size": 32, **data}
    spec = {
        "spec": "vaezoo/v2",
        "name": "t",
        "data": data if frame is not None else {**data, "path": str(path)},
        "model": {"latent_dim": 1, "encoder": "mlp", "decoder": "mlp", "likelihood": "table"},
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    if context is not None:
        spec["model"]["condition"] = context
    return vaezoo.run(spec, out=folder / "runs", data=frame)


def call(capsys, *arguments):
    """Calls the command; returns its exit code and the lines on stderr."""
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
    return ended.value.code or 0, capsys.readouterr().err.splitlines()


def rows(separator, decimal):
    """Rows of a number that is not whole, a whole number, a name and a word."""
    for i in range(N):
        number = f"{100 + i / 4:.2f}".replace(".", decimal)
        cells = [f"user-{i}", number, str(i % 7), ("größe", "alt")[i % 2]]
        yield separator.join(f'"{each}"' if separator in each else each for each in cells)


FORMS = {
    "commas": (",", ".", True, "utf-8", {}),
    "german": (";", ",", True, "utf-8", {}),
    "german without a header": (";", ",", False, "utf-8", {}),
    "without a header": (",", ".", False, "utf-8", {}),
    "tabs": ("\t", ",", True, "utf-8", {}),
    "latin": (";", ",", True, "latin-1", {"encoding": "latin-1"}),
    "mark": (",", ".", True, "utf-8-sig", {}),
    "utf-16": ("|", ".", False, "utf-16", {}),
    "given": (":", ",", True, "utf-8", {"separator": ":", "decimal": ","}),
    "quotes": (",", ",", True, "utf-8", {"decimal": ","}),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_model_reads_its_own_samples(form, tmp_path, capsys):
    separator, decimal, has_header, encoding, options = FORMS[form]
    lines = [*([separator.join(("who", "size", "n", "word"))] if has_header else [])]
    lines += rows(separator, decimal)
    path = tmp_path / "some.csv"
    path.write_text("\n".join(lines) + "\n", encoding)
    run = train(tmp_path, path, **options)
    facts = run.model.data.facts["vaezoo-tabular"]
    assert facts["form"] == {
        "separator": separator, "decimal": decimal, "header": has_header, "encoding": encoding,
    }  # fmt: skip
    out = tmp_path / "samples.csv"
    code, messages = call(capsys, "sample", run.path, "-n", 8, "--out", out)
    assert code == 0, messages
    text = out.read_bytes().decode(encoding)
    assert out.read_bytes()[:2] == path.read_bytes()[:2] or encoding in ("utf-8", "latin-1")
    cells = list(csv.reader(text.splitlines(), delimiter=separator))
    assert len(cells) == 8 + has_header
    number = cells[-1][0 if has_header else 1]
    assert 100 <= float(number.replace(decimal, ".")) <= 100 + N / 4
    if has_header:
        assert cells[0] == ["size", "n", "word"]
    scores = tmp_path / "scores.csv"
    code, messages = call(capsys, "score", run.path, out, "--out", scores)
    assert code == 0, messages
    assert not any("ignores" in line for line in messages)
    x = run.model.data.to_source_units(run.from_file(out).x).numpy()
    assert np.all((x[:, 0] >= 100) & (x[:, 0] <= 100 + N / 4))


def test_samples_of_a_data_frame_have_the_usual_form(tmp_path, capsys):
    frame = pd.DataFrame({"a": [0.5 + i % 5 for i in range(N)], "b": ["x", "y"] * (N // 2)})
    run = train(tmp_path, None, frame)
    assert json.loads(json.dumps(run.model.data.facts))["vaezoo-tabular"]["form"] == {
        "separator": ",", "decimal": ".", "header": True, "encoding": "utf-8",
    }  # fmt: skip
    code, messages = call(capsys, "sample", run.path, "-n", 4, "--out", tmp_path / "samples.csv")
    assert code == 0, messages
    assert (tmp_path / "samples.csv").read_text("utf-8").startswith("a,b\n")


def test_other_files_have_their_own_form(tmp_path, capsys):
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["who;size;n;word", *rows(";", ",")]), "utf-8")
    run = train(tmp_path, path)
    for name, text in (
        ("point", "size,n,word\n101.25,3,alt\n"),
        ("comma", "size;n;word\n101,25;3;alt\n"),
        ("tab", "word\tn\tsize\nalt\t3\t101.25\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
        x = run.model.data.to_source_units(run.from_file(tmp_path / f"{name}.csv").x)
        assert x[0, :2].tolist() == pytest.approx([101.25, 3]), name


def test_labels_and_ignored_columns_keep_their_places_without_a_header(tmp_path, capsys):
    path = tmp_path / "some.csv"
    lines = [f"{'xy'[i % 2]};{'pq'[i % 2]};{i % 9},5;{i % 3}" for i in range(N)]
    path.write_text("\n".join(lines), "utf-8")
    run = train(
        tmp_path,
        path,
        context={"type": "label", "into": ["decoder"]},
        condition="column1",
        kinds={"column2": "ignore"},
    )
    out = tmp_path / "samples.csv"
    code, messages = call(capsys, "sample", run.path, "-n", 4, "--condition", "y", "--out", out)
    assert code == 0, messages
    cells = list(csv.reader(out.read_text("utf-8").splitlines(), delimiter=";"))
    assert all(row[0] == "y" and row[1] == "" and row[2].endswith(",5") for row in cells)
    code, messages = call(capsys, "score", run.path, out, "--out", tmp_path / "scores.csv")
    assert code == 0, messages


def test_a_completed_file_keeps_its_form(tmp_path, capsys):
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["who,size,n,word", *rows(",", ".")]), "utf-8")
    run = train(tmp_path, path)
    (tmp_path / "holes.csv").write_text("size;extra;n\n101,25;1,50;\n;2,50;3\n", "utf-8")
    out = tmp_path / "full.csv"
    code, messages = call(capsys, "impute", run.path, tmp_path / "holes.csv", "--out", out)
    assert code == 0, messages
    lines = out.read_text("utf-8").splitlines()
    assert lines[0] == "size;extra;n;word" and lines[1].startswith("101,25;1,50;")
    filled = lines[2].split(";")
    assert filled[1:3] == ["2,50", "3"] and 100 <= float(filled[0].replace(",", ".")) <= 115


def test_unknown_labels_are_written_as_empty_cells(tmp_path, capsys):
    path = tmp_path / "some.csv"
    lines = ["kind,size,n", *(f"{'xy'[i % 2]},{i % 9}.5,{i % 3}" for i in range(N))]
    path.write_text("\n".join(lines), "utf-8")
    run = train(tmp_path, path, condition="kind")
    (tmp_path / "some rows.csv").write_text("kind,size,n\n,1.5,2\ny,2.5,\nx,,1\n", "utf-8")
    (tmp_path / "whole.csv").write_text("kind,size,n\n,1.5,2\ny,2.5,1\n", "utf-8")
    for command, source in (("impute", "some rows.csv"), ("reconstruct", "whole.csv")):
        for ending in ("csv", "parquet"):
            out = tmp_path / f"out.{ending}"
            code, messages = call(capsys, command, run.path, tmp_path / source, "--out", out)
            assert code == 0, (command, ending, messages)
