"""The training loop: the effect of a step on the weights, and its records."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vaezoo.data.loader import Loader
from vaezoo.model.objectives import Regularizer
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.phase_optimizer import PhaseOptimizer

CPU = torch.device("cpu")
SGD = {"type": "sgd", "lr": 0.01}
OPTIMIZERS = [
    "adam",
    "adamw",
    "sgd",
    "rmsprop",
    "adagrad",
    "adadelta",
    "radam",
    "nadam",
    "adamax",
    "adafactor",
]
SCHEDULERS = [
    "CosineAnnealingLR",
    {"type": "step", "step_size": 3},
    {"type": "multi-step", "milestones": [3, 6]},
    {"type": "exponential", "gamma": 0.9},
    {"type": "polynomial", "total_iters": 10},
    {"type": "one-cycle", "max_lr": 0.1},
    {"type": "cyclic", "base_lr": 1e-3, "max_lr": 0.1, "step_size_up": 3},
    {"type": "cosine-annealing-warm-restarts", "T_0": 4},
    {"type": "reduce-lr-on-plateau", "patience": 0, "threshold": 1e6, "threshold_mode": "abs"},
]


def phase_optimizer(spec, batch_size=40):
    """The optimizer of the model's phase, and a batch of digits."""
    loaded = load_spec(spec)
    _, loader, (task,) = prepare_training(loaded, CPU)
    (phase,) = task.phases()
    optimizer = PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=100)
    return optimizer, loader.first(batch_size)


def moved(spec, batch_size=40, steps=3):
    """The weights after several steps on one batch, and the terms of the last step."""
    model, batch = phase_optimizer(spec, batch_size)
    for _ in range(steps):
        torch.manual_seed(1)
        reported = model.step(batch, len(batch), measure_norm=True)
    means = {name: float(values.mean()) for name, values in reported.items()}
    return [weight.detach().clone() for weight in model.parameters], means, model


