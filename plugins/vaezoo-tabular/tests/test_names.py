"""Columns that name rows, in the files of commands that write columns of their own."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from click.testing import CliRunner

import vaezoo
from vaezoo.cli.main import cli

NAMES = ("mean", "score", "predicted", "label", "z0", "file")
"""The identifiers of the table: columns that commands write have these names too."""
MLP = {"type": "mlp", "hidden": [8]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    rows = [",".join([*NAMES, "kind", "height"])]
    for i in range(60):
        names = ["" if i == 1 else f"{name} {i}" for name in NAMES]
        rows.append(",".join([*names, "ab"[i % 2], f"{rng.normal():.3f}"]))
    (folder / "x.csv").write_text("\n".join(rows), "utf-8")
    kinds = dict.fromkeys(NAMES, "identifier")
    data = {"type": "table", "path": str(folder / "x.csv"), "condition": "kind", "kinds": kinds}
    spec = {
        "spec": "vaezoo/v2",
        "name": "names",
        "data": {**data, "batch_size": 32},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "table", "body": MLP},
            "decoder": MLP,
            "likelihood": {"type": "table", "units": 8},
            "condition": {"type": "label"},
        },
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=folder / "runs").path, folder / "x.csv"


@pytest.mark.parametrize(
    ("command", "ending", "results"),
    [
        ("encode", "csv", ["file", "example", "z0", "z1", "label"]),
        ("encode", "npz", ["file", "example", "mean", "label"]),
        ("score", "csv", ["file", "example", "score", "label"]),
        ("classify", "csv", ["file", "example", "predicted", "p(a)", "p(b)", "label"]),
    ],
)
def test_results_and_names_do_not_replace_each_other(trained, tmp_path, command, ending, results):
    run, table = trained
    out = tmp_path / f"x.{ending}"
    arguments = [command, str(run), str(table), "--out", str(out)]
    done = CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)
    assert done.exit_code == 0
    if ending == "npz":
        columns = {name: values.tolist() for name, values in np.load(out).items()}
    else:
        header, *rows = csv.reader(out.read_text("utf-8").splitlines())
        assert len({*header}) == len(header)
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    titles = {name: f"{name} (source)" if name in results else name for name in NAMES}
    assert {*columns} == {*results, *titles.values()}
    for name, title in titles.items():
        assert columns[title][0] == f"{name} 0" and columns[title][1] == ""
    assert columns["file"][0] == "x.csv" and len(columns["example"]) == 60
