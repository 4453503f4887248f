"""Temperatures, most probable values, paths and maps of distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    kl_divergence,
)

from vaezoo.distributions import (
    BinaryLogits,
    CategoricalLevels,
    DiagonalNormal,
    Implicit,
    NormalMixture,
    OneHot,
    UnitNormal,
    density_of,
    draw,
    mode,
    sample_prior,
    slerp,
    tempered,
)

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [0.0, 0.5, -0.5]])
MEAN, LOG_SCALE = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.1, -0.3, 0.4]])
DISCRETE = {
    "one-hot": (OneHot(LOGITS), torch.eye(3)),
    "torch's one-hot": (OneHotCategorical(logits=LOGITS), torch.eye(3)),
    "levels": (CategoricalLevels(LOGITS), torch.tensor([0.0, 0.5, 1.0])),
    "categories": (Categorical(logits=LOGITS), torch.arange(3)),
    "binary": (BinaryLogits(LOGITS), torch.tensor([0.0, 1.0])),
}
NORMAL = {
    "diagonal": DiagonalNormal(MEAN, LOG_SCALE),
    "unit": UnitNormal(torch.zeros(3)),
    "torch": Independent(Normal(MEAN, LOG_SCALE.exp()), 1),
    "full": MultivariateNormal(MEAN, scale_tril=torch.eye(3) + torch.ones(3, 3).tril()),
    "map": DiagonalNormal(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.2), 3),
}


@pytest.mark.parametrize("temperature", [0.5, 3.0])
@pytest.mark.parametrize("name", DISCRETE)
def test_a_temperature_divides_log_probabilities(name, temperature):
    distribution, values = DISCRETE[name]
    batch_shape, event_shape = distribution.batch_shape, distribution.event_shape
    values = values.reshape(len(values), *(1,) * len(batch_shape), *event_shape)
    values = values.expand(len(values), *batch_shape, *event_shape)
    expected = (distribution.log_prob(values) / temperature).log_softmax(0)
    torch.testing.assert_close(tempered(distribution, temperature).log_prob(values), expected)


@pytest.mark.parametrize("name", NORMAL)
def test_a_temperature_multiplies_the_variance_of_normals(name):
    normal = NORMAL[name]
    at_temperature = tempered(normal, 0.25)
    torch.testing.assert_close(at_temperature.variance, 0.25 * normal.variance)
    torch.testing.assert_close(at_temperature.mean, normal.mean)


def test_a_temperature_changes_weights_and_components_of_a_mixture():
    ours = NormalMixture(LOGITS[0], torch.randn(3, 2), torch.zeros(3, 2))
    components = Independent(Normal(ours.loc, ours.log_scale.exp()), 1)
    torchs = MixtureSameFamily(Categorical(logits=LOGITS[0]), components)
    z = torch.randn(7, 2)
    torch.testing.assert_close(tempered(ours, 0.3).log_prob(z), tempered(torchs, 0.3).log_prob(z))
    torch.testing.assert_close(mode(ours), ours.loc[2])
    torch.testing.assert_close(mode(torchs), ours.loc[2])


@pytest.mark.parametrize("name", [*DISCRETE, *NORMAL])
def test_nothing_drawn_is_more_probable_than_the_mode(name):
    distribution = DISCRETE[name][0] if name in DISCRETE else NORMAL[name]
    log_p = distribution.log_prob(distribution.sample((200,)))
    assert bool((distribution.log_prob(mode(distribution)) >= log_p - 1e-6).all())


class Own(Distribution):
    """A distribution of a plugin: a method, or a registration, gives it a temperature."""

    arg_constraints = {}

    def __init__(self, scale):
        self.scale = scale
        super().__init__(torch.Size(), torch.Size((2,)), validate_args=False)

    def sample(self, sample_shape=torch.Size()):
        return self.scale * torch.ones(*sample_shape, 2)


class WithMethod(Own):
    def tempered(self, temperature):
        return WithMethod(self.scale * temperature)


class Registered(Own):
    pass


def test_distributions_of_plugins_get_a_temperature_by_a_method_or_a_registration():
    tempered.register(Registered)(lambda own, temperature: Registered(own.scale * temperature))
    for cls in (WithMethod, Registered):
        assert torch.equal(draw(cls(3.0), 0.5), torch.full((2,), 1.5))
        assert torch.equal(sample_prior(cls(3.0), 4, 0.5), torch.full((4, 2), 1.5))
    with pytest.raises(NotImplementedError, match="a temperature is not defined for Own"):
        draw(Own(3.0), 0.5)
    with pytest.raises(NotImplementedError, match="most probable value is not defined for Own"):
        draw(Own(3.0), 0)


@pytest.mark.parametrize("temperature", [0, 0.5, 1])
def test_a_prior_gives_one_sample_for_each_of_n(temperature):
    for prior in (
        UnitNormal(torch.zeros(3)),
        DiagonalNormal(MEAN.expand(5, 3), MEAN.expand(5, 3)),
    ):
        assert sample_prior(prior, 5, temperature).shape == (5, 3)


def test_draws_of_a_normal_at_a_temperature_have_its_variance():
    samples = sample_prior(UnitNormal(torch.zeros(2)), 40_000, 0.25)
    torch.testing.assert_close(samples.var(0), torch.full((2,), 0.25), rtol=0.05, atol=0)


def test_the_great_circle_has_a_constant_speed_and_stays_on_the_sphere():
    ends = torch.nn.functional.normalize(torch.randn(2, 6, 4), dim=-1)
    share = torch.linspace(0, 1, 9)[:, None, None]
    path = slerp(ends[0], ends[1], share)
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(9, 6))
    torch.testing.assert_close(path[[0, -1]], ends)
    steps = torch.acos((path[1:] * path[:-1]).sum(-1).clamp(-1, 1))
    total = torch.acos((ends[0] * ends[1]).sum(-1))
    torch.testing.assert_close(steps, (total / 8).expand(8, 6), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_path_between_equal_or_opposite_points_is_finite(sign):
    point = torch.tensor([0.6, 0.8])
    path = slerp(point, sign * point, torch.linspace(0, 1, 4)[:, None])
    assert bool(path.isfinite().all())
    torch.testing.assert_close(path[0], point)


def test_a_normal_over_maps_is_torchs():
    mean, log_scale = torch.randn(5, 2, 3, 3), 0.3 * torch.randn(5, 2, 3, 3)
    ours = DiagonalNormal(mean, log_scale, 3)
    torchs = Independent(Normal(mean, log_scale.exp()), 3)
    value = torch.randn(4, 5, 2, 3, 3)
    torch.testing.assert_close(ours.log_prob(value), torchs.log_prob(value))
    torch.testing.assert_close(ours.entropy(), torchs.entropy())
    assert ours.rsample((7,)).shape == (7, 5, 2, 3, 3)
    unit = UnitNormal(torch.zeros(2, 3, 3))
    prior = Independent(Normal(torch.zeros(2, 3, 3), torch.ones(2, 3, 3)), 3)
    expected = kl_divergence(torchs, prior.expand((5,)))
    for other in (unit, prior, DiagonalNormal(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), 3)):
        torch.testing.assert_close(kl_divergence(ours, other).expand(5), expected)
    assert ours.expand((4, 5)).batch_shape == (4, 5)
    with pytest.raises(ValueError, match="at least one dimension"):
        DiagonalNormal(mean, log_scale, 0)


def test_densities_are_exact_unless_stated():
    assert density_of(Laplace(0.0, 1.0)) == "exact"
    assert density_of(Implicit(torch.zeros(2, 3))) == "none"
    maps = Implicit(torch.zeros(5, 2, 3, 3), None, 3)
    assert maps.batch_shape == (5,) and maps.event_shape == (2, 3, 3)
    assert math.prod(maps.rsample((4,)).shape) == 4 * 5 * 18
