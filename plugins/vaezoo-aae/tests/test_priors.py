"""Shaped priors: densities that integrate to 1, samples that follow them, labels that choose a
part."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal
from vaezoo_aae.priors import Ring, SwissRoll

from vaezoo.distributions import DiagonalNormal
from vaezoo.model.trace import Site
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError

from .conftest import prior_wiring, spec

PRIORS = {
    "ring": (Ring, {}),
    "wheel": (Ring, {"components": 3, "radius": 1.0, "radial": 0.15, "tangential": 0.6}),
    "one": (Ring, {"components": 1}),
    "roll": (SwissRoll, {}),
    "short roll": (SwissRoll, {"turns": 0.75, "radius": 2.0, "noise": 0.2}),
}
any_prior = pytest.mark.parametrize("name", PRIORS)


def build(name, latent_dim=2, context_dim=0):
    cls, options = PRIORS[name]
    return cls(prior_wiring(latent_dim, context_dim), **options)


def plane(size=4.5, step=0.04):
    """The middles of a grid's cells ``[n, 2]``, and the area of each."""
    line = torch.arange(-size, size, step) + step / 2
    return torch.cartesian_prod(line, line), step**2


@any_prior
def test_densities_integrate_to_one(name):
    points, area = plane()
    assert (build(name)(None, None).log_prob(points).exp().sum() * area).item() == pytest.approx(
        1, abs=1e-4
    )


@any_prior
def test_samples_follow_the_density(name):
    """Squares of side 0.4 hold as many of 40,000 samples as the density says, by Pearson's
    test."""
    p, n, side = build(name)(None, None), 40_000, 22
    points, area = plane(size=4.4)

    def table(at, weights):
        index = ((at + 4.4) / 0.4).floor().long()
        inside = ((index >= 0) & (index < side)).all(-1)
        flat = (index[:, 0] * side + index[:, 1])[inside]
        return torch.zeros(side * side).index_add_(0, flat, weights[inside])

    expected = n * area * table(points, p.log_prob(points).exp())
    result = table(p.sample((n,)), torch.ones(n))
    enough = expected > 20
    assert expected[enough].sum() > 0.9 * n
    statistic = ((result - expected).square() / expected)[enough].sum().item()
    degrees = int(enough.sum())
    assert abs(statistic - degrees) < 6 * math.sqrt(2 * degrees)


def test_the_ring_is_the_mixture_it_says_it_is():
    p = Ring(prior_wiring(2), components=4, radius=2.0, radial=0.5, tangential=0.1)(None, None)
    means = torch.tensor([[2.0, 0], [0, 2], [-2, 0], [0, -2]])
    wide, high = torch.diag(torch.tensor([0.25, 0.01])), torch.diag(torch.tensor([0.01, 0.25]))
    normals = MultivariateNormal(means, torch.stack([wide, high, wide, high]))
    reference = MixtureSameFamily(Categorical(torch.ones(4)), normals)
    z = p.sample((500,))
    assert torch.allclose(p.log_prob(z), reference.log_prob(z), atol=1e-4)
    assert p.log_prob(torch.randn(7, 3, 2)).shape == (7, 3)


@any_prior
def test_further_dimensions_are_standard_normal(name):
    flat, deep = build(name)(None, None), build(name, latent_dim=5)(None, None)
    z = deep.sample((20_000,))
    assert z.shape == (20_000, 5) and deep.mean.shape == (5,)
    rest = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 2:]).sum(-1)
    assert torch.allclose(deep.log_prob(z), flat.log_prob(z[:, :2]) + rest, atol=1e-4)
    assert torch.allclose(z[:, 2:].T.cov(), torch.eye(3), atol=0.05)
    assert torch.allclose(z.mean(0), deep.mean, atol=0.06)


@any_prior
@pytest.mark.parametrize("dimensions", [2, 4])
def test_labels_choose_a_part(name, dimensions):
    classes = 1 if name == "one" else 3 if name == "wheel" else 10
    prior, complete = build(name, dimensions, classes), build(name, dimensions)(None, None)
    p = prior(torch.eye(classes), None)
    assert (p.batch_shape, p.event_shape) == ((classes,), (dimensions,))
    z = p.sample((500,))  # [500, classes, D]
    assert z.shape == (500, classes, dimensions)
    for label in range(classes):
        alone = prior(torch.eye(classes)[label : label + 1], None)
        assert torch.allclose(p.log_prob(z)[:, label], alone.log_prob(z[:, label]), atol=1e-5)
    mixed = torch.logsumexp(p.log_prob(z[:, :1]), -1) - math.log(
        classes
    )  # all labels together are the whole
    assert torch.allclose(mixed, complete.log_prob(z[:, 0]), atol=0.1)
    own = p.log_prob(z[:, None, :, :].transpose(1, 2)).argmax(
        -1
    )  # [500, classes]: whose density is highest
    assert (own == torch.arange(classes)).double().mean() > 0.6  # noisy stretches overlap


