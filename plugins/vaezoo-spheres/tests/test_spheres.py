"""Distributions on spheres against closed forms, scipy, and their own samples.

Shapes: N samples, m coordinates.
"""

from __future__ import annotations

import math
from pathlib import Path

import mpmath
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch.distributions import kl_divergence
from vaezoo_spheres.components import PowerSphericalPosterior, VonMisesFisherPosterior
from vaezoo_spheres.power_spherical import PowerSpherical
from vaezoo_spheres.uniform import UniformSphere, log_area
from vaezoo_spheres.von_mises_fisher import VonMisesFisher

import vaezoo
from vaezoo.testing import check_spec

EXAMPLES = Path(__file__).parents[1] / "examples"
BOTH = [VonMisesFisher, PowerSpherical]


def standard_error(values):
    return float(values.std()) / math.sqrt(len(values))


def distribution(cls, kappa, dims=3):
    """The distribution around a random direction, and the uniform one."""
    torch.manual_seed(0)
    loc = F.normalize(torch.randn(dims), dim=-1)
    return cls(loc, torch.as_tensor(kappa)), UniformSphere(torch.zeros(dims))


@pytest.mark.parametrize("kappa", [0.5, 5.0, 60.0, 900.0])
def test_the_kl_of_von_mises_fisher_is_the_closed_form_in_three_dimensions(kappa):
    q, p = distribution(VonMisesFisher, kappa)
    log_sinh = kappa + math.log1p(-math.exp(-2 * kappa)) - math.log(2)
    expected = kappa / math.tanh(kappa) - 1 + math.log(kappa) - log_sinh
    assert float(kl_divergence(q, p)) == pytest.approx(expected, rel=1e-4)
    if kappa == 5.0:
        assert expected == pytest.approx(1.30308, abs=1e-5)


SHARP = [(2, 0.5), (3, 5.0), (8, 100.0), (200, 1e3), (50, 1e4), (8, 1e5), (50, 1e5), (2, 1e6)]


def exact_von_mises_fisher(dims, kappa):
    """The KL to the uniform distribution, its derivative, and log C_m(kappa) + kappa."""
    half, kappa = mpmath.mpf(dims) / 2, mpmath.mpf(kappa)
    bessel = mpmath.besseli(half - 1, kappa)
    cosine = mpmath.besseli(half, kappa) / bessel
    log_norm = half * mpmath.log(2 * mpmath.pi) + mpmath.log(bessel)
    log_c = (half - 1) * mpmath.log(kappa) - log_norm
    area = mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)
    slope = kappa * (1 - cosine**2 - (dims - 1) / kappa * cosine)
    return kappa * cosine + log_c + area, slope, log_c + kappa


def exact_power_spherical(dims, kappa):
    """The KL to the uniform distribution, its derivative, and the log-density at the mode."""
    beta, kappa = mpmath.mpf(dims - 1) / 2, mpmath.mpf(kappa)
    alpha = beta + kappa
    mode = (
        mpmath.loggamma(alpha + beta) - mpmath.loggamma(alpha) - beta * mpmath.log(4 * mpmath.pi)
    )
    half = mpmath.mpf(dims) / 2
    area = mpmath.log(2) + half * mpmath.log(mpmath.pi) - mpmath.loggamma(half)
    mean = mpmath.digamma(alpha) - mpmath.digamma(alpha + beta)
    slope = kappa * (mpmath.polygamma(1, alpha) - mpmath.polygamma(1, alpha + beta))
    return mode + kappa * mean + area, slope, mode


