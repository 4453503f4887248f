"""Which weights the weight decay of an optimizer acts on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import CPU
from vaezoo.model.parts import Prior
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.optimizers import distribution_parameters
from vaezoo.training.phase_optimizer import PhaseOptimizer

OWN = {"likelihood.log_scale", *(f"latents.prior.{n}" for n in ("logits", "mean", "log_scale"))}
"""The parameters of the distributions of ``composed``."""


@pytest.fixture
def composed(spec):
    """The optimizer of a model with a mixture prior and a learned scale, and its parameters by
    name."""

    def build(version="vaezoo/v2", **train):
        model = {
            "latent_dim": 2,
            "encoder": {"type": "mlp", "hidden": [4]},
            "prior": {"type": "mixture", "components": 3},
            "decoder": {"type": "mlp", "hidden": [4]},
            "likelihood": "laplace",
        }
        loaded = load_spec(spec(spec=version, model=model, train=train))
        _, _, (task,) = prepare_training(loaded, CPU)
        (phase,) = task.phases()
        optimizer = PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=10)
        return optimizer, dict(task.model.named_parameters())

    return build


@pytest.mark.parametrize(
    ("version", "options", "left_out"),
    [
        ("vaezoo/v2", {}, OWN),
        ("vaezoo/v1", {}, set()),
        ("vaezoo/v1", {"decay": "networks"}, OWN),
        ("vaezoo/v2", {"decay": "all"}, set()),
    ],
)
def test_weight_decay_leaves_out_the_numbers_of_distributions(
    version, options, left_out, composed
):
    block = {"type": "sgd", "lr": 1.0, "weight_decay": 0.5}
    optimizer, parameters = composed(version, optimizer=block, **options)
    before = {}
    for name, parameter in parameters.items():
        parameter.data.fill_(1.0)
        before[name], parameter.grad = parameter.detach().clone(), torch.zeros_like(parameter)
    optimizer.optimizer.step()
    still = {name for name, weight in parameters.items() if torch.equal(weight, before[name])}
    assert still == left_out
    moved = [weight for name, weight in parameters.items() if name not in still]
    assert all(bool((weight == 0.5).all()) for weight in moved)  # weights and biases alike


def test_without_weight_decay_there_is_one_group_of_all_parameters(composed):
    for block in ("adam", {"type": "adamw", "lr": 1e-3, "weight_decay": 0.0}, "rprop"):
        optimizer, parameters = composed(optimizer=block)
        (group,) = optimizer.optimizer.param_groups
        assert [id(p) for p in group["params"]] == [id(p) for p in optimizer.parameters]
        assert len(group["params"]) == len(parameters)
    decayed, apart = composed(optimizer="adamw")[0].optimizer.param_groups
    assert decayed["weight_decay"] == 0.01 and apart["weight_decay"] == 0
    assert decayed["fused"] and apart["fused"]


def test_schedules_and_warm_up_move_both_groups(composed):
    for scheduler in ("cosine-annealing", {"type": "one-cycle", "max_lr": 0.1}):
        warmup = 4 if isinstance(scheduler, str) else 0
        optimizer, _ = composed(optimizer="adamw", scheduler=scheduler, warmup=warmup)
        rates = []
        for _ in range(6):
            optimizer._step_optimizer(measure_norm=False)
            rates.append([group["lr"] for group in optimizer.optimizer.param_groups])
        assert all(decayed == apart for decayed, apart in rates)
        assert len({decayed for decayed, _ in rates}) > 3


class Nested(Prior):
    """A prior with numbers of its own, in all ways to hold them, and with a network."""

    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.zeros(2))
        self.several = nn.ParameterList([torch.zeros(2)])
        self.named = nn.ParameterDict({"mean": torch.zeros(2)})
        self.net = nn.Linear(2, 2)

    def forward(self, context, model):
        raise NotImplementedError


def test_layers_of_a_prior_are_a_network():
    prior = nn.Sequential(nn.Linear(2, 2), Nested())
    ids = distribution_parameters(prior)
    names = {name for name, parameter in prior.named_parameters() if id(parameter) in ids}
    assert names == {"1.own", "1.several.0", "1.named.mean"}
