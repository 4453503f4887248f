"""Bounds and gradients for a model with known log p(x) and posterior."""

from __future__ import annotations

import math

import pytest
import torch

from tests.conftest import task_wiring
from vaezoo.components.objectives import IWAE, Reconstruction
from vaezoo.components.regularizers import KL
from vaezoo.data.batch import Batch
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.task import Task


def elbo(model, x, samples):
    trace = model(Batch(x), samples)
    return -(trace.distortion + trace.rate).mean(0)


def test_elbo_iwae_and_log_likelihood_are_in_order(inexact):
    x = inexact.data(64)
    with torch.no_grad():
        truth = inexact.log_p(x).mean()
        values = [elbo(inexact.model, x, 2000).mean()]
        for k in (10, 1000):
            repeats = max(1, 4000 // k)
            values.append(
                torch.stack(
                    [
                        importance_sampling(inexact.model, Batch(x), k)[0].mean()
                        for _ in range(repeats)
                    ]
                ).mean()
            )
        values.append(truth)
    assert values[0] < values[1] < values[2] <= values[3] + 0.01
    assert values[3] - values[0] > 0.1, "the posterior must be off, or the ordering shows nothing"


def test_iwae_10000_is_within_two_hundredths_of_a_nat(inexact):
    x = inexact.data(64)
    estimate, size = importance_sampling(inexact.model, Batch(x), 10_000)
    assert abs(estimate.mean() - inexact.log_p(x).mean()) < 0.02
    assert ((size >= 1) & (size <= 10_000)).all()


def test_elbo_is_exactly_log_p_with_the_exact_posterior(exact):
    x = exact.data(64)
    log_weight = exact.model(Batch(x), 5).log_weight  # every single sample has zero variance
    torch.testing.assert_close(log_weight, exact.log_p(x).expand(5, -1), atol=1e-4, rtol=0)
    _, size = importance_sampling(exact.model, Batch(x), 100)
    torch.testing.assert_close(size, torch.full_like(size, 100.0), rtol=1e-4, atol=0)


def test_importance_takes_exactly_the_samples_it_is_asked_for(inexact, monkeypatch):
    drawn_samples = []
    original = inexact.model.infer
    monkeypatch.setattr(
        inexact.model,
        "infer",
        lambda inference: (drawn_samples.append(inference.k), original(inference))[1],
    )
    monkeypatch.setattr("vaezoo.model.latent_variable_model.MAX_DECODED_SCALARS", 64 * 6 * 3)
    encoded = []
    features = inexact.model.features
    monkeypatch.setattr(
        inexact.model, "features", lambda b, c: (encoded.append(len(b)), features(b, c))[1]
    )
    importance_sampling(inexact.model, Batch(inexact.data(64)), 100)
    assert sum(drawn_samples) == 100 and max(drawn_samples) == 3
    assert encoded == [64], "a batch is encoded once"


def test_chunking_does_not_change_the_estimate(inexact, monkeypatch):
    x = inexact.data(8)
    torch.manual_seed(1)
    complete = importance_sampling(inexact.model, Batch(x), 3000)[0]
    monkeypatch.setattr("vaezoo.model.latent_variable_model.MAX_DECODED_SCALARS", 8 * 6 * 7)
    torch.manual_seed(2)
    parts = importance_sampling(inexact.model, Batch(x), 3000)[0]
    torch.testing.assert_close(complete, parts, atol=0.1, rtol=0)


def test_gradient_of_the_elbo_is_the_analytic_one(inexact):
    """For N(0, I), N(Az + b, sigma²) and N(Wx + c, s²) the ELBO and its gradient have closed
    forms."""
    x = inexact.data(16)
    model = inexact.model
    posterior, decoder = model.latents.posterior, model.decoder
    parameters = [
        posterior.weight,
        posterior.offset,
        posterior.log_scale,
        decoder.loading,
        decoder.offset,
    ]
    mean = x @ posterior.weight.T + posterior.offset
    variance = (2 * posterior.log_scale).exp()
    residual = x - mean @ decoder.loading.T - decoder.offset
    spread = (decoder.loading.square() * variance).sum()
    log_scale = math.log(inexact.sigma)
    log_px = -0.5 * (residual.square().sum(1) + spread) / inexact.sigma**2 - 6 * (
        log_scale + 0.5 * math.log(2 * math.pi)
    )
    kl = 0.5 * (mean.square() + variance - 1).sum(1) - posterior.log_scale.sum()
    analytic = torch.autograd.grad((kl - log_px).mean(), parameters)

    wiring = task_wiring(model, 16)
    task = Task(model, Reconstruction(wiring, samples=40_000), {"kl": KL(wiring)})
    loss, _ = task(Batch(x))
    torch.testing.assert_close(loss.mean(), (kl - log_px).mean(), atol=0.02, rtol=0)
    sampled = torch.autograd.grad(loss.mean(), parameters)
    for result, expected_value in zip(sampled, analytic, strict=True):
        torch.testing.assert_close(result, expected_value, atol=0.03, rtol=0.02)


def gradients(model, x, objective, repeats, expected_value):
    total, squares = 0, 0
    for _ in range(repeats):
        loss = objective(model(Batch(x), objective.num_samples)).mean()
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, expected_value)])
        total, squares = total + flat, squares + flat.square()
    mean = total / repeats
    return mean, ((squares / repeats - mean.square()).clamp(min=0) / repeats).sqrt()


