"""Scores of a csv file in raw units are those of training, whatever the order of its columns."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vaezoo
from vaezoo.cli.main import cli


@pytest.mark.parametrize("likelihood", ["normal", "table"])
def test_score_takes_raw_units_and_standardises_as_in_training(tmp_path, likelihood, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    columns = {
        "age": rng.normal(40, 8, 300).round(1),
        "income": rng.normal(25000, 9000, 300).round(2),
        "height": rng.normal(170, 9, 300).round(1),
    }
    rows = list(zip(*columns.values(), strict=True))
    lines = [",".join(map(str, row)) for row in rows]
    (tmp_path / "t.csv").write_text("\n".join([",".join(columns), *lines]))
    swapped = [f"{income},{height},{age}" for age, income, height in rows]
    (tmp_path / "t-swapped.csv").write_text("\n".join(["income,height,age", *swapped]))
    spec = {
        "spec": "vaezoo/v2",
        "name": "tab",
        "data": {"type": "table", "path": "t.csv", "batch_size": 32},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "mlp", "hidden": [32]},
            "decoder": {"type": "mlp", "hidden": [32]},
            "likelihood": likelihood,
        },
        "train": {"epochs": 2, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    run = vaezoo.run(spec)

    def scores(source):
        arguments = ["score", str(run.path), source, "--out", "scores.csv"]
        assert CliRunner().invoke(cli, arguments, obj={}).exit_code == 0
        with open("scores.csv", newline="") as file:
            return np.array([float(row["score"]) for row in csv.DictReader(file)])

    whole = scores("t.csv")
    np.testing.assert_allclose(scores("t-swapped.csv"), whole)
    of_split = scores("all")
    assert len(whole) == len(of_split) == 300
    assert abs(whole.mean() - of_split.mean()) < 0.1 * whole.std()
    x = run.from_file("t.csv").x
    assert torch.allclose(x.mean(0), torch.zeros(3), atol=0.2)
    assert torch.allclose(x.std(0), torch.ones(3), atol=0.2)
