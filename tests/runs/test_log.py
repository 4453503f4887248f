"""The records of a run: each is written once, and an interruption does not change them."""

from __future__ import annotations

import csv
import json

import pytest

from vaezoo.components.callbacks import CsvLog, TensorBoard
from vaezoo.utils.errors import Interrupted
from vaezoo.utils.records import record_line

CLOCK = ("time", "examples_per_second", "digest")  # the digest is that of the time, too
FIVE = {"log_every": 5}  # which divides the ten steps of an epoch


def timeless(records):
    return [
        {key: value for key, value in record.items() if key not in CLOCK} for record in records
    ]


def places(records):
    return [(record["split"], record["step"]) for record in records]


def records_in(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_records_come_every_interval_and_with_every_validation(train):
    train_steps = [4, 8, 10, 12, 16, 20, 24, 28, 30]
    expected = [("train", step) for step in train_steps]
    for step in (10, 20, 30):
        expected.insert(expected.index(("train", step)) + 1, ("validation", step))
    assert places(train().records) == expected


def test_the_gradient_norm_of_a_record_is_that_of_its_own_step(train):
    """With clipping, here at a norm that is never reached, it is measured at every step."""

    def norms(run):
        return {
            record["step"]: record["gradient_norm"]
            for record in run.records
            if record["split"] == "train"
        }

    measured, reported = norms(train(train={"clip": 1e9})), norms(train())
    assert len(set(measured.values())) == 9
    assert reported == measured


@pytest.mark.parametrize("step", [5, 10, 25])
def test_a_run_stopped_at_a_record_tells_everything_once(step, train, interrupted, again, stop_at):
    complete = train(train=FIVE)
    path = interrupted(train=FIVE, callbacks=[stop_at(step)])
    assert records_in(path)[-1]["step"] == step
    again(path)
    assert places(records_in(path)) == places(complete.records)
    assert timeless(records_in(path)) == timeless(complete.records)


@pytest.mark.parametrize("step", [2, 9, 24])
def test_a_run_stopped_between_two_records_tells_everything_once(
    step, train, interrupted, again, stop_after
):
    complete = train(train=FIVE)
    stop_after(step)
    path = interrupted(train=FIVE)
    again(path)
    assert places(records_in(path)) == places(complete.records)
    assert timeless(records_in(path)) == timeless(complete.records)


def test_records_after_the_checkpoint_are_written_again(train, interrupted, again, stop_at):
    """As after a kill: records are ahead of the checkpoint, and the last line is incomplete."""
    complete = train(train=FIVE)
    path = interrupted(train=FIVE, callbacks=[stop_at(5)])
    with open(path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.writelines(record_line({**record, "loss": -1}) for record in complete.records[1:4])
        file.write('{"step": 20, "lo')
    again(path)
    assert timeless(records_in(path)) == timeless(complete.records)


def test_validation_csv_has_every_row_once(train, interrupted, again, stop_at):
    complete = train(train={"callbacks": ["csv"]})
    path = interrupted(train={"callbacks": ["csv"]}, callbacks=[stop_at(24)])
    with open(path / "validation.csv", "a", encoding="utf-8") as file:
        file.write(
            (complete.path / "validation.csv").read_text().splitlines()[-1] + "\n"
        )  # told after the checkpoint
        file.write("3")  # and a torn one
    again(path)
    assert (path / "validation.csv").read_text() == (complete.path / "validation.csv").read_text()
    rows = list(csv.DictReader((path / "validation.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30]
    validations = [record for record in complete.records if record["split"] == "validation"]
    assert [float(row["elbo"]) for row in rows] == [record["elbo"] for record in validations]


def test_validation_csv_has_its_heading_after_a_kill_that_left_it_empty(
    train, interrupted, again, stop_at
):
    complete = train(train={"callbacks": ["csv"]})
    path = interrupted(train={"callbacks": ["csv"]}, callbacks=[stop_at(4)])
    (path / "validation.csv").write_text("")
    again(path)
    assert (path / "validation.csv").read_text() == (complete.path / "validation.csv").read_text()


def test_validation_csv_has_each_value_of_each_stage_in_its_own_column(
    train, interrupted, again, stop_at
):
    stages = [
        {"name": "vae", "steps": 12},
        {"name": "prior", "sampler": "m", "objective": "prior-nll", "steps": 12},
    ]
    blocks = {
        "samplers": {"m": {"type": "mixture", "components": 3}},
        "stages": stages,
        "train": {"callbacks": ["csv"], "epochs": None},
        "evaluate": [],
    }
    complete = train(**blocks)
    text = (complete.path / "validation.csv").read_text()
    validations = [record for record in complete.records if record["split"] == "validation"]
    assert len({tuple(record) for record in validations}) == 2, "the stages measure the same"
    rows = list(csv.DictReader(text.splitlines()))
    assert [{key: value for key, value in row.items() if value} for row in rows] == [
        {key: str(value) for key, value in record.items() if key != "time"}
        for record in validations
    ]
    stopped = interrupted(**blocks, callbacks=[stop_at(20)])
    again(stopped)
    assert (stopped / "validation.csv").read_text() == text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_tensorboard_shows_every_step_once_after_a_resume(train, interrupted, again, stop_at):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = interrupted(train={"callbacks": ["tensorboard"]}, callbacks=[stop_at(24)])
    ahead = TensorBoard(path)  # as after a kill: events that are ahead of the checkpoint
    ahead.start(24)
    ahead.log({"split": "train", "step": 28, "loss": -1.0})
    ahead.close()
    again(path)
    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    displayed = {
        tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    assert displayed["validation/elbo"] == [10, 20, 30]
    assert displayed["train/loss"] == [4, 8, 10, 12, 16, 20, 24, 28, 30]
    assert min(event.value for event in events.Scalars("train/loss")) > 0
    assert "train/step" not in displayed and "validation/best" not in displayed


def test_callbacks_of_the_spec_are_closed_when_training_fails_too(
    train, interrupted, stop_at, monkeypatch
):
    closed = []
    monkeypatch.setattr(CsvLog, "close", lambda self: closed.append(self.path.name))
    with pytest.raises(Interrupted):
        train(train={"callbacks": ["csv"]}, callbacks=[stop_at(4)])
    train(train={"callbacks": ["csv"], "epochs": 1})
    assert closed == ["validation.csv", "validation.csv"]
