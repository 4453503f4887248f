"""Conditions, classification, scores and traversals on the command line, with every plugin."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import run_forked

ROOT = Path(__file__).parents[2]

COMBINED = ROOT / "plugins/vaezoo-cvae/examples/combined.yaml"
FAST = ["-s", "train.epochs=4", "-s", "evaluate=[elbo]"]


def vaezoo(*args, check=0, cwd=None):
    done = run_forked(*args, cwd=cwd)
    assert done.returncode == check, done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A label-conditional model with a beta schedule, FiLM, a conditional prior and a critic."""
    out = tmp_path_factory.mktemp("runs")
    return json.loads(vaezoo("run", COMBINED, *FAST, "--out", out, "--json").stdout)["run"]


def test_samples_come_by_class_in_rows_and_without(run, tmp_path):
    vaezoo("sample", run, "--condition", "all", "-n", 6, "--out", tmp_path / "all.png")
    with Image.open(tmp_path / "all.png") as picture:
        assert picture.size[0] / picture.size[1] == pytest.approx(6 / 10, rel=0.02)
    for extra in (["--condition", "9"], []):  # trained with dropout of the condition
        vaezoo("sample", run, *extra, "-n", 5, "--out", tmp_path / "some.npz")
        assert np.load(tmp_path / "some.npz")["x"].shape == (5, 1, 8, 8)


def test_the_class_asked_for_decides(run, tmp_path):
    sheets = []
    for label in ("0", "1"):
        vaezoo(
            "sample",
            run,
            "--condition",
            label,
            "-n",
            50,
            "--seed",
            3,
            "--out",
            tmp_path / f"{label}.npz",
        )
        sheets.append(np.load(tmp_path / f"{label}.npz")["x"].mean(0))
    assert np.abs(sheets[0] - sheets[1]).mean() > 0.05


def test_a_class_that_is_not_there_is_one_line(run):
    done = vaezoo("sample", run, "--condition", "12", check=2)
    assert done.stderr.splitlines() == [
        "error: no class '12'; known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    ]


def test_examples_are_decoded_under_every_class(run, tmp_path):
    vaezoo("reconstruct", run, "--condition", "all", "-n", 3, "--out", tmp_path / "x.npz")
    assert np.load(tmp_path / "x.npz")["x"].shape == (3 * 11, 1, 8, 8)


def test_traversals_have_a_row_for_each_dimension(run, tmp_path):
    done = vaezoo("traverse", run, "--dimensions", 3, "--steps", 5, "--out", tmp_path / "t.npz")
    assert np.load(tmp_path / "t.npz")["x"].shape == (15, 1, 8, 8)
    rates = [
        float(part.split("(")[1].split()[0])
        for part in done.stderr.split("dimensions ")[1].split(", ")
    ]
    assert len(rates) == 3 and rates == sorted(rates, reverse=True)


def test_a_split_is_classified(run):
    done = json.loads(vaezoo("classify", run, "--samples", 3, "--limit", 60, "--json").stdout)
    figures = done["evaluation"]["metrics"]
    assert figures["accuracy"]["examples"] == 60 and figures["accuracy"]["value"] > 0.3
    assert {"label_nll", "calibration_error"} <= figures.keys()


@pytest.mark.parametrize("method", ["reconstruction", "elbo", "nll", "critic", "mahalanobis"])
def test_every_example_gets_a_score(run, tmp_path, method):
    vaezoo("score", run, "--method", method, "--samples", 2, "--out", tmp_path / "s.csv")
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 270 and rows[3].keys() == {"example", "score", "label"}
    assert np.isfinite([float(row["score"]) for row in rows]).all()


def test_a_file_of_examples_is_scored(run, tmp_path):
    x = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x, condition=np.zeros(4, np.int64))
    vaezoo("score", run, tmp_path / "x.npz", "--out", tmp_path / "s.csv")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 5
    np.savez(tmp_path / "y.npz", x=x[:, :, :4])
    done = vaezoo("score", run, tmp_path / "y.npz", check=1)
    assert "expected examples of shape (1, 8, 8), got (1, 4, 8)" in done.stderr


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ([0, 1, 10, 3], "'condition' row 2 is 10, not one of the 10 classes"),
        ([0, 1, 0.5, 3], "'condition' row 2 is 0.5, not one of the 10 classes"),
        ([[0], [1], [2], [3]], "'condition' has the shape (4, 1); it must be (4,)"),
    ],
)
def test_a_file_with_conditions_that_the_model_does_not_know_is_one_line(
    run, tmp_path, condition, words
):
    np.savez(
        tmp_path / "x.npz", x=np.zeros((4, 1, 8, 8), np.float32), condition=np.array(condition)
    )
    done = vaezoo("score", run, tmp_path / "x.npz", check=1)
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr


def test_what_a_plain_model_cannot_do_is_one_line(tmp_path):
    spec = ROOT / "examples/vae-digits.yaml"
    options = ["-s", "train.epochs=1", "-s", "evaluate=[elbo]", "--out", tmp_path, "--json"]
    plain = json.loads(vaezoo("run", spec, *options).stdout)["run"]
    assert "not conditional" in vaezoo("sample", plain, "--condition", "1", check=2).stderr
    assert "conditional on a label" in vaezoo("classify", plain, check=2).stderr
    assert (
        "no regularizer of this model has a critic"
        in vaezoo("score", plain, "--method", "critic", check=2).stderr
    )


def test_a_sweep_leaves_a_table_and_a_picture(tmp_path):
    spec = ROOT / "examples/vae-digits.yaml"
    quick = ["-s", "train.epochs=2", "-s", "evaluate=[elbo]", "-s", "regularizers=[kl]"]
    param = ["--param", "regularizers.0.weight=0.5..16:log", "--prune", "bound"]
    done = vaezoo("sweep", spec, *quick, *param, "--trials", 2, "--out", tmp_path / "s")
    with open(tmp_path / "s/trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "complete"]
    chosen = max(rows, key=lambda row: float(row["validation elbo"]))
    assert (
        f"chosen  trial {chosen['trial']}, by the highest elbo on the validation split"
        in done.stdout
    )
    assert chosen["test elbo"] in done.stdout
    for row in rows:
        path, split = Path(row["run"]), "test" if row is chosen else "validation"
        assert (row["test elbo"] != "") == (path / "evaluation.json").is_file() == (row is chosen)
        page = (path / "report.html").read_text("utf-8")
        assert f"Evaluation on the {split} split" in page
        assert f"{split.capitalize()} examples, each above its" in page
    with Image.open(tmp_path / "s/rate-distortion.png") as picture:
        assert picture.size[0] > 300
