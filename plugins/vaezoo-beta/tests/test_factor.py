"""The density ratio against normals whose total correlation is known, and two players that leave
each other alone."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vaezoo_beta.factor import Factor, shuffle_dimensions

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.testing import check_spec
from vaezoo.training.phase_optimizer import PhaseOptimizer

from .conftest import given_trace, task_wiring

RHO = 0.8
TC = -0.5 * math.log(1 - RHO**2)  # 0.511 nats
WIRING = task_wiring(2)
ENCODERS = ["mlp", {"type": "conv", "channels": [8, 8], "norm": "batch"}]


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


def spec(encoder="mlp", **factor):
    return {
        "spec": "vaezoo/v1",
        "name": "factor",
        "data": {"type": "digits", "batch_size": 32},
        "model": {
            "latent_dim": 3,
            "encoder": encoder,
            "decoder": "mlp",
            "likelihood": "bernoulli",
        },
        "regularizers": ["kl", {"type": "factor", "width": 16, "layers": 2, **factor}],
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-3}},
    }


def codes(count, rho=RHO):
    """Samples of two standard normals with correlation rho, ``[count, 2]``."""
    first, second = torch.randn(2, count)
    return torch.stack([first, rho * first + (1 - rho**2) ** 0.5 * second], 1)


def trace_of(z):
    """A trace whose codes are ``[K, B, 2]`` by decree."""
    q = DiagonalNormal(z[0], torch.zeros_like(z[0]))
    site = vaezoo.Site("z", z, q, UnitNormal(torch.zeros(2)))
    return given_trace(vaezoo.Batch(torch.zeros(z.shape[1], 1)), site)


class Optimal(nn.Module):
    """log N(z; 0, Σ) - log N(z; 0, I) for the codes above, ``[*, 1]``."""

    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.scale, self.shift = scale, shift
        self.difference = torch.tensor([[1.0, RHO], [RHO, 1.0]]).inverse() - torch.eye(2)

    def forward(self, z):
        logit = TC - 0.5 * ((z @ self.difference) * z).sum(-1, keepdim=True)
        return self.scale * logit + self.shift


def with_discriminator(discriminator):
    penalty = Factor(WIRING, width=4, layers=1)
    penalty.discriminator = discriminator
    return penalty


def model_of(z):
    """A model that is said to have inferred codes ``[B, 2]``."""
    return SimpleNamespace(infer_detached=lambda batch: trace_of(z()[None]))


def only_phase(penalty):
    """The discriminator's move."""
    (phase,) = penalty.phases()
    assert phase.name == "discriminator" and phase.module is penalty.discriminator
    return phase


@pytest.mark.parametrize("encoder", ENCODERS, ids=["mlp", "conv"])
def test_neither_player_moves_the_other(encoder):
    check_spec(spec(encoder))


def test_the_best_discriminator_gives_the_analytic_total_correlation():
    z = torch.stack([codes(100_000), codes(100_000)])  # [K, B, 2]
    value = with_discriminator(Optimal())(trace_of(z))
    assert value.shape == (100_000,)
    assert abs(float(value.mean()) - TC) < 0.01
    torch.testing.assert_close(value, Optimal()(z)[..., 0].mean(0))


def test_its_gradient_presses_the_dimensions_apart():
    """With the discriminator held, d E[logit] / d rho = rho / (1 - rho²)."""
    rho = torch.tensor(RHO, requires_grad=True)
    value = with_discriminator(Optimal())(trace_of(codes(200_000, rho)[None])).mean()
    (gradient,) = torch.autograd.grad(value, rho)
    assert float(gradient) == pytest.approx(RHO / (1 - RHO**2), rel=0.02)


def test_the_loss_is_least_for_the_best_discriminator():
    def loss(**change):
        torch.manual_seed(1)
        return float(with_discriminator(Optimal(**change)).discriminate(codes(100_000))[0].mean())

    best = loss()
    for change in (
        {"scale": 0.6},
        {"scale": 1.5},
        {"shift": 0.3},
        {"shift": -0.3},
        {"scale": -1.0},
    ):
        assert loss(**change) > best + 1e-3, change


