"""Normals and mixtures of them beside those of torch; stopped gradients."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaezoo.distributions import DiagonalNormal, NormalMixture, OptimalNormal, UnitNormal, detach


def torch_normal(mean, scale):
    """The independent implementation."""
    return Independent(Normal(mean, scale), 1)


def diagonal_normal(mean, scale):
    return DiagonalNormal(mean, scale.log())


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_the_diagonal_normal_is_torchs(shape):
    mean, scale = torch.randn(shape), torch.rand(shape) + 0.2
    ours, reference = diagonal_normal(mean, scale), torch_normal(mean, scale)
    z = reference.sample((4,))
    torch.testing.assert_close(ours.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(ours.entropy(), reference.entropy())
    torch.testing.assert_close(ours.stddev, reference.stddev)
    samples = ours.expand((7, *shape[:-1])).rsample((5000,))
    assert samples.shape == (5000, 7, *shape)
    torch.testing.assert_close(samples.mean((0, 1)), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(samples.std((0, 1)), scale, atol=0.05, rtol=0)


def test_kl_between_our_normals_and_torchs_is_one_figure():
    q, p = (torch.randn(5, 3), torch.rand(5, 3) + 0.2), (torch.randn(5, 3), torch.rand(5, 3) + 0.2)
    expected = kl_divergence(torch_normal(*q), torch_normal(*p))
    for first in (diagonal_normal, torch_normal):
        for second in (diagonal_normal, torch_normal):
            torch.testing.assert_close(kl_divergence(first(*q), second(*p)), expected)
    unit = kl_divergence(torch_normal(*q), torch_normal(torch.zeros(3), torch.ones(3)))
    torch.testing.assert_close(
        kl_divergence(diagonal_normal(*q), UnitNormal(torch.zeros(3))), unit
    )


def test_a_mixture_of_one_is_the_normal():
    mean, log_scale = torch.randn(1, 3), 0.3 * torch.randn(1, 3)
    mixture = NormalMixture(torch.zeros(1), mean, log_scale)
    z = torch.randn(6, 3)
    torch.testing.assert_close(
        mixture.log_prob(z), diagonal_normal(mean[0], log_scale[0].exp()).log_prob(z)
    )


def test_mixture_agrees_with_torch_and_its_samples():
    logits, mean, log_scale = torch.randn(5), torch.randn(5, 2), 0.2 * torch.randn(5, 2)
    mixture = NormalMixture(logits, mean, log_scale)
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), torch_normal(mean, log_scale.exp())
    )
    z = mixture.sample((20_000,))
    torch.testing.assert_close(
        mixture.log_prob(z[:100]), reference.log_prob(z[:100]), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(z.mean(0), mixture.mean, atol=0.05, rtol=0)


def test_detach_stops_gradients_at_every_parameter():
    mean = torch.randn(3, 2, requires_grad=True)
    stopped = detach(diagonal_normal(mean, mean.exp()))
    assert not stopped.log_prob(torch.zeros(3, 2)).requires_grad
    assert diagonal_normal(mean, mean.exp()).log_prob(torch.zeros(3, 2)).requires_grad


def test_detach_refuses_flows():
    flow = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(0.0, 1.0),
        [torch.distributions.transforms.AffineTransform(0.0, 2.0)],
    )
    with pytest.raises(TypeError, match="standard gradient"):
        detach(flow)


def test_one_sample_is_drawn_as_the_first_of_several_would_be():
    mean, log_scale = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    samples = []
    for shape in (torch.Size((1,)), torch.Size((1, 1))):
        torch.manual_seed(3)
        samples.append(DiagonalNormal(mean, log_scale).rsample(shape).reshape(5, 2))
    gradients = [torch.autograd.grad(z.square().sum(), (mean, log_scale)) for z in samples]
    assert torch.equal(*samples)
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("error", [0.0, 1e-25, 0.3])
def test_the_best_scale_has_a_gradient_at_every_error(error):
    """At none it is that of its lower bound, and nothing is to be learned."""
    loc, scales = torch.full((2, 3), error, requires_grad=True), []
    value = OptimalNormal(loc, scales.append, -6.0).log_prob(torch.zeros(2, 3))
    log_scale = torch.nn.functional.softplus(torch.tensor(error).square().log() / 2 + 6) - 6
    expected = Normal(error, log_scale.exp()).log_prob(torch.zeros(()))
    torch.testing.assert_close(value, expected.expand(2, 3))
    torch.testing.assert_close(scales[0], log_scale)
    value.sum().backward()
    assert loc.grad.isfinite().all()
    assert (float(loc.grad.abs().max()) > 1e-3) == (error > 1e-3)
