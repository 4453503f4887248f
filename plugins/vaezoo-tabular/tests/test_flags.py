"""A column with one value or none, such as x or an empty cell."""

from __future__ import annotations

import csv

import pytest
import torch

import vaezoo
from vaezoo.cli.main import main


@pytest.mark.parametrize("units", [0, 8])
def test_a_flag_is_modelled(tmp_path, units):
    generator = torch.Generator().manual_seed(0)
    is_set = torch.rand(300, generator=generator) < 0.3
    rows = [f"{'x' if each else ''},{i % 9}" for i, each in enumerate(is_set.tolist())]
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["flag,n", *rows]), "utf-8")
    spec = {
        "spec": "vaezoo/v2",
        "name": "t",
        "data": {"type": "table", "path": str(path), "batch_size": 32},
        "model": {
            "latent_dim": 1,
            "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [8]}},
            "decoder": {"type": "mlp", "hidden": [8]},
            "likelihood": {"type": "table", "units": units},
        },
        "train": {"epochs": 10, "device": "cpu", "optimizer": {"type": "adam", "lr": 0.01}},
        "evaluate": ["elbo", "synthetic-rows"],
    }
    run = vaezoo.run(spec, out=tmp_path / "runs")
    flag = run.model.data.fields[0]
    assert flag.kind == "categorical" and flag.categories == ("x",)
    out = tmp_path / "samples.csv"
    with pytest.raises(SystemExit) as ended:
        main(["sample", str(run.path), "-n", "400", "--draw", "--out", str(out)])
    assert not ended.value.code
    cells = [row["flag"] for row in csv.DictReader(out.read_text("utf-8").splitlines())]
    assert set(cells) == {"", "x"} and 0.15 < cells.count("x") / 400 < 0.45
    with pytest.raises(SystemExit) as ended:
        main(["impute", str(run.path), str(out), "--out", str(tmp_path / "full.csv")])
    assert not ended.value.code
    full = csv.DictReader((tmp_path / "full.csv").read_text("utf-8").splitlines())
    assert {row["flag"] for row in full} == {"x"}