def posterior_parameters(model):
    return list(model.latents.posterior.parameters())


def test_dreg_has_the_expected_gradient_of_iwae_and_less_noise(inexact):
    x, model = inexact.data(4), inexact.model
    expected_value = posterior_parameters(model)
    plain, noise = gradients(model, x, IWAE(task_wiring(model), samples=6), 3000, expected_value)
    doubly, less = gradients(
        model, x, IWAE(task_wiring(model), samples=6, gradient="dreg"), 3000, expected_value
    )
    assert ((plain - doubly).abs() < 4.5 * (noise + less) + 1e-3).all()
    assert less.sum() < 0.8 * noise.sum()
    assert plain.abs().max() > 10 * noise.max(), "the gradient must be large beside its error"


def test_dreg_leaves_the_decoder_the_standard_gradient(inexact):
    x, model = inexact.data(8), inexact.model
    expected_value = list(model.decoder.parameters())
    trace = model(Batch(x), 6)
    result = [
        torch.autograd.grad(
            IWAE(task_wiring(model), samples=6, gradient=g)(trace).mean(),
            expected_value,
            retain_graph=True,
        )
        for g in ("standard", "dreg")
    ]
    for one, other in zip(*result, strict=True):
        torch.testing.assert_close(one, other)


def test_sticking_the_landing_has_the_gradient_of_the_elbo_at_one_sample(inexact):
    x, model = inexact.data(4), inexact.model
    expected_value = posterior_parameters(model)
    wiring = task_wiring(model, 4)
    task = Task(model, Reconstruction(wiring), {"kl": KL(wiring)})

    class Negative(IWAE):
        def forward(self, trace):
            return trace.distortion.mean(0) + trace.rate.mean(0)

    assert task is not None
    plain, noise = gradients(model, x, Negative(wiring, samples=1), 6000, expected_value)
    sticking, less = gradients(
        model, x, IWAE(wiring, samples=1, gradient="stl"), 6000, expected_value
    )
    assert ((plain - sticking).abs() < 4.5 * (noise + less) + 1e-3).all()


def test_sticking_the_landing_has_no_noise_at_the_exact_posterior(exact):
    expected_value = posterior_parameters(exact.model)
    mean, noise = gradients(
        exact.model,
        exact.data(8),
        IWAE(task_wiring(exact.model), samples=1, gradient="stl"),
        20,
        expected_value,
    )
    assert mean.abs().max() < 1e-4 and noise.max() < 1e-4


@pytest.mark.parametrize("gradient", ["standard", "dreg", "stl"])
def test_loss_of_iwae_is_the_bound_whatever_its_gradient(inexact, gradient):
    objective = IWAE(task_wiring(inexact.model), samples=7, gradient=gradient)
    trace = inexact.model(Batch(inexact.data(8)), 7)
    expected = -(torch.logsumexp(trace.log_weight, 0) - math.log(7))
    torch.testing.assert_close(objective(trace), expected)
    torch.testing.assert_close(objective.bound(trace), -expected)


def test_iwae_weights_are_normalised_over_samples(inexact):
    """The worst sample must weigh least: the gradient by a log weight is -softmax over K."""
    trace = inexact.model(Batch(inexact.data(5)), 9)
    log_weight = trace.log_weight.detach().requires_grad_()
    object.__setattr__(trace, "__dict__", {**vars(trace), "log_weight": log_weight})
    IWAE(task_wiring(inexact.model), samples=9)(trace).sum().backward()
    torch.testing.assert_close(log_weight.grad, -torch.softmax(log_weight.detach(), 0))


def test_shapes_are_samples_by_batch(inexact):
    trace = inexact.model(Batch(inexact.data(5)), 3)
    assert trace.distortion.shape == trace.rate.shape == trace.log_weight.shape == (3, 5)
    assert trace.sites[0].z.shape == (3, 5, 2)
    assert trace.sites[0].kl.shape == trace.sites[0].log_ratio.shape == (3, 5)
