"""What is hidden is drawn given the rest, with a linear-Gaussian model as the oracle."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import LinearGaussian
from vaezoo.utils.errors import UsageError


@pytest.fixture
def masked_model():
    linear = LinearGaussian(data_dim=4, spoil=0.1)
    data = replace(linear.model.data, mask_dims=1)
    linear.model.data = linear.model.likelihood.data = data
    linear.model.likelihood.event_dims = 0
    with torch.no_grad():  # it takes hidden values for 0; wide enough to be a proposal
        linear.model.latents.posterior.log_scale.add_(1.0)
    return linear


def given(linear, x, shown):
    """Mean and covariance of the hidden values given those that are shown."""
    covariance, mean = linear.marginal.covariance_matrix, linear.marginal.loc
    hidden = ~shown
    gain = covariance[hidden][:, shown] @ torch.linalg.inv(covariance[shown][:, shown])
    return (
        mean[hidden] + gain @ (x[shown] - mean[shown]),
        covariance[hidden][:, hidden] - gain @ covariance[shown][:, hidden],
    )


@pytest.mark.parametrize("from_prior", [False, True])
def test_draws_have_the_distribution_given_what_is_shown(masked_model, from_prior):
    x = masked_model.data(2, seed=4)
    mask = torch.tensor([[True, False, True, False], [False, True, False, False]])
    result = masked_model.model.impute(
        torch.where(mask, x, torch.nan),
        mask,
        draws=4000,
        samples=20_000,
        from_prior=from_prior,
        seed=1,
    )
    assert result.x.shape == (4000, 2, 4)
    assert (result.effective_sample_size > 300).all()
    for row in range(2):
        shown = mask[row]
        drawn = result.x[:, row]
        assert (drawn[:, shown] == x[row, shown]).all()
        mean, covariance = given(masked_model, x[row], shown)
        scale = covariance.diagonal().sqrt()
        torch.testing.assert_close(
            drawn[:, ~shown].mean(0), mean, rtol=0, atol=0.1 * float(scale.max())
        )
        torch.testing.assert_close(
            drawn[:, ~shown].T.cov().reshape(covariance.shape), covariance, rtol=0.15, atol=0.1
        )


def test_draws_are_repeatable_and_faults_are_named(masked_model, exact):
    x, mask = masked_model.data(3), torch.rand(3, 4) > 0.5
    first, again = (masked_model.model.impute(x, mask, draws=2, seed=5).x for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(UsageError, match="draws and samples must be at least 1, not 0 and 100"):
        masked_model.model.impute(x, mask, draws=0)
    with pytest.raises(UsageError, match="has no mask, so nothing can be hidden"):
        exact.model.impute(exact.data(2))
