"""Bounds on a linear-Gaussian state-space model whose log p(x) is known.

z_t = A z_{t-1} + N(0, Q), z_0 = 0; x_t = C z_t + N(0, R), all scalars.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal
from vaezoo_vrae.metrics import NextStep, StepBounds, per_step
from vaezoo_vrae.particles import particle_filter

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.devices import pick_device

A, C, Q, R, T = 0.9, 1.5, 0.6, 0.4, 12


class Messages(nn.Module):
    """The encoder: x, and the exact p(x_t..x_T | z_t) as precision and shift (backward filter)."""

    def forward(self, x, mask=None):
        precision = torch.zeros(len(x))
        shift, result = torch.zeros(len(x)), []
        for t in reversed(range(x.shape[1])):
            gain = 1 / (1 + Q * precision)
            observed = torch.ones(len(x)) if mask is None else mask[:, t].float()
            precision = A**2 * precision * gain + observed * C**2 / R
            shift = A * shift * gain + observed * C * x[:, t, 0] / R
            result.append(torch.stack([precision, shift], -1))
        return x, torch.stack(result[::-1], 1)


class LinearLevel(nn.Module):
    """A level whose state is its last z; ``skew`` moves the posterior away from the exact one."""

    def __init__(self, skew):
        super().__init__()
        self.space = vaezoo.Space((1,), name="level-1")
        self.skew, self.h_data, self.q_data = skew, nn.Linear(1, 1), nn.Identity()

    def prior(self, state_and_parents):
        log_scale = torch.full_like(state_and_parents, 0.5 * math.log(Q))
        return DiagonalNormal(A * state_and_parents, log_scale)

    def posterior(self, state_and_parents, posterior_input):
        precision = 1 / Q + posterior_input[:, :1]
        mean = (A * state_and_parents / Q + posterior_input[:, 1:]) / precision
        return DiagonalNormal(mean + 0.5 * self.skew, -0.5 * precision.log() + self.skew)

    def update(self, hidden_state, step_input, latents):
        return latents


class Linear(nn.Module):
    """The decoder: C z, from the code [h, z]."""

    def forward(self, code):
        return C * code[..., 1:]


@pytest.fixture
def linear(tmp_path):
    """From a skew to the model and 40 sequences of 6 to T steps sampled from it."""
    import numpy as np

    generator = torch.Generator().manual_seed(0)
    z, rows = torch.zeros(40), []
    for _ in range(T):
        z = A * z + math.sqrt(Q) * torch.randn(40, generator=generator)
        rows.append(C * z + math.sqrt(R) * torch.randn(40, generator=generator))
    x = torch.stack(rows, 1)[..., None]
    counts = torch.randint(6, T + 1, (40,), generator=generator)
    path = tmp_path / "linear.npz"
    np.savez(
        path,
        x=torch.cat([row[:count] for row, count in zip(x, counts)]).numpy(),
        lengths=counts.numpy(),
    )

    def make(skew):
        spec = {
            "spec": "vaezoo/v1",
            "name": "linear",
            "data": {
                "type": "sequences",
                "path": str(path),
                "standardise": False,
                "fractions": [0.9, 0.05, 0.05],
            },
            "model": {
                "latent_dim": 1,
                "encoder": {"type": "recurrent", "direction": "backward", "units": 2},
                "latents": {"type": "chain", "units": 1, "hidden": 2},
                "decoder": {"type": "steps"},
                "likelihood": {"type": "normal", "scale": math.sqrt(R)},
            },
        }
        _, data, (task,) = prepare_training(load_spec(spec), pick_device("cpu"))
        model = task.model.eval()
        model.encoder, model.decoder = Messages(), Linear()
        model.latents.levels[0] = LinearLevel(skew)
        return model, data

    return make


def exact(batch):
    """log p(x) of each sequence, from the joint normal of its steps."""
    result = []
    for row, mask in zip(batch.x[..., 0], batch.mask):
        count = int(mask.sum())
        impulse = torch.tensor(
            [[A ** (t - s) if s <= t else 0.0 for s in range(count)] for t in range(count)]
        )
        covariance = C**2 * Q * impulse @ impulse.T + R * torch.eye(count)
        result.append(MultivariateNormal(torch.zeros(count), covariance).log_prob(row[:count]))
    return torch.stack(result)


@torch.no_grad()
def test_the_exact_smoothing_posterior_closes_the_gap(linear):
    model, data = linear(0.0)
    batch = data.first(36)
    trace = model(batch, 3)
    torch.testing.assert_close(trace.log_weight, exact(batch).expand(3, -1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        particle_filter(model, batch, 4, ess_threshold=0), exact(batch), rtol=1e-4, atol=1e-3
    )


@torch.no_grad()
def test_the_bounds_are_ordered_and_approach_the_truth(linear):
    torch.manual_seed(0)
    model, data = linear(0.35)
    batch = data.first(36)
    truth = exact(batch).mean()

    def average(bound, repeats):
        return torch.stack([bound().mean() for _ in range(repeats)]).mean()

    elbo = average(lambda: model(batch).log_weight[0], 200)
    iwae = {
        k: average(lambda k=k: model(batch, k).log_weight.logsumexp(0) - math.log(k), 60)
        for k in (4, 64)
    }
    fivo = {k: average(lambda k=k: particle_filter(model, batch, k), 60) for k in (4, 64, 512)}
    assert elbo + 0.2 < iwae[4] < fivo[4] + 0.05
    assert iwae[4] + 0.1 < iwae[64] < fivo[64] + 0.02 < truth + 0.04
    assert fivo[4] + 0.1 < fivo[64] < fivo[512] + 0.02
    assert abs(truth - fivo[512]) < 0.03


@torch.no_grad()
def test_the_particle_estimate_of_the_likelihood_is_unbiased(linear):
    torch.manual_seed(0)
    model, data = linear(0.3)
    batch = data.first(4)
    # 3000 filters of each of the four sequences, as the examples of one batch
    repeated = vaezoo.Batch(batch.x.repeat(3000, 1, 1), None, batch.mask.repeat(3000, 1))
    for bootstrap in (False, True):
        runs = particle_filter(model, repeated, 8, bootstrap=bootstrap).unflatten(0, (3000, 4))
        ratio = (runs - exact(batch)).exp()
        error = ratio.std(0) / math.sqrt(3000)
        assert bool(((ratio.mean(0) - 1).abs() < 4 * error).all()), bootstrap


@torch.no_grad()
def test_next_step_error_is_that_of_the_kalman_predictor(linear):
    torch.manual_seed(0)
    model, data = linear(0.5)
    batch, squares = data.first(len(data)), []
    for row, mask in zip(batch.x[..., 0], batch.mask):
        mean, variance = 0.0, 0.0
        for value in row[: int(mask.sum())].tolist():
            mean, variance = A * mean, A**2 * variance + Q
            squares.append((value - C * mean) ** 2)
            gain = variance * C / (C**2 * variance + R)
            mean, variance = mean + gain * (value - C * mean), (1 - gain * C) * variance
    expected = math.sqrt(sum(squares) / len(squares))
    result = NextStep(particles=2000)(model, data)["next_step_rmse"].value
    assert result == pytest.approx(expected, rel=0.01)


@torch.no_grad()
def test_figures_per_step_divide_all_nats_by_all_steps(linear):
    model, data = linear(0.0)
    result = StepBounds(samples=2, particles=4)(model, data)
    batch = data.first(len(data))
    truth = exact(batch).sum() / batch.mask.sum()
    assert result["iwae_per_step"].value == pytest.approx(float(truth), abs=1e-3)
    assert (
        result["fivo_per_step"].value < float(truth) + 0.05
    )  # resampling adds noise even to exact proposals
    estimate = per_step(torch.tensor([2.0, 6.0]), torch.tensor([1, 3]))
    assert (estimate.value, estimate.error) == (2.0, 0.0)


def test_numbers_of_sequences_have_the_mean_and_the_error_of_the_ratio():
    totals, steps = torch.rand(9) * 5, torch.randint(1, 9, (9,))
    estimate = per_step(totals, steps)
    assert float(estimate.per_example.mean()) == pytest.approx(estimate.value)
    assert float(estimate.per_example.std()) / 3 == pytest.approx(estimate.error)


def test_a_particle_filter_wants_a_chain(spec, composed):
    task, batch = composed(spec(latents={"type": "recurrent", "units": 8}))
    with pytest.raises(NotImplementedError, match="chain"):
        particle_filter(task.model, batch, 4)


RICH = {
    "type": "chain",
    "units": 8,
    "hidden": 8,
    "levels": 2,
    "clocks": [3, 1],
    "sequence_dim": 3,
    "skip": True,
}


@torch.no_grad()
def test_particles_walk_as_the_model_does(spec, composed, pin_latents):
    """With pinned posteriors, every particle has the log p(x, z) - log q(z|x) of the model."""
    task, batch = composed(spec(latents=RICH))
    model = task.model.eval()
    pin_latents(model.latents)
    model.latents.sequence_latent.prior.log_scale = 0.2
    for level in model.latents.levels:
        level.p_out.bias[4:] = 0.3
    result = particle_filter(model, batch, 4)
    torch.testing.assert_close(result, model(batch).log_weight[0], rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_resampling_takes_everything_of_a_particle_along(spec, composed):
    task, _ = composed(spec(latents=RICH))
    chain = task.model.latents
    state = chain.initial_state(torch.randn(6, 3))
    state.hidden_states = [torch.randn(6, 8) for _ in state.hidden_states]
    state.latents = [torch.randn(6, 4) for _ in state.latents]
    before = [state.sequence_code, *state.hidden_states, *state.latents]
    index = torch.tensor([5, 5, 0, 1, 1, 2])
    state.select(index)
    after = [state.sequence_code, *state.hidden_states, *state.latents]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new, old[index])
