"""The mixture of normals that is fitted to codes, beside that of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn import mixture as sklearn_mixture

from vaezoo.components.priors import GaussianMixture
from vaezoo.data.dataspec import DataSpec
from vaezoo.distributions import density_of, draw, mode, sample_prior, tempered
from vaezoo.model.wiring import PriorWiring, Space
from vaezoo.testing import check_spec

COVARIANCES = {"full": "full", "diagonal": "diag"}


def prior(shape=(3,), **options):
    wiring = PriorWiring(data=DataSpec((4,)), train_size=100_000, space=Space(shape))
    return GaussianMixture(wiring, **options)


def codes(n, seed=0):
    """Codes ``[n, 3]`` of three correlated clusters with unequal weights."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.tensor([[3.0, 0.0, -1.0], [-3.0, 1.0, 0.0], [0.0, -4.0, 2.0]])
    scales = 0.5 * torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(7))
    cluster = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, True, generator=generator)
    noise = torch.randn(n, 3, 1, generator=generator)
    return means[cluster] + (scales[cluster] @ noise).squeeze(-1)  # [n, 3]


def fitted(covariance="full", **options):
    """A prior of three components, fitted to 2,000 codes."""
    result = prior(components=3, covariance=covariance, **options)
    result.fit(codes(2000), None)
    return result


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_before_it_is_fitted_it_is_the_standard_normal(covariance):
    p = prior(covariance=covariance)(None, None)
    z = torch.randn(5, 7, 3)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert p.batch_shape == () and p.event_shape == (3,) and density_of(p) == "exact"
    torch.testing.assert_close(p.log_prob(z), expected)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_density_is_that_of_scikit_learn(covariance):
    reference = sklearn_mixture.GaussianMixture(
        3, covariance_type=COVARIANCES[covariance], random_state=0
    ).fit(codes(2000).double().numpy())
    held_out = codes(500, seed=1)
    expected = torch.from_numpy(reference.score_samples(held_out.double().numpy())).float()
    p = fitted(covariance)(None, None)
    torch.testing.assert_close(p.log_prob(held_out), expected, atol=1e-4, rtol=1e-4)
    assert p.log_prob(held_out.reshape(5, 100, 3)).shape == (5, 100)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_density_is_accurate_where_normals_are_narrow_and_far_from_zero(covariance):
    narrow = 30 + 0.01 * codes(2000)
    own = prior(components=3, covariance=covariance)
    own.fit(narrow, None)
    reference = sklearn_mixture.GaussianMixture(
        3, covariance_type=COVARIANCES[covariance], random_state=0
    ).fit(narrow.double().numpy())
    expected = torch.from_numpy(reference.score_samples(narrow.double().numpy())).float()
    actual = own(None, None).log_prob(narrow)
    torch.testing.assert_close(actual, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_samples_have_the_mean_and_covariance_of_the_mixture(covariance):
    own = fitted(covariance)
    p, n = own(None, None), 40_000
    samples = p.sample((n,)).double()
    weights, means = own.logits.softmax(-1).double(), own.mean.double()
    if covariance == "full":
        within = own.scale_tril.double() @ own.scale_tril.double().mT  # [C, D, D]
    else:
        within = torch.diag_embed((2 * own.log_scale.double()).exp())
    mean = weights @ means
    shift = means - mean
    expected = torch.einsum("c,cij->ij", weights, within + shift[:, :, None] * shift[:, None])
    centered = samples - mean
    products = centered[:, :, None] * centered[:, None]  # [n, D, D]
    assert bool(((samples.mean(0) - mean).abs() < 5 * samples.std(0) / n**0.5).all())
    assert bool(((products.mean(0) - expected).abs() < 5 * products.std(0) / n**0.5).all())
    torch.testing.assert_close(p.mean.double(), mean)
    assert p.sample((2, 5)).shape == (2, 5, 3) and p.sample().shape == (3,)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_temperature_narrows_it_to_the_mean_of_the_most_probable_component(covariance):
    own = fitted(covariance)
    p, best = own(None, None), own.mean[own.logits.argmax()]
    assert torch.equal(mode(p), best) and torch.equal(draw(p, 0), best)
    assert torch.equal(sample_prior(p, 4, 0), best.expand(4, 3))
    for temperature in (0.5, 1):
        assert sample_prior(p, 4, temperature).shape == (4, 3)
        assert draw(p, temperature).shape == (3,)
    cold = tempered(p, 0.25)
    torch.testing.assert_close(
        cold.component_distribution.variance, 0.25 * p.component_distribution.variance
    )
    expected = (own.logits / 0.25).softmax(-1)
    torch.testing.assert_close(cold.mixture_distribution.probs, expected)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_one_seed_gives_the_same_bits_and_leaves_global_generators_alone(covariance):
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        states.append(save(fitted(covariance).state_dict()))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])
    assert states[0] == states[1]


