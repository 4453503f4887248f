"""Samples with given numbers have these to the last digit, and unusual ones are warned of."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from vaezoo_tabular.columns import Column, exact_numbers

import vaezoo
from vaezoo.cli.main import cli

HEADER = "code;price;paid;day;time"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on rows whose numbers float32 does not keep: they have a decimal comma."""
    folder = tmp_path_factory.mktemp("given")
    rng, lines = np.random.default_rng(0), [HEADER]
    for i in range(400):
        code = 40_000_000 + int(rng.integers(1, 20_000_000))
        price = f"{rng.exponential(30) if i else 361.76:.9f}"
        paid = f"{rng.normal(3000, 900):.2f}" if i % 9 else ""
        day = f"{1 + i % 28:02}.{1 + i % 12:02}.{1960 + i % 60}"
        time = f"20{i % 20:02}-0{1 + i % 9}-1{i % 10} 1{i % 7}:{i % 60:02}:{i * 7 % 60:02}"
        lines.append(_commas(";".join([str(code), price, paid, day, time])))
    (folder / "t.csv").write_text("\n".join(lines))
    spec = {
        "spec": "vaezoo/v2",
        "name": "given",
        "data": {
            "type": "table",
            "path": str(folder / "t.csv"),
            "max_values": 50,
            "bins": 16,
            "kinds": {"code": "integer"},
        },
        "model": {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "table"},
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=folder / "runs").path


def _commas(line):
    """A row with the decimal commas of its second and third cell."""
    cells = line.split(";")
    return ";".join([cells[0], *(cell.replace(".", ",") for cell in cells[1:3]), *cells[3:]])


def sample(run, condition, out):
    """The rows that are written, and the warnings."""
    arguments = ["sample", str(run), "-n", "5", "--out", str(out), "--condition", condition]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)
    assert done.exit_code == 0
    with open(out, newline="") as file:
        return list(csv.DictReader(file, delimiter=";")), [str(each.message) for each in caught]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("code", "51234567"),
        ("price", "200"),
        ("price", "0,123456789"),
        ("price", "200,00001"),
        ("paid", "3000,25"),
        ("day", "05.03.1987"),
        ("time", "2011-03-05 12:34:57"),
    ],
)
def test_given_numbers_are_written_as_asked_for(trained, tmp_path, column, value):
    rows, messages = sample(trained, f"{column}={value}", tmp_path / "x.csv")
    assert [row[column] for row in rows] == [value] * 5
    assert not messages


@pytest.mark.parametrize(
    ("column", "value", "end"),
    [
        ("price", "5000", " to 361,76,"),
        ("code", "7", "rows, 40"),
        ("day", "05.03.2087", ".2019,"),
        ("paid", "-1000000,5", " to "),
    ],
)
def test_numbers_beyond_the_training_rows_are_warned_of(trained, tmp_path, column, value, end):
    rows, (message,) = sample(trained, f"{column}={value}", tmp_path / "x.csv")
    assert message.startswith(
        f"column {column!r}: {value} lies outside of the range of the training rows, "
    )
    assert end in message and "\n" not in message
    assert len(rows) == 5


def test_the_ends_of_the_training_rows_are_not_warned_of(trained, tmp_path):
    rows, messages = sample(trained, "price=361,76", tmp_path / "x.csv")
    assert not messages and {row["price"] for row in rows} == {"361,76"}


def test_numbers_with_the_decimals_of_the_table_are_not_taken_for_the_nearest_known_one():
    column = Column(name="a", kind="numeric", scale=20.0, values=(0.0, 200.0), decimals=5)
    values = np.array([200.00001, 200.00000763])  # the second one is what float32 makes of 200
    assert exact_numbers(column, values).tolist() == [200.00001, 200.0]