def test_a_trained_discriminator_finds_the_total_correlation():
    penalty = Factor(WIRING, width=32, layers=2)
    phase, model = only_phase(penalty), model_of(lambda: codes(1024))
    optimizer = torch.optim.Adam(phase.module.parameters(), 3e-3)
    for _ in range(600):
        optimizer.zero_grad()
        loss, terms = phase.loss(model, vaezoo.Batch(torch.zeros(1024, 1)))
        loss.mean().backward()
        optimizer.step()
    assert loss.shape == (1024,) and 0.5 < float(terms["accuracy"].mean()) < 1
    with torch.no_grad():
        assert float(penalty(trace_of(codes(50_000)[None])).mean()) == pytest.approx(TC, rel=0.1)


def test_independent_codes_cost_nothing_to_a_trained_discriminator():
    penalty = Factor(WIRING, width=32, layers=2)
    phase, model = only_phase(penalty), model_of(lambda: codes(512, rho=0.0))
    optimizer = torch.optim.Adam(phase.module.parameters(), 1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        phase.loss(model, vaezoo.Batch(torch.zeros(512, 1)))[0].mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert abs(float(penalty(trace_of(codes(50_000, rho=0.0)[None])).mean())) < 0.03


def test_an_untrained_discriminator_is_at_a_loss():
    penalty = with_discriminator(nn.Sequential(nn.Linear(2, 1)))
    nn.init.zeros_(penalty.discriminator[0].weight)
    nn.init.zeros_(penalty.discriminator[0].bias)
    loss, _ = penalty.discriminate(codes(8))
    torch.testing.assert_close(loss, torch.full((8,), math.log(2)))


@pytest.mark.parametrize("count", [6, 7, 1])
def test_codes_are_compared_with_a_second_batch_that_is_shuffled(count):
    """Both batches count half, whatever their sizes; with one only, each code counts twice."""
    penalty, z = with_discriminator(Optimal()), codes(count)
    torch.manual_seed(1)
    loss, terms = penalty.discriminate(z)
    torch.manual_seed(1)
    first, second = z[0::2], shuffle_dimensions(z[1::2])
    right = torch.cat([penalty.logits(first), -penalty.logits(second)])
    if count == 1:
        expected, accuracy = F.softplus(-right).mean() / 2, (right > 0).float().mean() / 2
    else:
        halves = right.split([len(first), len(second)])
        expected = -0.5 * sum(F.logsigmoid(half).mean() for half in halves)
        accuracy = 0.5 * sum((half > 0).float().mean() for half in halves)
    assert loss.shape == terms["accuracy"].shape == (count,)
    torch.testing.assert_close((loss.mean(), terms["accuracy"].mean()), (expected, accuracy))

    penalty.second_batch = False
    torch.manual_seed(1)
    loss, _ = penalty.discriminate(z)
    torch.manual_seed(1)
    joint, product = penalty.logits(z), penalty.logits(shuffle_dimensions(z))
    torch.testing.assert_close(loss, -0.5 * (F.logsigmoid(joint) + F.logsigmoid(-product)))


def test_a_spec_of_the_first_version_has_the_discriminator_that_it_had():
    adam = {"type": "adam", "lr": 1e-4, "betas": [0.5, 0.9]}
    for version, second_batch, optimizer in (("v1", False, None), ("v2", True, adam)):
        options = vaezoo.load_spec(spec() | {"spec": f"vaezoo/{version}"}).resolved()
        options = options["regularizers"][1]
        assert options["second_batch"] == second_batch
        assert (options["optimization"] or {}).get("optimizer") == optimizer


class ByHand:
    """Algorithm 1 of Kim & Mnih 2018 for networks of one hidden layer.

    Args:
        weights: of the autoencoder and the discriminator, by name.
    """

    def __init__(self, weights):
        self.weights = {name: nn.Parameter(value.clone()) for name, value in weights.items()}

    def linear(self, layer, h):
        return h @ self.weights[f"{layer}.weight"].T + self.weights[f"{layer}.bias"]

    def encode(self, x):
        h = self.linear("model.encoder.net.0", x).relu()
        mean, log_variance = self.linear("model.latents.posterior.linear", h).chunk(2, -1)
        return mean, log_variance, mean + torch.randn_like(mean) * (log_variance / 2).exp()

    def discriminator(self, z):
        """The probability that z is a sample of q(z), ``[B]``."""
        h = self.linear("regularizers.factor.discriminator.0", z)
        logit = self.linear("regularizers.factor.discriminator.2", F.leaky_relu(h, 0.2))
        return torch.sigmoid(logit)[:, 0]

    def gradients(self, value, part):
        """The gradient of a value for the weights whose names begin with ``part``."""
        names = [name for name in self.weights if name.startswith(part)]
        found = torch.autograd.grad(value, [self.weights[name] for name in names])
        return dict(zip(names, found, strict=True))

    def autoencoder_step(self, x, gamma, rate):
        """Theta takes a step of gradient ascent."""
        mean, log_variance, z = self.encode(x)
        h = self.linear("model.decoder.net.0", z).relu()
        p = torch.sigmoid(self.linear("model.decoder.out", h))
        log_p = (x * p.log() + (1 - x) * (1 - p).log()).sum(1)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        d = self.discriminator(z)
        objective = (log_p - kl - gamma * (d / (1 - d)).log()).mean()
        for name, gradient in self.gradients(objective, "model.").items():
            self.weights[name].data += rate * gradient

    def discriminator_step(self, x):
        """Psi takes the first step of Adam, with half of the examples as the second batch B'."""
        z = self.encode(x)[2].detach()
        first, second = z[0::2], z[1::2]
        order = torch.rand_like(second).argsort(0)
        permuted = torch.stack([column[i] for column, i in zip(second.T, order.T, strict=True)], 1)
        m = len(first)
        log_d = self.discriminator(first).log().sum()
        objective = (log_d + (1 - self.discriminator(permuted)).log().sum()) / (2 * m)
        gradients = self.gradients(-objective, "regularizers.")
        weights = [self.weights[name] for name in gradients]
        for weight, gradient in zip(weights, gradients.values(), strict=True):
            weight.grad = gradient
        torch.optim.Adam(weights, lr=1e-4, betas=(0.5, 0.9)).step()


def test_a_training_step_is_that_of_algorithm_1_by_hand():
    content = spec({"type": "mlp", "hidden": [6]}, weight=35.0, layers=1) | {"spec": "vaezoo/v2"}
    content["model"]["decoder"] = {"type": "mlp", "hidden": [6]}
    content["train"] = {"epochs": 1, "optimizer": {"type": "sgd", "lr": 0.02}}
    loaded = vaezoo.load_spec(content)
    task = vaezoo.compose(loaded, vaezoo.DataSpec((1, 8, 8), "unit"), 100).train()
    x, hand = torch.rand(12, 64), ByHand(dict(task.named_parameters()))
    for seed, phase in enumerate(task.phases()):
        optimizer = PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=1)
        torch.manual_seed(seed)
        optimizer.step(vaezoo.Batch(x.view(12, 1, 8, 8)), 12, measure_norm=False)
        torch.manual_seed(seed)
        hand.autoencoder_step(x, 35.0, 0.02) if seed == 0 else hand.discriminator_step(x)
        for name, weight in task.named_parameters():
            torch.testing.assert_close(weight.detach(), hand.weights[name].data, msg=name)


