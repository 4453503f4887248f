"""Files of users in every command that reads examples."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

KINDS = ("photos", "music", "text", "table", "arrays")


@pytest.fixture(params=KINDS)
def trained(request):
    return request.getfixturevalue(request.param)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("command", ["score", "encode"])
def test_each_example_of_a_file_has_a_row_with_its_name(call, trained, tmp_path, source, command):
    out = tmp_path / "rows.csv"
    path = getattr(trained, source)
    assert call("-q", command, trained.run, path, "--out", out) == 0
    rows = read_rows(out)
    files = {row["file"] for row in rows}
    if source == "file":
        assert files == {trained.file.name}
        return
    every = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert len(rows) == trained.count and files == every
    value = "score" if command == "score" else "z0"
    assert np.isfinite([float(row[value]) for row in rows]).all()


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("command", ["reconstruct", "traverse", "interpolate"])
@pytest.mark.parametrize("form", ["png", "own", "npz"])
def test_pictures_and_files_are_made_of_files(call, trained, tmp_path, source, command, form):
    ending = trained.ending if form == "own" else form
    options = {
        "reconstruct": [],
        "traverse": ["--dimensions", 2, "--steps", 3],
        "interpolate": ["--steps", 3, "--to", 0 if trained.count == 3 else 1],
    }
    out = tmp_path / f"x.{ending}"
    path = getattr(trained, source)
    assert call("-q", command, trained.run, path, *options[command], "--out", out) == 0
    assert [p for p in tmp_path.iterdir() if p.suffix == f".{ending}" and p.stat().st_size]


@pytest.mark.parametrize("source", ["file", "folder"])
def test_a_model_is_evaluated_on_files(call, trained, capsys, source):
    path = getattr(trained, source)
    capsys.readouterr()
    assert call("evaluate", trained.run, path, "--metric", "elbo", "--json") == 0
    evaluation = json.loads(capsys.readouterr().out)["evaluation"]
    assert evaluation["split"] == str(path)
    if source == "folder":
        assert evaluation["metrics"]["elbo"]["examples"] == trained.count
