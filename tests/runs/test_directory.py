"""The directory of a run: names, atomic writes, records, and opening a finished run."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
import torch

import vaezoo
from vaezoo.runs import directory as rundir
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.start import run
from vaezoo.utils.errors import IntegrityError, UsageError, VaezooError
from vaezoo.utils.files import read_tensors, write_tensors
from vaezoo.utils.records import record_line


@pytest.fixture
def finished(train):
    return train(train={"epochs": 1})


@pytest.fixture
def one_second(monkeypatch):
    """Stops the clock."""

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=zone)

    monkeypatch.setattr(rundir, "datetime", Clock)


def test_runs_of_the_same_second_have_directories_of_their_own(tmp_path, one_second):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: RunDirectory.create(tmp_path, "a-run").path, range(24)))
    assert len(set(paths)) == 24 and all(
        path.is_dir() and not list(path.iterdir()) for path in paths
    )
    assert sorted(path.name for path in paths)[:2] == ["20260102-030405", "20260102-030405-10"]


def test_a_run_never_takes_the_directory_of_another(train, one_second, tmp_path):
    taken = tmp_path / "runs" / "tiny" / "20260102-030405"
    taken.mkdir(parents=True)
    (taken / "spec.yaml").write_text("mine")
    assert train(train={"epochs": 1}).path.name == "20260102-030405-2"
    assert (taken / "spec.yaml").read_text() == "mine" and len(list(taken.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VaezooError, match=r"cannot create .*; choose another --out"):
        RunDirectory.create(tmp_path / "file", "a-run")


def test_temporary_files_of_a_kill_are_swept_when_the_run_is_taken_up(finished, again):
    left = [finished.path / folder / ".tmp-abc.png" for folder in (".", "checkpoint", "pictures")]
    for file in left:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    again(finished.path)
    assert not [file for file in left if file.exists()]


def test_a_torn_last_line_is_no_record_and_does_not_reach_the_next(finished):
    complete = finished.records
    with open(finished.directory.metrics, "a", encoding="utf-8") as metrics:
        metrics.write('{"step": 11, "spl')
    assert finished.records == complete
    finished.directory.rewind(10)
    later = {**complete[-1], "step": 11}
    with open(finished.directory.metrics, "a", encoding="utf-8") as metrics:
        metrics.write(record_line(later))
    assert finished.records == [*complete, later]


def test_rewinding_forgets_later_records_alone(finished):
    complete = finished.records
    finished.directory.rewind(4)
    assert finished.records == [record for record in complete if record["step"] <= 4] != complete


def test_as_many_checkpoints_are_kept_as_the_spec_says(train):
    run = train(train={"checkpoint_every": 0, "keep": 3})
    names = [path.name for path in run.directory.checkpoint_files()]
    assert names == [f"step-0000000{step}.safetensors" for step in (24, 28, 30)]


def test_checkpoints_come_no_more_often_than_asked(train):
    assert (
        len(train(train={"checkpoint_every": 3600, "keep": 9}).directory.checkpoint_files()) == 1
    )


def test_a_run_hands_out_what_it_holds(train):
    run = train(train={"epochs": 1}, evaluate=["elbo", {"type": "elbo", "samples": 3}])
    assert set(run.evaluation["metrics"]) == {"elbo", "elbo-2"}
    written = json.loads(run.directory.evaluation.read_text())
    assert written.pop("digest") and run.evaluation == written
    assert [record["split"] for record in run.records] == ["train", "train", "train", "validation"]
    assert not run.model.training and run.model.precision == "fp32"
    for split, count in {"train": 1258, "validation": 269, "test": 270}.items():
        assert len(run.data(split)) == count
    assert run.data().first(8).x.shape == (8, 1, 8, 8)


def test_evaluating_again_gives_the_same_and_writes_nothing(finished):
    loaded_run = vaezoo.open_run(finished.path, device="cpu")
    before = {path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()}
    assert loaded_run.evaluate() == finished.evaluation
    other = loaded_run.evaluate("validation", ["rate", {"type": "nll", "samples": 3, "limit": 5}])
    assert other["split"] == "validation" and set(other["metrics"]) == {"rate", "nll"}
    assert other["metrics"]["nll"]["examples"] == 5 and other["metrics"]["rate"]["examples"] == 269
    assert {
        path: path.read_bytes() for path in finished.path.rglob("*") if path.is_file()
    } == before


def test_a_metric_that_does_not_exist_is_found_before_anything_is_measured(finished):
    with pytest.raises(vaezoo.SpecError, match="no metric named 'elbow'; did you mean 'elbo'"):
        finished.evaluate(metrics=["elbow"])


def test_an_opened_model_is_the_one_that_was_trained(finished, same):
    loaded_run = vaezoo.open_run(finished.path, device="cpu")
    same(loaded_run.model.state_dict(), finished.model.state_dict())
    assert loaded_run.model.data == finished.model.data and not loaded_run.model.training
    assert torch.equal(loaded_run.model.sample(4, seed=1), finished.model.sample(4, seed=1))
    assert vaezoo.open_run(finished.path, device="cpu", precision="bf16").model.precision == "bf16"


def test_opening_needs_no_data(train, tmp_path):
    import numpy as np

    data = tmp_path / "some.npz"
    np.savez(data, x=np.random.default_rng(0).random((40, 6), np.float32))
    run = train(data={"type": "npz", "path": str(data), "batch_size": 16}, train={"epochs": 1})
    data.unlink()
    loaded_run = vaezoo.open_run(run.path, device="cpu")
    assert loaded_run.model.sample(3).shape == (3, 6)
    with pytest.raises(vaezoo.DataError, match=r"no .*some\.npz"):
        loaded_run.data()


def test_an_unfinished_run_cannot_be_opened(interrupted, stop_at):
    path = interrupted(callbacks=[stop_at(4)])
    with pytest.raises(UsageError, match=f"the run is not finished; vaezoo resume {path}"):
        vaezoo.open_run(path)
    for call in (vaezoo.open_run, vaezoo.resume):
        with pytest.raises(UsageError, match=r"not a run: it has no spec\.yaml"):
            call(path.parent)


def test_damaged_weights_are_refused(finished):
    complete = finished.directory.model.read_bytes()
    for damaged in (complete[:-1], complete[:100], b"", complete[8:]):
        finished.directory.model.write_bytes(damaged)
        with pytest.raises(
            IntegrityError, match=r"model\.safetensors: cannot be read as safetensors"
        ):
            vaezoo.open_run(finished.path)


def test_weights_that_do_not_fit_are_refused_by_name(finished):
    tensors, metadata = read_tensors(finished.directory.model)
    removed, grown = "encoder.net.0.bias", "decoder.out.bias"
    others = {**tensors, grown: torch.zeros(3), "stray": torch.zeros(1)}
    del others[removed]
    write_tensors(finished.directory.model, others, metadata)
    with pytest.raises(IntegrityError) as caught:
        vaezoo.open_run(finished.path)
    for words in (f"missing {removed}", "unexpected stray", f"{grown} is (3,), expected (64,)"):
        assert words in str(caught.value)
    for header in (
        {},
        {"about": "{}"},
        {"about": "no json"},
        {"about": '{"data": {"form": [1]}, "train_size": 1}'},
    ):
        write_tensors(finished.directory.model, tensors, header)
        with pytest.raises(IntegrityError, match="does not describe a vaezoo model"):
            vaezoo.open_run(finished.path)


def test_what_is_wrong_before_training_leaves_no_run(tmp_path, spec):
    data = {"type": "npz", "path": str(tmp_path / "missing.npz")}
    with pytest.raises(VaezooError, match="missing"):
        run({**spec(), "data": data}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