@pytest.mark.parametrize(("dims", "kappa"), SHARP)
@pytest.mark.parametrize(
    ("cls", "exact"),
    [(VonMisesFisher, exact_von_mises_fisher), (PowerSpherical, exact_power_spherical)],
    ids=["von-mises-fisher", "power-spherical"],
)
def test_kl_gradient_and_density_are_precise_however_sharp_they_are(cls, exact, dims, kappa):
    with mpmath.workdps(40):
        kl, slope, mode = (float(value) for value in exact(dims, kappa))
    concentration = torch.tensor(kappa, requires_grad=True)
    q, p = distribution(cls, concentration, dims)
    found = kl_divergence(q, p)
    (gradient,) = torch.autograd.grad(found, concentration)
    assert found.item() == pytest.approx(kl, abs=2e-3)
    assert gradient.item() == pytest.approx(slope, rel=1e-3)
    assert q.log_prob(q.loc).item() == pytest.approx(mode, abs=2e-3)
    x = q.sample((20_000,))
    ratio = (q.log_prob(x) - p.log_prob(x)).double()
    assert abs(float(ratio.mean()) - kl) < 4 * standard_error(ratio) + 2e-3


@pytest.mark.parametrize("cls", [VonMisesFisherPosterior, PowerSphericalPosterior])
def test_the_concentration_is_limited_smoothly(cls):
    space = vaezoo.Space((3,))
    wiring = {"data": vaezoo.DataSpec((6,)), "train_size": 1, "in_shape": (1,), "space": space}
    part = cls(vaezoo.PosteriorWiring(**wiring))
    with torch.no_grad():
        part.linear.weight.zero_()[-1] = 1.0
        part.linear.bias.fill_(1.0)[-1] = 0.0
    scale = torch.tensor([[-50.0], [0.0], [1e5], [1e7], [1e12]], requires_grad=True)
    q = part(scale)
    below = F.softplus(scale[:3, 0]) + 1
    assert torch.equal(q.concentration[:3], below)
    assert bool((q.concentration[3:] > 2e5).all()) and bool((q.concentration < 1e6).all())
    (gradient,) = torch.autograd.grad(q.concentration.log().sum(), scale)
    assert bool((gradient[1:] > 0).all())


@pytest.mark.parametrize("dims", [2, 4, 11])
def test_the_density_of_von_mises_fisher_is_that_of_scipy(dims):
    q, _ = distribution(VonMisesFisher, 7.0, dims)
    x = F.normalize(torch.randn(50, dims), dim=-1)
    expected = scipy.stats.vonmises_fisher(F.normalize(q.loc.double(), dim=-1).numpy(), 7.0)
    known = torch.from_numpy(expected.logpdf(F.normalize(x.double(), dim=-1).numpy()))
    torch.testing.assert_close(q.log_prob(x).double(), known, atol=1e-3, rtol=1e-4)


def test_samples_of_von_mises_fisher_and_their_gradient_have_the_known_means():
    kappa = torch.tensor(5.0, requires_grad=True)
    q, _ = distribution(VonMisesFisher, kappa)
    cosine = q.rsample((40_000,)) @ q.loc
    expected = 1 / math.tanh(5) - 1 / 5
    assert abs(float(cosine.detach().mean()) - expected) < 4 * standard_error(cosine.detach())
    (gradient,) = torch.autograd.grad(cosine.mean(), kappa)
    assert float(gradient) == pytest.approx(1 / 25 - 1 / math.sinh(5) ** 2, rel=0.03)


@pytest.mark.parametrize("dims", [2, 3, 7])
@pytest.mark.parametrize("kappa", [0.5, 8.0])
def test_the_density_of_the_power_spherical_integrates_to_one(dims, kappa):
    """Over the angle to the mean direction, whose cap has the area of a sphere below."""
    q, _ = distribution(PowerSpherical, kappa, dims)
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    log_density = kappa * (0.5 * (1 + angle.cos()).clamp_min(1e-12)).log() - float(q.log_norm)
    ring = math.exp(log_area(dims - 1)) * angle.sin() ** (dims - 2)
    assert float(torch.trapezoid(log_density.exp() * ring, angle)) == pytest.approx(1, abs=1e-4)
    north = q.loc * math.cos(0.7) + math.sin(0.7) * orthogonal(q.loc)
    expected = kappa * math.log(0.5 * (1 + math.cos(0.7))) - float(q.log_norm)
    assert float(q.log_prob(north)) == pytest.approx(expected, abs=1e-5)


