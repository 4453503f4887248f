"""KL divergences, the ELBO, masks and conditional priors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import (
    Categorical,
    ExpTransform,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    kl_divergence,
)

from tests.conftest import data_wiring, encoder_wiring, likelihood_trace
from vaezoo.components.encoders import MLPEncoder
from vaezoo.components.likelihoods import BernoulliLikelihood, NormalLikelihood
from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.distributions import DiagonalNormal, Implicit, NormalMixture, UnitNormal, density_of
from vaezoo.model.trace import Site, Trace, elbo, sum_event_dims


def torch_normal(mean, scale):
    """The independent implementation."""
    return Independent(Normal(mean, scale), 1)


def diagonal_normal(mean, scale):
    return DiagonalNormal(mean, scale.log())


def test_kl_of_normals_is_the_closed_form():
    mean, scale = torch.randn(7, 3), torch.rand(7, 3) + 0.2
    q, p = diagonal_normal(mean, scale), diagonal_normal(torch.zeros(3), torch.ones(3))
    site = Site("z", q.rsample((4,)), q, p)
    expected = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum(1)
    torch.testing.assert_close(site.kl, expected.expand(4, 7))


def test_kl_agrees_with_monte_carlo():
    q = diagonal_normal(torch.randn(3, 2), torch.rand(3, 2) + 0.3)
    site = Site("z", q.rsample((200_000,)), q, diagonal_normal(torch.ones(2), 2 * torch.ones(2)))
    torch.testing.assert_close(site.log_ratio.mean(0), site.kl[0], atol=0.02, rtol=0)


def test_kl_without_closed_form_is_the_sample_estimate():
    q = diagonal_normal(torch.randn(3, 2), torch.rand(3, 2) + 0.3)
    mixture = NormalMixture(torch.zeros(4), torch.randn(4, 2), torch.zeros(4, 2))
    site = Site("z", q.rsample((5,)), q, mixture)
    torch.testing.assert_close(site.kl, site.log_ratio)


@pytest.mark.parametrize("samples", [1, 4])
def test_the_mean_elbo_has_the_bits_of_minus_distortion_and_rate(samples):
    q, p = diagonal_normal(torch.randn(5, 3), torch.rand(5, 3) + 0.2), UnitNormal(torch.zeros(3))
    likelihood = NormalLikelihood(data_wiring(DataSpec((6,), "real")), scale=0.5)
    sites = tuple(Site(name, q.rsample((samples,)), q, p) for name in ("first", "second"))
    batch, h = Batch(torch.randn(5, 6)), torch.randn(samples, 5, 6)
    trace = likelihood_trace(likelihood, batch, h, sites)
    assert torch.equal(trace.mean_elbo, -(trace.mean_distortion + trace.mean_rate))
    assert torch.equal(trace.mean_elbo, elbo(-trace.mean_distortion, trace.mean_rate))
    ratios = [site.log_ratio for site in sites]
    assert torch.equal(trace.log_weight, trace.log_likelihood - ratios[0] - ratios[1])


def test_a_conditional_prior_broadcasts_over_samples():
    q = diagonal_normal(torch.randn(5, 2), torch.rand(5, 2) + 0.3)
    p = diagonal_normal(torch.randn(5, 2), torch.rand(5, 2) + 0.3)
    site = Site("z", q.rsample((3,)), q, p)
    torch.testing.assert_close(site.kl, kl_divergence(q, p).expand(3, 5))
    assert site.log_ratio.shape == (3, 5)


def test_site_mask_leaves_out_padded_steps():
    q = diagonal_normal(torch.randn(2, 4, 3), torch.rand(2, 4, 3) + 0.3)
    p = diagonal_normal(torch.zeros(3), torch.ones(3))
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    site = Site("z", q.rsample((3,)), q, p, mask=mask)
    expected = torch.stack([kl_divergence(q, p)[0, :2].sum(), kl_divergence(q, p)[1].sum()])
    torch.testing.assert_close(site.kl, expected.expand(3, 2))


@pytest.mark.parametrize("padding", [1, 100])
def test_masks_change_nothing_but_padded_steps(padding):
    data = DataSpec((6, 3), "real", mask_dims=1)
    likelihood = NormalLikelihood(data_wiring(data), scale=0.5)
    x, h = torch.randn(4, 6, 3), torch.randn(2, 4, 6, 3, requires_grad=True)
    plain = likelihood_trace(likelihood, Batch(x, mask=torch.ones(4, 6, dtype=torch.bool)), h)
    gradient = torch.autograd.grad(plain.distortion.sum(), h)[0]

    longer = torch.cat([x, torch.full((4, padding, 3), 1e6)], 1)
    wide = torch.cat([h, torch.randn(2, 4, padding, 3)], 2)
    mask = torch.arange(6 + padding).expand(4, -1) < 6
    padded = likelihood_trace(likelihood, Batch(longer, mask=mask), wide)
    torch.testing.assert_close(
        plain.distortion, padded.distortion, rtol=1e-6, atol=0
    )  # sums may be reordered
    assert torch.equal(torch.autograd.grad(padded.distortion.sum(), h)[0], gradient)


def test_a_mask_over_single_pixels_leaves_these_out():
    data = DataSpec((1, 2, 2), "binary", mask_dims=3)
    likelihood = BernoulliLikelihood(data_wiring(data))
    x, h = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    mask = torch.tensor([[[[True, True], [True, False]]]])
    trace = likelihood_trace(likelihood, Batch(x, mask=mask), h)
    torch.testing.assert_close(trace.distortion, 3 * torch.log(torch.tensor([[2.0]])))


def test_encoders_do_not_see_what_the_mask_hides():
    encoder = MLPEncoder(encoder_wiring((6, 3)), hidden=[8])
    x, mask = torch.randn(4, 6, 3), torch.arange(6).expand(4, -1) < 4
    other = torch.where(mask[..., None], x, torch.full_like(x, 1e6))
    assert torch.equal(encoder(x, mask)[0], encoder(other, mask)[0])
    assert not torch.equal(encoder(x)[0], encoder(other)[0])


def test_a_mask_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"mask \(4, 5\) does not cover"):
        sum_event_dims(torch.zeros(2, 4, 6), torch.ones(4, 5, dtype=torch.bool))


def test_a_draw_without_gradients_leaves_those_of_the_kl():
    log_scale = torch.zeros(4, 2, requires_grad=True)
    p = DiagonalNormal(torch.zeros(4, 2), log_scale)
    p.sample(torch.Size((3,)))  # what a critic does first
    kl_divergence(DiagonalNormal(torch.ones(4, 2), torch.zeros(4, 2)), p).sum().backward()
    assert torch.allclose(log_scale.grad, torch.full((4, 2), -1.0)), (
        "d/ds of s + (1 + 1) / 2 exp(-2s) at s = 0"
    )


def enumerated(weights):
    """A trace with the given weights of its samples ``[K, B]``."""
    k, b = weights.shape
    q = diagonal_normal(torch.randn(b, 3), torch.rand(b, 3) + 0.2)
    likelihood = NormalLikelihood(data_wiring(DataSpec((6,), "real")), scale=0.5)
    sites = (Site("z", q.rsample((k,)), q, NormalMixture(*mixture_of_two())),)
    trace = likelihood_trace(likelihood, Batch(torch.randn(b, 6)), torch.randn(k, b, 6), sites)
    return replace(trace, weights=weights)


def mixture_of_two():
    return torch.zeros(2), torch.randn(2, 3), torch.zeros(2, 3)


def test_every_mean_over_samples_honours_the_weights():
    weights = torch.rand(4, 5).softmax(0)
    trace = enumerated(weights)
    for mean, value in (
        (trace.mean_distortion, trace.distortion),
        (trace.mean_rate, trace.rate),
        (trace.mean_elbo, -trace.distortion - trace.rate),
    ):
        expected = sum(weights[i] * value[i] for i in range(4))
        torch.testing.assert_close(mean, expected)
    per_dimension = torch.randn(4, 5, 3)
    torch.testing.assert_close(
        trace.mean(per_dimension), torch.einsum("kb,kbd->bd", weights, per_dimension)
    )
    uniform = enumerated(torch.full((4, 5), 0.25))
    torch.testing.assert_close(uniform.mean_rate, uniform.rate.mean(0))
    with pytest.raises(NotImplementedError, match="enumerated samples have no importance weights"):
        _ = trace.log_weight


def test_a_variance_over_all_samples_does_not_take_weights():
    likelihood = NormalLikelihood(data_wiring(DataSpec((6,), "real")), scale="optimal")
    trace = likelihood_trace(likelihood, Batch(torch.randn(5, 6)), torch.randn(2, 5, 6))
    weighted = replace(trace, weights=torch.full((2, 5), 0.5))
    assert trace.distortion.shape == (2, 5)
    with pytest.raises(ValueError, match="optimal does not support enumerated samples"):
        _ = weighted.distortion


class BoundedNormal(DiagonalNormal):
    density = "bound"


@pytest.mark.parametrize(
    ("q", "p", "log_q", "density"),
    [
        (UnitNormal, UnitNormal, None, "exact"),
        (UnitNormal, BoundedNormal, None, "bound"),
        (UnitNormal, Implicit, None, "none"),
        (Implicit, UnitNormal, None, "none"),
        (Implicit, BoundedNormal, None, "none"),
        (Implicit, UnitNormal, torch.zeros(2, 4), "exact"),
        (UnitNormal, BoundedNormal, torch.zeros(2, 4), "bound"),
        (BoundedNormal, UnitNormal, None, "none"),
    ],
)
def test_the_density_of_a_site_is_the_weaker_one(q, p, log_q, density):
    def make(cls):
        zero = torch.zeros(3)
        return cls(zero, zero) if cls is BoundedNormal else cls(zero)

    site = Site("z", torch.zeros(2, 4, 3), make(q), make(p), log_q=log_q)
    assert site.density == density and site.has_density == (density != "none")
    trace = Trace(None, Batch(torch.zeros(4, 1)), (site, site), torch.zeros(2, 4, 3), None)
    assert trace.density == density and trace.has_rate == (density != "none")


def test_a_density_is_that_of_what_a_distribution_is_made_of():
    implicit = Implicit(torch.zeros(4, 3))
    mixture = MixtureSameFamily(Categorical(torch.ones(4)), implicit, validate_args=False)
    flow = TransformedDistribution(BoundedNormal(torch.zeros(3), torch.zeros(3)), [ExpTransform()])
    assert density_of(mixture) == "none" and density_of(flow) == "bound"
    assert density_of(Independent(Normal(torch.zeros(3), 1.0), 1)) == "exact"


def test_a_given_log_q_replaces_that_of_q():
    q, p = UnitNormal(torch.zeros(3)), diagonal_normal(torch.ones(3), torch.ones(3))
    z, log_q = torch.randn(2, 4, 3), torch.randn(2, 4)
    site = Site("z", z, q, p, log_q=log_q)
    torch.testing.assert_close(site.log_ratio, log_q - p.log_prob(z))
    torch.testing.assert_close(site.kl, site.log_ratio)
    assert torch.equal(site.mean, z), "q is not the distribution of z"


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
def test_the_mean_of_a_site_has_the_shape_of_z_for_any_batch_shape(lead):
    mean = torch.randn(*lead, 3, 5, 5)
    q = DiagonalNormal(mean, torch.zeros_like(mean), 3)
    site = Site("z", torch.zeros(2, 4, 3, 5, 5), q, UnitNormal(torch.zeros(3, 5, 5)))
    torch.testing.assert_close(site.mean, mean.expand(2, 4, 3, 5, 5))


def test_a_site_without_a_known_mean_takes_its_samples():
    flow = TransformedDistribution(Normal(torch.zeros(3), torch.ones(3)), [ExpTransform()])
    z = torch.rand(2, 4, 3)
    assert torch.equal(Site("z", z, Independent(flow, 1), flow).mean, z)


def test_a_site_is_found_by_its_name():
    trace = enumerated(torch.full((1, 2), 1.0))
    assert trace.site("z") is trace.sites[0]
    with pytest.raises(ValueError, match="no latent variable named 'y'; the model has z"):
        trace.site("y")