def test_shuffling_keeps_each_dimension_and_breaks_what_they_share():
    z = torch.randn(5000, 1).expand(5000, 3).contiguous()
    mixed = shuffle_dimensions(z)
    torch.testing.assert_close(mixed.sort(0).values, z.sort(0).values, rtol=0, atol=0)
    assert (torch.corrcoef(mixed.T) - torch.eye(3)).abs().max() < 0.06
    assert not torch.equal(shuffle_dimensions(z), mixed), "each call draws anew"


def test_the_discriminator_is_as_wide_and_deep_as_asked():
    shapes = [
        tuple(m.weight.shape)
        for m in Factor(WIRING, width=7, layers=3).discriminator
        if isinstance(m, nn.Linear)
    ]
    assert shapes == [(7, 2), (7, 7), (7, 7), (1, 7)]
    assert sum(isinstance(m, nn.LeakyReLU) for m in Factor(WIRING).discriminator) == 6


def test_the_discriminator_is_shown_observed_codes_and_none_that_carry_a_graph(
    tmp_path, monkeypatch
):
    displayed = []
    original = Factor.discriminate
    monkeypatch.setattr(
        Factor, "discriminate", lambda self, z: (displayed.append(z), original(self, z))[1]
    )
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
    run = vaezoo.run({**spec(), "evaluate": ["elbo"]}, ["data.batch_size=128"], out=tmp_path)
    assert len(displayed) == 10 and not any(z.requires_grad for z in displayed)
    record = run.records[0]
    assert {
        "factor",
        "discriminator/loss",
        "discriminator/accuracy",
        "factor_weight",
    } <= record.keys()
    assert record["loss"] == pytest.approx(
        record["distortion"] + record["kl"] + 10 * record["factor"], rel=1e-4
    )
    assert record["discriminator/loss"] == pytest.approx(math.log(2), abs=0.1)