def test_a_label_chooses_its_normal_of_the_ring():
    p = Ring(prior_wiring(2, 10))(torch.eye(10)[[7, 0]], None)
    angle = torch.tensor([0.7, 0.0]) * 2 * math.pi
    assert torch.allclose(p.mean, 2 * torch.stack([angle.cos(), angle.sin()], -1), atol=1e-5)
    assert torch.allclose(p.sample((4000,)).mean(0), p.mean, atol=0.05)


def test_the_roll_winds_outwards_by_label():
    roll = SwissRoll(prior_wiring(2, 10), turns=2.0, radius=3.0, noise=0.05)
    p = roll(torch.eye(10), None)
    radius = p.sample((2000,)).norm(dim=-1).mean(0)
    assert bool((radius.diff() > 0).all()) and radius[-1] > 2.8
    complete = SwissRoll(prior_wiring(2), turns=2.0, radius=3.0, noise=0.01)(None, None)
    z = complete.sample((20_000,))
    share = z.norm(dim=-1) / 3
    off = z - 3 * share[:, None] * torch.stack(
        [(4 * math.pi * share).cos(), (4 * math.pi * share).sin()], -1
    )
    assert off.norm(dim=-1).median() < 0.15, "samples lie on the spiral r = 3 φ / 4π"


@any_prior
def test_without_a_label_the_whole_is_left(name):
    classes = 1 if name == "one" else 3
    prior, complete = (
        build(name, 2, classes if name in ("one", "wheel") else 10),
        build(name)(None, None),
    )
    width = classes if name in ("one", "wheel") else 10
    context = torch.zeros(2, width)
    context[0, 0] = 1
    p, z = prior(context, None), complete.sample((300,))
    assert torch.allclose(p.log_prob(z[:, None])[:, 1], complete.log_prob(z), atol=0.02)
    if width > 1:
        assert not torch.allclose(p.log_prob(z[:, None])[:, 0], complete.log_prob(z), atol=0.02)


@any_prior
def test_gradients_of_the_density_are_finite_where_it_is_all_but_zero(name):
    z = torch.tensor([[0.0, 0.0], [5.0, 5.0], [-50.0, 30.0]], requires_grad=True)
    build(name)(None, None).log_prob(z).sum().backward()
    assert bool(z.grad.isfinite().all()) and bool((z.grad[2] != 0).any())


@any_prior
def test_their_rate_is_estimated_at_the_samples(name):
    q = DiagonalNormal(torch.zeros(4, 2), torch.zeros(4, 2))
    p, z = build(name)(None, None), torch.randn(3, 4, 2)
    site = Site("z", z, q, p)
    assert torch.allclose(site.kl, q.log_prob(z) - p.log_prob(z))
    assert site.prior_sample().shape == z.shape


@pytest.mark.parametrize(
    ("prior", "condition", "latent_dim", "reason"),
    [
        ("ring", None, 1, "needs a latent_dim of at least 2, not 1"),
        ("swiss-roll", None, 1, "needs a latent_dim of at least 2, not 1"),
        (
            {"type": "ring", "components": 8},
            "one-hot-label",
            2,
            "one-hot context of 8 classes, not of 10 numbers",
        ),
        ("ring", "embedding", 2, "one-hot context of 10 classes, not of 3 numbers"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(prior, condition, latent_dim, reason):
    model = {"prior": prior, "latent_dim": latent_dim}
    if condition:
        model["condition"] = {"type": condition, "into": ["prior"]}
    with pytest.raises(SpecError, match=rf"model\.prior: prior .*{reason}"):
        prepare_training(load_spec(spec(**model)), torch.device("cpu"))


@pytest.mark.parametrize("prior", ["ring", "swiss-roll"])
@pytest.mark.parametrize(
    "condition", [None, {"type": "one-hot-label", "into": ["prior", "decoder"]}]
)
def test_contracts_hold(prior, condition):
    model = {"condition": condition} if condition else {}
    check_spec(
        spec(
            prior=prior,
            posterior="diagonal-normal",
            regularizers=["kl"],
            train={"select": "bound"},
            **model,
        )
    )
