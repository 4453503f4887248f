"""DIP-VAE against numpy's covariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import LowRankMultivariateNormal
from vaezoo_beta.dip import Dip, batch_covariance

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.testing import check_spec

from .conftest import given_trace, task_wiring

D = 3
WIRING = task_wiring(D)
ENCODERS = ["mlp", {"type": "conv", "channels": [8, 8], "norm": "batch"}]


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


def spec(regularizer, encoder):
    return {
        "spec": "vaezoo/v1",
        "name": "dip",
        "data": {"type": "digits", "batch_size": 32},
        "model": {
            "latent_dim": D,
            "encoder": encoder,
            "decoder": "mlp",
            "likelihood": "bernoulli",
        },
        "regularizers": ["kl", regularizer],
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-4}},
    }


def parameters(examples=7):
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(D, D, generator=generator)
    mean = torch.randn(examples, D, generator=generator) @ mixing
    return mean.requires_grad_(), 0.3 * torch.randn(examples, D, generator=generator) - 0.5


def trace_of(mean, log_scale, q=None):
    q = q or DiagonalNormal(mean, log_scale)
    site = vaezoo.Site("z", q.rsample(torch.Size((2,))), q, UnitNormal(torch.zeros(D)))
    return given_trace(vaezoo.Batch(torch.zeros(len(mean), 1)), site)


def expected(covariance, od, d):
    off = covariance - np.diag(np.diag(covariance))
    return od * (off**2).sum() + d * ((np.diag(covariance) - 1) ** 2).sum()


@pytest.mark.parametrize("encoder", ENCODERS, ids=["mlp", "conv"])
@pytest.mark.parametrize("kind", ["i", "ii"])
def test_it_keeps_the_contract(kind, encoder):
    check_spec(spec({"type": "dip", "kind": kind}, encoder))


def test_the_covariance_is_numpys():
    mean, _ = parameters()
    np.testing.assert_allclose(
        batch_covariance(mean).detach(), np.cov(mean.detach().numpy().T), rtol=1e-5
    )


@pytest.mark.parametrize(("od", "d"), [(10.0, None), (2.0, 5.0), (3.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("kind", ["i", "ii"])
def test_the_penalty_is_the_papers(kind, od, d):
    mean, log_scale = parameters()
    covariance = np.cov(mean.detach().numpy().T)
    if kind == "ii":
        covariance = covariance + np.diag(np.exp(2 * log_scale.numpy()).mean(0))
    value = Dip(WIRING, kind=kind, lambda_od=od, lambda_d=d)(trace_of(mean, log_scale))
    weight = d if d is not None else od * {"i": 10, "ii": 1}[kind]
    np.testing.assert_allclose(
        value.detach(), np.full(7, expected(covariance, od, weight)), rtol=1e-4
    )


def test_it_is_centred_over_the_batch_and_not_over_dimensions():
    mean, log_scale = parameters()
    shift = torch.tensor([5.0, -3.0, 40.0])
    first, second = (Dip(WIRING)(trace_of(m, log_scale)) for m in (mean, mean + shift))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_white_means_cost_nothing():
    mean = torch.linalg.qr(torch.randn(9, 4) - 0.1).Q  # orthonormal columns
    mean = torch.linalg.qr(mean - mean.mean(0)).Q[:, :D]
    mean = (mean - mean.mean(0)) * 8**0.5
    assert Dip(WIRING)(trace_of(mean, torch.zeros(9, D))).max() < 1e-8


def test_kind_ii_is_the_covariance_of_z():
    mean, log_scale = parameters()
    z = DiagonalNormal(mean.detach(), log_scale).sample(torch.Size((100_000,)))  # [K, B, D]
    covariance = Dip(WIRING, kind="ii").covariance(trace_of(mean, log_scale).sites[0])
    within = np.mean([np.cov(z[:, b].numpy().T) for b in range(7)], 0)
    between = np.cov(mean.detach().numpy().T)
    np.testing.assert_allclose(covariance.detach(), np.diag(np.diag(within)) + between, atol=0.02)
    assert np.abs(within - np.diag(np.diag(within))).max() < 0.02, (
        "given x the dimensions are independent"
    )


def test_gradients_draw_the_covariance_to_the_identity():
    mean, log_scale = parameters(32)
    penalty = Dip(WIRING, lambda_od=1.0)
    optimizer = torch.optim.Adam([mean], 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        penalty(trace_of(mean, log_scale)).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(np.cov(mean.detach().numpy().T), np.eye(D), atol=0.01)


def test_a_batch_of_one_gives_a_number():
    mean, log_scale = parameters()
    for kind in ("i", "ii"):
        assert Dip(WIRING, kind=kind)(trace_of(mean[:1], log_scale[:1])).isfinite().all()


def test_kind_ii_refuses_a_posterior_that_is_not_diagonal():
    mean, log_scale = parameters()
    q = LowRankMultivariateNormal(mean, torch.ones(7, D, 1), torch.ones(7, D))
    assert Dip(WIRING)(trace_of(mean, log_scale, q)).shape == (7,)
    with pytest.raises(
        ValueError, match=r"needs a diagonal posterior \(diagonal-normal\); LowRank"
    ):
        Dip(WIRING, kind="ii")(trace_of(mean, log_scale, q))