@pytest.mark.parametrize("parts", [2, 3, 7, 40, 64])
def test_accumulating_over_parts_takes_the_step_of_one_batch(parts, spec, without_noise):
    complete, reported, _ = moved(spec(train={"optimizer": SGD}))
    parted, told_in_parts, _ = moved(spec(train={"optimizer": SGD, "accumulate": parts}))
    for one, other in zip(complete, parted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert told_in_parts == pytest.approx(reported, rel=1e-5)


class Seen(Regularizer):
    """Records what it sees of each batch."""

    def __init__(self):
        super().__init__(1.0)
        self.batches = []

    def forward(self, trace):
        self.batches.append(trace.batch)
        return torch.zeros(len(trace.batch))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_component_sees_each_example_once_with_what_belongs_to_it(parts, trainer):
    training = trainer(train={"accumulate": parts, "epochs": 1})
    count, seen = len(training.loader), Seen()
    extras = {"double": 2 * torch.arange(count)}
    training.loader = Loader(replace(training.loader.split, extras=extras), CPU, 128)
    training.task.regularizers["seen"] = seen
    training.fit()
    index = torch.cat([batch.index for batch in seen.batches])
    assert torch.equal(index, training.loader.epoch_order(0))
    assert torch.equal(torch.cat([batch.extras["double"] for batch in seen.batches]), 2 * index)
    assert torch.equal(
        torch.cat([batch.x for batch in seen.batches]), training.loader.gather(index).x
    )
    assert len(seen.batches) == 10 * parts


def test_clipping_bounds_the_norm_and_keeps_the_direction(spec):
    bound = 0.5
    free, _, unclipped = moved(spec(train={"optimizer": SGD}), steps=1)
    assert unclipped.gradient_norm > 2 * bound, "nothing would be clipped"
    clipped = moved(spec(train={"optimizer": SGD, "clip": bound}), steps=1)[2]
    gradients = [
        torch.cat([p.grad.flatten() for p in each.parameters]) for each in (unclipped, clipped)
    ]
    assert gradients[1].norm() == pytest.approx(bound, rel=1e-4)
    torch.testing.assert_close(
        gradients[1], gradients[0] * bound / gradients[0].norm(), rtol=1e-3, atol=1e-6
    )
    assert clipped.gradient_norm == unclipped.gradient_norm, (
        "what is told is the norm before clipping"
    )
    generous = moved(spec(train={"optimizer": SGD, "clip": 1e6}), steps=1)[0]
    assert all(torch.equal(one, other) for one, other in zip(free, generous, strict=True))


def test_averaged_weights_are_the_average_and_are_the_ones_evaluated_and_kept(
    trainer, monkeypatch
):
    decay, reported = 0.8, trainer(train={"ema": 0.8, "epochs": 1})
    averages, observed = [], []
    original = reported.phase_optimizers[0].step

    def move(*args):
        result = original(*args)
        now = {name: weight.clone() for name, weight in reported.task.model.state_dict().items()}
        before = averages[-1] if averages else now
        averages.append({name: decay * before[name] + (1 - decay) * now[name] for name in now})
        return result

    monkeypatch.setattr(reported.phase_optimizers[0], "step", move)
    reported.validate = lambda task: (
        observed.append(task),
        {"bound": -1.0, "elbo": -1.0, "distortion": 1.0, "rate": 0.0},
    )[1]
    reported.fit()
    assert len(averages) == 10 and observed[0] is reported.ema.module
    for name, remaining in reported.selection.best["model"].items():
        torch.testing.assert_close(remaining, averages[-1][name], rtol=1e-5, atol=1e-7)
    last = reported.task.model.state_dict()
    assert not any(
        torch.allclose(last[name], remaining)
        for name, remaining in reported.selection.best["model"].items()
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_of_torch_trains(optimizer, train):
    records = train(train={"optimizer": optimizer, "epochs": 2}, data={"batch_size": 256}).records
    losses = [record["elbo"] for record in records if record["split"] == "validation"]
    assert losses[1] > losses[0]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=str)
def test_every_scheduler_of_torch_moves_the_learning_rate_and_survives_a_resume(
    scheduler, train, interrupted, again, stop_after
):
    block = {
        "optimizer": {**SGD, "momentum": 0.9},
        "scheduler": scheduler,
        "log_every": 1,
        "epochs": 3,
    }
    data = {"batch_size": 256}  # five steps an epoch
    rates = [
        record["lr"]
        for record in train(train=block, data=data).records
        if record["split"] == "train"
    ]
    assert len(rates) == 15 and len(set(rates)) > 1
    stop_after(11)
    resumed = again(interrupted(train=block, data=data))
    assert [record["lr"] for record in resumed.records if record["split"] == "train"] == rates


def test_warm_up_raises_the_learning_rate_and_multiplies_the_schedule(train):
    def rates(**block):
        reported = train(train={"optimizer": SGD, "log_every": 1, "epochs": 1, **block}).records
        return [record["lr"] for record in reported if record["split"] == "train"]

    decay = {"type": "exponential", "gamma": 0.9}
    raised, decayed, both = (
        rates(warmup=4),
        rates(scheduler=decay),
        rates(warmup=4, scheduler=decay),
    )
    assert raised == pytest.approx([0.01 * min(1, (step + 1) / 5) for step in range(1, 11)])
    assert both == pytest.approx(
        [0.01 * (one / 0.01) * (other / 0.01) for one, other in zip(raised, decayed)]
    )


def test_one_seed_gives_the_same_bits_and_another_does_not(train, left_by, same):
    block = {"data": {"binarize": "dynamic"}, "train": {"epochs": 1}}
    first, second, other = train(**block), train(**block), train(**block, seed=1)
    same(left_by(first.path)[1], left_by(second.path)[1])
    assert first.evaluation == second.evaluation
    weights = left_by(other.path)[1]
    assert not any(
        torch.equal(weights[n], t)
        for n, t in left_by(first.path)[1].items()
        if n.endswith("weight")
    )


def test_a_run_neither_heeds_nor_moves_the_generator_of_its_caller(train):
    result = []
    for seed in (0, 1000):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        result.append(train(train={"epochs": 1}).evaluation)
        assert torch.equal(torch.get_rng_state(), state)
    assert result[0] == result[1]


def test_no_step_waits_for_the_device(trainer, monkeypatch):
    """Reading a number is a wait on an accelerator; between two records there is none."""
    block = {
        "ema": 0.9,
        "scheduler": "cosine-annealing",
        "warmup": 3,
        "log_every": 1000,
        "epochs": 3,
    }
    quiet = trainer(
        train=block, regularizers=[{"type": "kl", "weight": {"type": "linear", "steps": 5}}]
    )
    reads, steps = [], []
    for name in ("item", "__float__", "tolist", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, _name=name, _call=original: (reads.append(_name), _call(self, *a))[1],
        )
    advance = quiet._train_step

    def counted(*args):
        before = len(reads)
        result = advance(*args)
        steps.append(len(reads) - before)
        return result

    monkeypatch.setattr(quiet, "_train_step", counted)
    quiet.fit()
    assert steps == [0] * 30
    assert reads, "records are read, or nothing was counted"


def test_training_leaves_the_order_of_examples_to_the_seed_and_the_epoch(trainer, monkeypatch):
    requested = []
    original = Loader.epoch_order
    monkeypatch.setattr(
        Loader,
        "epoch_order",
        lambda self, epoch: (requested.append(epoch), original(self, epoch))[1],
    )
    trainer(train={"epochs": 3}).fit()
    assert requested == [0, 1, 2]


@pytest.mark.parametrize("shape", [(), (39,), (40, 1)])
def test_a_term_is_one_number_or_one_for_each_example(shape, spec, monkeypatch):
    model, batch = phase_optimizer(spec())
    counter = torch.zeros(shape)
    original = model.loss
    monkeypatch.setattr(model, "loss", lambda batch: (original(batch)[0], {"counter": counter}))
    if shape:
        with pytest.raises(ValueError, match=r"counter has shape .*, expected \(40,\)"):
            model.step(batch, len(batch), measure_norm=False)
        return
    reported = model.step(batch, len(batch), measure_norm=False)
    counter += 1  # a buffer that moves on before the record is written
    assert reported["counter"].tolist() == [0.0] * 40


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch itself looks at it
def test_a_compiled_step_measures_and_moves_what_a_plain_one_does(train):
    def reported(compiled):
        records = train(train={"epochs": 1, "log_every": 1, "compile": compiled}).records
        return [record["loss"] for record in records if record["split"] == "train"]

    assert reported(True) == pytest.approx(reported(False), rel=0.02), "noise is drawn otherwise"