def test_another_seed_may_give_another_mixture():
    mixtures = [prior(components=8, seed=seed) for seed in (0, 1)]
    for mixture in mixtures:
        mixture.fit(codes(500), None)
    assert not torch.equal(mixtures[0].mean, mixtures[1].mean)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_saved_and_loaded_it_is_the_same_density(covariance):
    own, z = fitted(covariance), codes(50, seed=2)
    other = prior(components=3, covariance=covariance)
    assert not torch.equal(other(None, None).log_prob(z), own(None, None).log_prob(z))
    other.load_state_dict(load(save(own.state_dict())))
    assert torch.equal(other(None, None).log_prob(z), own(None, None).log_prob(z))


def test_equal_codes_have_a_finite_density():
    own = prior(components=4)
    own.fit(torch.ones(20, 3), None)
    assert bool(own(None, None).log_prob(torch.ones(3)).isfinite())


def test_it_says_once_that_it_did_not_converge():
    own = prior(components=5, max_iterations=1)
    with pytest.warns(UserWarning, match="did not converge in 1 iterations; raise max_") as record:
        own.fit(codes(500), None)
    assert len(record) == 1 and record[0].filename == __file__


def test_codes_that_cannot_be_fitted_are_refused():
    own = prior(components=5)
    before = save(own.state_dict())
    with pytest.raises(ValueError, match="5 components need at least 5 codes, not 4"):
        own.fit(codes(4), None)
    with pytest.raises(ValueError, match="1 components need at least 2 codes, not 1"):
        prior(components=1).fit(codes(1), None)
    for value in (torch.nan, torch.inf):
        broken = codes(50)
        broken[3, 1] = value
        with pytest.raises(ValueError, match="the codes are not finite"):
            own.fit(broken, None)
    with pytest.raises(ValueError, match="a covariance is singular; raise regularization"):
        prior(components=2, regularization=0.0).fit(torch.ones(20, 3), None)
    assert save(own.state_dict()) == before


def test_maps_are_refused():
    with pytest.raises(ValueError, match=r"needs latent vectors, not maps of shape \(2, 4, 4\)"):
        prior((2, 4, 4))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_it_keeps_the_contracts_of_a_prior(covariance):
    check_spec(
        {
            "spec": "vaezoo/v1",
            "name": "t",
            "data": {"type": "digits"},
            "model": {
                "latent_dim": 2,
                "encoder": {"type": "mlp", "hidden": [8]},
                "prior": {"type": "gaussian-mixture", "covariance": covariance},
                "decoder": {"type": "mlp", "hidden": [8]},
                "likelihood": {"type": "bernoulli"},
            },
        }
    )


def test_more_components_than_training_examples_are_refused_before_training():
    wiring = PriorWiring(data=DataSpec((3,)), train_size=4, space=Space((2,)))
    with pytest.raises(ValueError, match="5 components need as many training examples, not 4"):
        GaussianMixture(wiring, components=5)
