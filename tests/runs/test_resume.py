"""An interrupted and resumed run is bit-identical to one that was not interrupted."""

from __future__ import annotations

import pytest

from vaezoo.runs.directory import RunDirectory
from vaezoo.training.metric_logger import MetricLogger
from vaezoo.utils.errors import IntegrityError, Interrupted
from vaezoo.utils.files import read_json

SGD = {"type": "sgd", "lr": 1e-3, "momentum": 0.9}
ADAM = {"type": "adam", "lr": 1e-3}
STILL = {"type": "sgd", "lr": 1e-30}  # no weight moves, so no validation is better than the first
MLP = {"type": "mlp", "hidden": [16]}
PLATEAU = {
    "type": "reduce-lr-on-plateau",
    "patience": 0,
    "threshold": 1e6,
    "threshold_mode": "abs",
}
CYCLES = {"type": "kl", "weight": {"type": "cyclical", "steps": 24, "cycles": 3}}
VARIANTS = {
    "adam": {},
    "momentum": {"train": {"optimizer": SGD}},
    "averaged weights": {"train": {"ema": 0.9}},
    "dropout": {"model": {"encoder": {**MLP, "dropout": 0.3}}},
    "dynamic binarization": {"data": {"binarize": "dynamic"}},
    "batch norm": {"model": {"encoder": {**MLP, "norm": "batch"}}},
    "optimal scale": {"model": {"likelihood": {"type": "normal", "scale": "optimal"}}},
    "mixture prior": {"model": {"prior": {"type": "mixture", "components": 3}}},
    "cosine and warm-up": {
        "train": {"optimizer": SGD, "scheduler": "cosine-annealing", "warmup": 5}
    },
    "one-cycle": {"train": {"scheduler": {"type": "one-cycle", "max_lr": 1e-2}}},
    "accumulation and clipping": {"train": {"accumulate": 3, "clip": 5.0}},
    "cyclical kl": {"regularizers": [CYCLES]},
    "iwae": {"objective": {"type": "iwae", "samples": 4, "gradient": "dreg"}},
    "early stopping": {"train": {"epochs": 5, "optimizer": STILL, "early_stopping": 2}},
    "plateau": {"train": {"optimizer": SGD, "scheduler": PLATEAU}},
    "bf16": {"train": {"precision": "bf16"}},
    "fp16": {"train": {"precision": "fp16"}},
    "rare validation": {"train": {"validate_every": 2, "optimizer": ADAM}},
    "steps": {"train": {"epochs": None, "steps": 27, "ema": 0.5}},
    "everything": {
        "data": {"binarize": "dynamic", "batch_size": 119},
        "model": {"encoder": {**MLP, "dropout": 0.2, "norm": "batch"}, "prior": "mixture"},
        "regularizers": [CYCLES],
        "train": {
            "optimizer": {"type": "adamw", "lr": 1e-2},
            "decay": "networks",
            "scheduler": "cosine-annealing",
            "warmup": 3,
            "ema": 0.8,
            "clip": 10.0,
            "accumulate": 2,
            "precision": "bf16",
        },
    },
}


def blocks(name):
    """The blocks of a variant, with three epochs by default."""
    result = VARIANTS[name]
    return {**result, "train": {"epochs": 3, **result.get("train", {})}}


@pytest.mark.parametrize("name", VARIANTS)
def test_three_interruptions_leave_no_trace_in_a_run_with(
    name, train, interrupted, again, stop_after, left_by, same
):
    complete = train(**blocks(name))
    stop_after(3, 10, 25)  # within the first interval, at the end of an epoch, in the last epoch
    path = interrupted(**blocks(name))
    for step in (10, 25):
        with pytest.raises(
            Interrupted, match=rf"stopped at step {step} of \d+; last good .*step-0000000{step}\."
        ):
            again(path)
    again(path)
    (facts, tensors), (texts, named) = left_by(complete.path), left_by(path)
    same(tensors, named)
    assert facts == texts


def test_what_the_variants_claim_to_test_does_happen(train):
    stopped = train(**blocks("early stopping")).records
    assert stopped[-1]["step"] == 30 and stopped[-1]["steps"] == 50
    rates = [
        record["lr"] for record in train(**blocks("plateau")).records if record["split"] == "train"
    ]
    assert rates[0] == 1e-3 and rates[-1] == pytest.approx(1e-4)
    steady = train(**blocks("everything"))
    weights = {record["kl_weight"] for record in steady.records if record["split"] == "train"}
    assert weights > {0.5, 1.0}


def test_resuming_a_finished_run_changes_no_weight(train, again, left_by, same):
    done = train(train={"ema": 0.9, "early_stopping": 2})
    facts, tensors = left_by(done.path)
    records, evaluation = done.records, done.evaluation
    resumed = again(done.path)
    same(tensors, left_by(done.path)[1])
    assert left_by(done.path)[0] == facts
    assert resumed.records == records and resumed.evaluation == evaluation


def test_a_run_without_a_checkpoint_begins_anew(train, again, left_by, same):
    done = train()
    before = left_by(done.path)[1]
    for path in (*RunDirectory(done.path).checkpoint_files(), done.directory.model):
        path.unlink()
    assert len(again(done.path).records) == len(done.records)
    same(before, left_by(done.path)[1])


def test_a_run_goes_on_in_the_precision_it_was_begun_in(
    interrupted, again, stop_after, monkeypatch
):
    monkeypatch.setattr("vaezoo.runs.setup.pick_precision", lambda expected, device: "bf16")
    stop_after(3)
    path = interrupted(train={"precision": "auto"})
    monkeypatch.setattr("vaezoo.runs.setup.pick_precision", lambda expected, device: "fp32")
    again(path)
    reported = read_json(path / "environment.json")
    assert reported["precision"] == "bf16" and [
        later["precision"] for later in reported["resumed"]
    ] == ["bf16"]


def test_speed_is_that_since_the_run_was_taken_up(interrupted, again, stop_after):
    stop_after(3)
    path = interrupted(train={"log_every": 4}, data={"batch_size": 128})
    counted = []
    original = MetricLogger.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            MetricLogger, "read", lambda self: (counted.append(self.examples), original(self))[1]
        )
        again(path)
    assert counted[0] == 128, "of the four steps of the record three were taken before"


def test_a_checkpoint_of_another_format_is_refused(interrupted, again, stop_after, monkeypatch):
    stop_after(3)
    with monkeypatch.context() as patch:
        patch.setattr("vaezoo.runs.directory._FORMAT", "checkpoint/v1")
        path = interrupted()
    with pytest.raises(
        IntegrityError, match=r"format is checkpoint/v1, but .* can only resume from checkpoint/v4"
    ):
        again(path)
