"""Batch norm for any number of examples, and the parts that a batch is divided into."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vaezoo.components.regularizers import KL
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.batch_parts import describe_step_error, needs_two_examples, part_sizes
from vaezoo.utils.errors import DataError, SpecError, TrainingError

CPU = torch.device("cpu")
NORM = {"encoder": {"type": "mlp", "hidden": [16], "norm": "batch"}}
IMAGES = {"encoder": {"type": "conv", "channels": [4], "norm": "batch"}}


@pytest.mark.parametrize(
    ("examples", "parts", "fewest", "sizes"),
    [
        (128, 1, 1, [128]),
        (7, 3, 1, [3, 3, 1]),
        (7, 3, 2, [3, 4]),
        (4, 4, 1, [1, 1, 1, 1]),
        (5, 4, 2, [2, 3]),
        (3, 2, 2, [3]),
        (1, 3, 1, [1]),
    ],
)
def test_every_part_of_a_batch_has_the_fewest_examples(examples, parts, fewest, sizes):
    assert part_sizes(examples, parts, fewest) == sizes


# 1,258 examples are three batches of 419, and one more; or 419 of 3, and one more
@pytest.mark.parametrize(
    ("model", "size", "accumulate", "steps"),
    [
        (NORM, 419, 1, 3),
        (NORM, 418, 1, 4),
        (NORM, 3, 2, 419),
        (NORM, 2, 2, 629),
        (IMAGES, 419, 1, 4),
        ({}, 419, 1, 4),
    ],
)
def test_a_single_example_is_left_out_only_where_batch_norm_cannot_normalise_it(
    model, size, accumulate, steps, trainer
):
    run = trainer(
        model=model,
        data={"batch_size": size},
        train={"accumulate": accumulate, "steps": 4, "epochs": None},
    )
    assert run.loader.steps_per_epoch == steps
    run.fit()
    assert run.step == 4


def test_a_resumed_run_leaves_out_the_same_example(resumes_exactly):
    resumes_exactly(4, model=NORM, data={"batch_size": 419}, train={"epochs": 2, "log_every": 1})


@pytest.mark.parametrize(("remaining", "batches"), [(1, 2), (2, 2), (3, 2), (4, 3)])
def test_every_process_gets_the_fewest_examples_of_a_last_batch(remaining, batches):
    shares = []
    for rank in range(2):
        loader = Loader(Split(torch.zeros(20 + remaining)), CPU, 10, rank=rank, world_size=2)
        loader.fewest_examples = 2
        assert loader.steps_per_epoch == batches
        shares += [len(batch) for batch in loader.epoch(0)]
    assert len(shares) == 2 * batches and min(shares) >= 2


def test_a_process_that_would_get_a_single_example_counts(trainer):
    training = trainer(model=NORM)
    for size, processes, needs in [(3, 2, True), (4, 2, False), (7, 3, False), (5, 3, True)]:
        split = Split(
            training.loader.split.x[: 2 * size], transform=training.loader.split.transform
        )
        loader = Loader(split, CPU, size, world_size=processes)
        assert needs_two_examples(training.task, loader, 1) == needs


def test_batches_that_are_all_too_small_for_batch_norm_are_refused(spec, monkeypatch):
    small = load_spec(spec(model=NORM, data={"batch_size": 1}))
    with pytest.raises(SpecError, match=r"data\.batch_size: 1 is too small: batch norm needs 2 e"):
        dry_run(small)
    monkeypatch.setattr(Loader, "__len__", lambda self: 1)
    with pytest.raises(DataError, match=r"split, of size 1, is too small: batch norm needs 2 e"):
        prepare_training(load_spec(spec(model=NORM)), CPU)


def test_a_dry_run_meets_the_last_batch_and_the_validation_split(spec, monkeypatch):
    sizes = []
    original = nn.Linear.forward
    monkeypatch.setattr(
        nn.Linear, "forward", lambda self, x: (sizes.append(len(x)), original(self, x))[1]
    )
    dry_run(load_spec(spec(data={"batch_size": 419})))
    assert {419, 1} <= {*sizes}
    monkeypatch.setattr("vaezoo.runs.dry_run.validate", lambda *args: {"rate": float("nan")})
    with pytest.raises(TrainingError, match=r"^validation: rate is nan on the first batch$"):
        dry_run(load_spec(spec()))


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (1, r"phase 'a/model': \w+ is nan on the first batch; no weight has changed yet: .*data"),
        (2, r"phase 'a/model': \w+ is nan on the last batch, which has 106 of 128 examples"),
        (3, r"phase 'b/model': \w+ is nan on the first batch"),
    ],
)
def test_a_dry_run_seeks_the_fault_in_the_data_before_weights_have_changed(
    spoilt, says, spec, monkeypatch
):
    calls, original = [], KL.forward

    def forward(self, trace):
        if torch.is_grad_enabled():  # in a step, and not where the spec is checked
            calls.append(1)
        return original(self, trace) * (math.nan if len(calls) == spoilt else 1)

    monkeypatch.setattr(KL, "forward", forward)
    with pytest.raises(TrainingError, match=f"^{says}$"):
        dry_run(load_spec(spec(stages=[{"name": "a"}, {"name": "b"}])))


def test_a_norm_of_single_values_says_what_helps():
    with pytest.raises(ValueError, match="more than 1 spatial element") as caught:
        nn.InstanceNorm2d(3)(torch.zeros(8, 3, 1, 1))
    assert describe_step_error(caught.value).endswith("use another, or larger batches or maps")


def test_a_dry_run_names_the_pass_that_asks_for_too_much(spec):
    endless = {"type": "iwae", "samples": 2**63 - 1}
    with pytest.raises(TrainingError, match="a pass failed on the first batch: "):
        dry_run(load_spec(spec(objective=endless)))
