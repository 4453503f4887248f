"""Failures that stop the trainer, and their error messages."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace

import pytest
import torch

from vaezoo.components.regularizers import KL
from vaezoo.model.optimization import Optimization
from vaezoo.model.task import Task
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.errors import TrainingError


class Spoiled(torch.autograd.Function):
    """Leaves a value as it is and makes its gradient NaN."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


@pytest.fixture
def spoil(monkeypatch):
    """Changes the penalty ``kl`` at one step, counted from 1: ``spoil(7, lambda value: value *
    math.inf)``."""

    def at(step, change):
        original, now = KL.forward, []
        set_step = Task.set_step
        monkeypatch.setattr(
            Task, "set_step", lambda task, step: (now.append(step), set_step(task, step))[1]
        )
        monkeypatch.setattr(
            KL,
            "forward",
            lambda self, t: (
                change(original(self, t)) if now[-1] == step - 1 else original(self, t)
            ),
        )

    return at


def failure(call, *args, **kwargs):
    """The one line of the TrainingError that a call ends with."""
    with pytest.raises(TrainingError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "word"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
)
def test_a_term_that_is_not_finite_is_named_with_its_step_and_the_last_checkpoint(
    value, word, train, spoil, tmp_path
):
    spoil(7, lambda kl: kl + value)
    message = failure(train, train={"checkpoint_every": 0})
    (path,) = tmp_path.glob("runs/tiny/*")
    (checkpoint,) = RunDirectory(path).checkpoint_files()
    assert checkpoint.name == "step-000000004.safetensors"
    assert message == (
        f"kl is {word} at step 7 (epoch 1, learning rate 0.001, fp32); what usually helps: a "
        "smaller train.optimizer.lr or train.clip: 1; last good checkpoint: "
        f"{checkpoint}"
    )


def test_a_term_that_is_not_finite_before_any_checkpoint_says_so(train, spoil):
    spoil(2, lambda kl: kl * math.nan)
    message = failure(train, train={"clip": 5.0, "precision": "bf16", "optimizer": "sgd"})
    assert message == (
        "kl is nan at step 2 (epoch 1, learning rate 0.001, mixed precision bf16); what usually "
        "helps: a smaller train.optimizer.lr or train.precision: fp32; there is no checkpoint yet"
    )


def test_a_term_of_another_phase_has_the_learning_rate_of_that_phase(trainer):
    unstable = trainer()
    (own,) = unstable.phase_optimizers
    other = copy(own)
    other.name, other.phase = "critic", replace(own.phase, optimization=Optimization())
    other.optimizer = torch.optim.SGD(own.parameters, lr=0.25)
    unstable.phase_optimizers.append(other)
    for step, epoch in ((1, 1), (21, 3)):  # at step 1, the model's phase has changed weights
        assert str(unstable._divergence("it is nan", step=step, term="critic/gap")) == (
            f"it is nan (epoch {epoch}, learning rate 0.25, fp32); what usually helps: a smaller "
            "learning rate of phase 'critic'; no checkpoint"
        )


def test_what_is_not_finite_at_the_first_step_is_sought_in_the_data(train, spoil):
    spoil(1, lambda kl: kl * math.inf)
    assert "; no weight has changed yet: look for extreme values in the data;" in failure(train)


def test_what_the_first_step_breaks_is_not_sought_in_the_data(train, trainer):
    one_step = {"steps": 1, "epochs": None, "optimizer": {"type": "sgd", "lr": 1e38}}
    message = failure(train, train=one_step)
    assert message.startswith("validation distortion is nan after step 1 (epoch 1, ")
    assert "; what usually helps: a smaller train.optimizer.lr or train.clip: 1;" in message
    run = trainer()
    (optimizer,) = run.phase_optimizers
    optimizer.phase = replace(optimizer.phase, moves=2)  # its terms are those of the second
    assert "what usually helps" in str(run._divergence("kl is nan", step=1, term="kl"))


def test_a_term_that_is_not_finite_in_one_example_of_many_is_seen(train, spoil):
    spoil(3, lambda kl: torch.cat([kl[:-1], kl[-1:] * math.nan]))
    assert failure(train).startswith("kl is nan at step 3 (")


def test_a_term_that_is_not_finite_is_found_when_a_signal_asks_for_a_checkpoint(
    train, spoil, stop_after, tmp_path
):
    spoil(6, lambda kl: kl * math.nan)
    stop_after(6)
    assert failure(train).startswith("kl is nan at step 6 (")
    assert not list(tmp_path.rglob("step-*"))


def test_a_learning_rate_that_bursts_names_the_step(train):
    message = failure(train, train={"optimizer": {"type": "sgd", "lr": 1e38}})
    assert message.startswith("distortion is nan at step 2 (epoch 1, learning rate 1e+38, fp32);")


def test_weights_that_the_last_step_breaks_are_not_kept(train, spoil, tmp_path):
    spoil(30, Spoiled.apply)
    message = failure(train)
    assert message.startswith("validation distortion is nan after step 30 (epoch 3, ")
    assert not list(tmp_path.rglob("model.safetensors"))


def test_weights_that_break_without_a_validation_to_see_it_are_not_saved(trainer, spoil):
    spoil(30, Spoiled.apply)
    broken = trainer(train={"epochs": 3})
    assert failure(broken.fit).startswith(
        "model.encoder.net.0.weight is not finite after step 30 (epoch 3, "
    )
    assert broken.run_log.checkpoints == []


def test_averaged_weights_that_break_are_not_kept(train, spoil):
    spoil(30, Spoiled.apply)
    assert "validation distortion is nan" in failure(train, train={"ema": 0.99})


def test_a_schedule_shorter_than_the_run_is_one_line(train):
    message = failure(
        train, train={"scheduler": {"type": "one-cycle", "max_lr": 0.01, "total_steps": 5}}
    )
    assert message.startswith("step 6, phase 'model':") and "5" in message


def test_running_out_of_memory_in_a_step_is_one_line(train, monkeypatch):
    def exhausted(self, trace):
        raise torch.OutOfMemoryError("out of memory.\nTried to allocate 3 GiB")

    monkeypatch.setattr(KL, "forward", exhausted)
    assert failure(train).startswith(
        "step 1, phase 'model': out of memory. Tried to allocate 3 GiB;"
    )


def test_the_lock_is_free_and_the_run_goes_on_after_a_failure(train, again, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(KL, "forward", lambda self, trace: trace.rate.mean(0) * math.nan)
        failure(train)
    (path,) = tmp_path.glob("runs/tiny/*")
    assert again(path).evaluation["metrics"]["elbo"]["value"] < 0


@pytest.mark.parametrize("hook", ["initialise", "after_step"])
def test_an_error_of_a_hook_names_the_step(hook, train, monkeypatch):
    def fail(self, *args):
        raise ValueError("no codes\nare left")

    monkeypatch.setattr(KL, hook, fail)
    assert failure(train).startswith(f"step 1, {hook}: no codes are left; there is no checkpoint")
