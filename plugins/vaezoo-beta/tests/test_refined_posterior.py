"""Penalties on the posterior refuse a z that is not a sample of q, as after a flow."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vaezoo_beta.dip import Dip
from vaezoo_beta.factor import Factor
from vaezoo_beta.kl import BetaKL, FreeBits
from vaezoo_beta.total_correlation import BetaTC

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal

from .conftest import given_trace, task_wiring


@pytest.fixture
def trace():
    q = DiagonalNormal(torch.randn(5, 3), torch.zeros(5, 3))
    z = q.rsample((2,))
    site = vaezoo.Site("z", z, q, UnitNormal(torch.zeros(3)))
    refined = replace(site, log_q=site.q.log_prob(z))
    return given_trace(vaezoo.Batch(torch.zeros(5, 1)), refined)


@pytest.mark.parametrize("cls", [BetaTC, Dip, FreeBits])
def test_what_uses_the_parameters_of_q_is_refused(cls, trace):
    with pytest.raises(ValueError, match="DiagonalNormal, refined in the pass"):
        cls(task_wiring(3, 100))(trace)


@pytest.mark.parametrize("cls", [BetaKL, Factor])
def test_what_uses_z_and_log_q_alone_takes_it(cls, trace):
    assert cls(task_wiring(3, 100))(trace).shape == (5,)