def orthogonal(direction):
    other = F.one_hot(torch.tensor(len(direction) - 1), len(direction)).float()
    return F.normalize(other - (other @ direction) * direction, dim=-1)


def test_samples_of_the_power_spherical_and_their_gradient_have_the_known_means():
    kappa, dims = torch.tensor(5.0, requires_grad=True), 4
    q, _ = distribution(PowerSpherical, kappa, dims)
    cosine = q.rsample((40_000,)) @ q.loc
    expected = 5 / (5 + dims - 1)  # (alpha - beta) / (alpha + beta)
    assert abs(float(cosine.detach().mean()) - expected) < 4 * standard_error(cosine.detach())
    (gradient,) = torch.autograd.grad(cosine.mean(), kappa)
    assert float(gradient) == pytest.approx((dims - 1) / (5 + dims - 1) ** 2, rel=0.05)


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("dims", [2, 5])
def test_samples_lie_on_the_sphere_around_their_direction_and_have_the_stated_rate(cls, dims):
    q, p = distribution(cls, 6.0, dims)
    x = q.rsample((20_000,))
    torch.testing.assert_close(x.norm(dim=-1), torch.ones(20_000), atol=1e-5, rtol=0)
    across = x - (x @ q.loc)[:, None] * q.loc  # which has no preferred direction
    assert bool((across.mean(0).abs() < 5 * across.std(0) / math.sqrt(20_000) + 1e-6).all())
    ratio = q.log_prob(x) - p.log_prob(x)
    assert abs(float(ratio.mean() - kl_divergence(q, p))) < 4 * standard_error(ratio)


@pytest.mark.parametrize("cls", BOTH)
def test_colder_samples_are_nearer_to_the_mean_direction(cls):
    q, _ = distribution(cls, 4.0, 5)
    cosines = [float((q.tempered(t).rsample((4000,)) @ q.loc).mean()) for t in (0.2, 1.0)]
    assert cosines[0] > cosines[1] + 0.2


def test_the_uniform_distribution_has_the_area_of_the_sphere_and_no_direction():
    _, p = distribution(VonMisesFisher, 1.0, 3)
    x = p.sample((20_000,))
    torch.testing.assert_close(p.log_prob(x[:3]), torch.full((3,), -math.log(4 * math.pi)))
    assert bool((x.mean(0).abs() < 5 / math.sqrt(3 * 20_000)).all())


def spec(posterior, **model):
    return {
        "spec": "vaezoo/v2",
        "name": "sphere",
        "data": {"type": "digits", "binarize": "dynamic", "batch_size": 32},
        "model": {
            "latent_dim": 4,
            "encoder": {"type": "mlp", "hidden": [16]},
            "decoder": {"type": "mlp", "hidden": [16]},
            "posterior": posterior,
            "prior": "uniform-sphere",
            "likelihood": "bernoulli",
            **model,
        },
        "train": {"steps": 5, "device": "cpu"},
    }


@pytest.mark.parametrize("posterior", ["von-mises-fisher", "power-spherical"])
def test_models_keep_the_contracts(posterior):
    check_spec(spec(posterior))
    check_spec(spec(posterior, condition={"type": "label"}))
    blocks = spec(posterior)
    check_spec({**blocks, "objective": {"type": "iwae", "samples": 3}, "regularizers": []})


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"prior": "standard-normal"}, "support 'sphere'"),
        ({"latent_dim": 1}, "at least 2 numbers"),
    ],
    ids=range(2),
)
def test_what_does_not_go_together_is_said(model, says):
    with pytest.raises(vaezoo.SpecError, match=says):
        check_spec(spec("power-spherical", **model))


def test_the_example_composes():
    check_spec(EXAMPLES / "sphere-digits.yaml")
