"""The metrics of single examples, stored beside the evaluation of a run."""

from __future__ import annotations

import math

import pytest
import torch

import vaezoo
from vaezoo.runs.data_record import fingerprint
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.example_values import read_example_values
from vaezoo.utils.errors import IntegrityError
from vaezoo.utils.files import read_tensors, write_tensors

METRICS = ["elbo", {"type": "nll", "samples": 3, "limit": 50}, "rate", "active-units"]


@pytest.fixture
def finished(train):
    return train(evaluate=METRICS, train={"epochs": 1})


def stored(path, split="test"):
    directory = RunDirectory(path)
    return read_example_values(directory, split, directory.read_evaluation(split))


def test_the_mean_and_its_error_are_those_of_the_stored_numbers(finished):
    found, metrics = stored(finished.path), finished.evaluation["metrics"]
    assert set(found.values) == {"elbo", "nll", "rate"}  # active units are no mean over examples
    for name, values in found.values.items():
        row = metrics[name]
        assert len(values) == row["examples"] == (50 if name == "nll" else 270)
        assert float(values.mean()) == pytest.approx(row["value"], rel=1e-12)
        error = float(values.std()) / math.sqrt(len(values))
        assert error == pytest.approx(row["standard_error"], rel=1e-12)
    assert found.data == fingerprint(finished.data("test").split)
    assert found.data != fingerprint(finished.data("validation").split)


def test_each_number_is_that_of_its_example(finished):
    values = stored(finished.path).values["rate"]
    batch = finished.data("test").first(5)
    with finished.model.inference():
        torch.testing.assert_close(finished.model(batch).mean_rate.double(), values[:5])


def test_an_evaluation_on_the_validation_split_has_a_file_of_its_own(tmp_path, no_report, spec):
    run = vaezoo.run(spec(train={"epochs": 1}), out=tmp_path, evaluation_split="validation")
    assert len(stored(run.path, "validation").values["elbo"]) == 269
    assert not RunDirectory(run.path).example_values_of("test").exists()


def test_vaezoo_evaluate_stores_them_again(finished, capsys):
    from vaezoo.cli.main import main

    directory = RunDirectory(finished.path)
    path = directory.example_values_of("test")
    before = path.read_bytes()
    path.unlink()
    assert stored(finished.path).values == {}  # as in runs of earlier versions
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(finished.path), "--device", "cpu"])
    assert ended.value.code == 0 and path.read_bytes() == before


def test_numbers_of_another_evaluation_are_refused(finished):
    path = RunDirectory(finished.path).example_values_of("test")
    tensors, metadata = read_tensors(path)
    for other in (
        {**tensors, "elbo": tensors["elbo"] + 1},
        {**tensors, "elbo": tensors["elbo"][:-1]},
        {**tensors, "other": tensors["elbo"]},
        {**tensors, "elbo": tensors["elbo"][None]},
    ):
        write_tensors(path, other, metadata)
        with pytest.raises(IntegrityError, match=r"of another evaluation; vaezoo evaluate"):
            stored(finished.path)
    write_tensors(path, tensors, {**metadata, "data": "1"})
    with pytest.raises(IntegrityError, match="is no file of example values"):
        stored(finished.path)
