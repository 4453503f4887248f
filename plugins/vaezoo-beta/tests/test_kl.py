"""The rate, the capacity and free bits, against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, StudentT
from vaezoo_beta.kl import BetaKL, CapacityKL, FreeBits, kl_by_dimension, marginals

import vaezoo
from vaezoo.distributions import DiagonalNormal, NormalMixture, UnitNormal
from vaezoo.testing import check_spec

from .conftest import given_trace, task_wiring

D = 4
WIRING = task_wiring(D)
ENCODERS = ["mlp", {"type": "conv", "channels": [8, 8], "norm": "batch"}]


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


def spec(regularizer, encoder="mlp", **model):
    return {
        "spec": "vaezoo/v1",
        "name": "kl",
        "data": {"type": "digits", "batch_size": 32},
        "model": {
            "latent_dim": D,
            "encoder": encoder,
            "decoder": "mlp",
            "likelihood": "bernoulli",
            **model,
        },
        "regularizers": [regularizer],
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-4}},
    }


def built(regularizer):
    """A regularizer as a spec names it, its schedules with it."""
    return vaezoo.load_spec(spec(regularizer)).regularizers[0].build(WIRING)


def parameters(examples=6, seed=0, shape=()):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(examples, *shape, D, generator=generator) * torch.tensor(
        [2.0, 1.0, 0.3, 0.02]
    )
    log_scale = 0.1 * torch.randn(examples, *shape, D, generator=generator) - torch.tensor(
        [2.0, 1.0, 0.1, 0.0]
    )
    return mean.requires_grad_(), log_scale.requires_grad_()


def trace_of(mean, log_scale, p=None, k=1, mask=None, q=None, name="z"):
    q = q or DiagonalNormal(mean, log_scale)
    z, p = q.rsample(torch.Size((k,))), p or UnitNormal(torch.zeros(D))
    site = vaezoo.Site(name, z, q, p, mask=mask)
    return given_trace(vaezoo.Batch(torch.zeros(len(mean), 1)), site)


def closed_form(mean, log_scale):
    """KL(N(m, s²) || N(0, 1)) of each dimension, written out once more."""
    return 0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale


REGULARIZERS = [
    "beta-kl",
    {"type": "capacity-kl", "capacity": 3.0},
    {"type": "capacity-kl", "capacity": {"type": "linear", "end": 25.0, "steps": 100}},
    "free-bits",
    {"type": "free-bits", "groups": "site", "nats": 2.0},
    {"type": "free-bits", "groups": 2},
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=["mlp", "conv"])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=str)
def test_each_keeps_the_contract(regularizer, encoder):
    check_spec(spec(regularizer, encoder))


def test_beta_kl_is_the_rate_of_each_example():
    mean, log_scale = parameters()
    trace = trace_of(mean, log_scale, k=3)
    torch.testing.assert_close(BetaKL(WIRING)(trace), closed_form(mean, log_scale).sum(-1))
    assert BetaKL(WIRING).current_weight == 4.0


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_gradient_of_the_capacity_term_turns_round_at_the_capacity(share):
    mean, log_scale = parameters()
    rate = closed_form(mean, log_scale).sum(-1).mean()
    capacity = share * float(rate.detach())
    penalty = CapacityKL(WIRING, capacity=capacity)
    assert penalty.current_weight == 1000.0
    value = penalty(trace_of(mean, log_scale))
    torch.testing.assert_close(value, torch.full((6,), abs(float(rate.detach()) - capacity)))
    sign = 1 if share < 1 else -1  # above the capacity the rate is pressed down, below it up
    inputs = torch.autograd.grad(value.mean(), (mean, log_scale))
    expected = torch.autograd.grad(rate, (mean, log_scale))
    for one, other in zip(inputs, expected, strict=True):
        torch.testing.assert_close(one, sign * other)


def test_the_capacity_is_of_the_mean_rate_and_not_of_each_example():
    mean, log_scale = parameters()
    rates = closed_form(mean, log_scale).sum(-1).detach()
    assert rates.std() > 1, "equal rates show nothing"
    penalty = CapacityKL(WIRING, capacity=float(rates.mean()))
    assert penalty(trace_of(mean, log_scale)).abs().max() < 1e-5


def test_the_capacity_follows_its_schedule_and_only_its_value_is_stored():
    growing = {"type": "linear", "end": 25.0, "steps": 100}
    penalty, loaded = (built({"type": "capacity-kl", "capacity": growing}) for _ in range(2))
    mean, log_scale = (torch.zeros(3, D), torch.zeros(3, D))
    for step, level in ((0, 0.0), (50, 12.5), (10**6, 25.0)):
        penalty.capacity.set_step(step)
        assert penalty.current_weight == 1000.0
        assert penalty(trace_of(mean, log_scale)).tolist() == [level] * 3
    assert penalty.state_dict().keys() == {"capacity.value"}
    loaded.load_state_dict(penalty.state_dict())
    assert loaded(trace_of(mean, log_scale)).tolist() == [25.0] * 3
    loaded.capacity.set_step(50)
    assert loaded(trace_of(mean, log_scale)).tolist() == [12.5] * 3, "the step decides"
    assert not CapacityKL(WIRING, capacity=3.0).state_dict()


def test_a_batch_is_held_at_the_capacity_of_its_step(tmp_path, monkeypatch):
    gaps, penalise = [], CapacityKL.forward

    def penalise_and_note(penalty, trace):
        value = penalise(penalty, trace)
        if penalty.training:
            assert (value == value[0]).all()
            gaps.append((float(trace.mean_rate.detach().mean()), float(value[0].detach())))
        return value

    monkeypatch.setattr(CapacityKL, "forward", penalise_and_note)
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
    capacity = {"type": "linear", "end": 8.0, "steps": 8}
    content = spec({"type": "capacity-kl", "capacity": capacity})
    vaezoo.run({**content, "train": {"steps": 5, "device": "cpu"}, "evaluate": []}, out=tmp_path)
    expected = [abs(rate - step) for step, (rate, _) in enumerate(gaps)]
    assert [gap for _, gap in gaps] == pytest.approx(expected, abs=1e-4) and len(gaps) == 5


def test_free_bits_of_dimensions_have_the_closed_form():
    mean, log_scale = parameters()
    kl = closed_form(mean, log_scale).mean(0).detach()
    assert (kl > 0.25).any() and (kl < 0.25).any()
    value = FreeBits(WIRING, nats=0.25)(trace_of(mean, log_scale, k=2))
    expected = sum(max(0.25, x) for x in kl.tolist())
    torch.testing.assert_close(value, torch.full((6,), expected))


@pytest.mark.parametrize(
    ("groups", "blocks"), [(1, [4]), (2, [2, 2]), (3, [2, 1, 1]), (4, [1] * 4), ("site", [4])]
)
def test_free_bits_of_blocks_and_sites_have_the_closed_form(groups, blocks):
    mean, log_scale = parameters()
    kl = closed_form(mean, log_scale).mean(0).detach()
    value = FreeBits(WIRING, nats=1.5, groups=groups)(trace_of(mean, log_scale))
    expected = sum(max(1.5, float(block.sum())) for block in kl.split(blocks))
    torch.testing.assert_close(value, torch.full((6,), expected))


def test_free_bits_pull_at_nothing_that_is_below_them_and_at_all_the_rest():
    mean, log_scale = parameters()
    kl = closed_form(mean, log_scale).mean(0)
    above = kl > 0.25
    value = FreeBits(WIRING, nats=0.25)(trace_of(mean, log_scale))
    for parameter in (mean, log_scale):
        (inputs,) = torch.autograd.grad(value.mean(), parameter, retain_graph=True)
        (complete,) = torch.autograd.grad(kl.sum(), parameter, retain_graph=True)
        assert inputs[:, ~above].abs().max() == 0
        assert complete[:, ~above].abs().max() > 0
        torch.testing.assert_close(inputs[:, above], complete[:, above])


def test_the_mean_over_the_batch_is_held_and_not_each_example():
    """One example far below λ beside others above it is pressed down with them (Kingma et al.
    2016, eq. 15)."""
    mean = torch.tensor([[0.0] * D, [3.0] * D], requires_grad=True)
    value = FreeBits(WIRING, nats=1.0)(trace_of(mean, torch.zeros(2, D)))
    torch.testing.assert_close(value, torch.full((2,), D * 0.5 * 9 / 2))


@pytest.mark.parametrize("groups", ["dimension", "site", 2])
def test_without_free_nats_it_is_the_rate(groups):
    mean, log_scale = parameters()
    trace = trace_of(mean, log_scale, k=2)
    value = FreeBits(WIRING, nats=0.0, groups=groups)(trace)
    torch.testing.assert_close(value, trace.mean_rate.mean().expand(6))


@pytest.mark.parametrize("groups", ["dimension", "site", 2])
def test_hidden_steps_cost_nothing_and_get_no_gradient(groups):
    mean, log_scale = parameters(shape=(3,))
    mask = torch.tensor([[True, True, False], [True, False, False]] * 3)
    value = FreeBits(WIRING, nats=0.0, groups=groups)(trace_of(mean, log_scale, mask=mask))
    expected = (closed_form(mean, log_scale).sum(-1) * mask).sum(1).mean()
    torch.testing.assert_close(value, expected.expand(6))
    (gradient,) = torch.autograd.grad(value.mean(), mean)
    assert gradient[~mask].abs().max() == 0 and gradient[mask].abs().min() > 0


def test_steps_of_one_dimension_are_one_group():
    mean, log_scale = parameters(shape=(3,))
    mask = torch.ones(6, 3, dtype=torch.bool)
    kl = closed_form(mean, log_scale).sum(1).mean(0)
    value = FreeBits(WIRING, nats=1.0)(trace_of(mean, log_scale, mask=mask))
    torch.testing.assert_close(value[0], kl.clamp(min=1.0).sum())
    assert (kl < 1.0).any() and (kl > 1.0).any()


def test_several_sites_are_groups_of_their_own():
    mean, log_scale = parameters()
    one = trace_of(mean, log_scale, name="one")
    other = trace_of(0.01 * mean.detach(), torch.zeros(6, D), name="other")
    trace = given_trace(one.batch, *one.sites, *other.sites)
    value = FreeBits(WIRING, nats=2.0, groups="site")(trace)
    torch.testing.assert_close(value, (one.mean_rate.mean() + 2.0).expand(6))


def test_torchs_own_normals_have_the_same_kl_by_dimension():
    mean, log_scale = parameters()
    q = Independent(Normal(mean, log_scale.exp()), 1)
    p = Independent(Normal(torch.zeros(6, D), torch.ones(6, D)), 1)
    trace = trace_of(mean, log_scale, k=3, q=q, p=p)
    expected = closed_form(mean, log_scale).expand(3, 6, D)
    torch.testing.assert_close(kl_by_dimension(trace.sites[0]), expected)


def test_without_a_closed_form_samples_stand_in():
    mean, log_scale = parameters()
    p = Independent(StudentT(torch.full((D,), 5.0)), 1)
    (site,) = trace_of(mean, log_scale, k=3, p=p).sites
    torch.testing.assert_close(kl_by_dimension(site).sum(-1), site.log_ratio)


def test_a_prior_whose_dimensions_depend_on_one_another_is_refused_with_a_way_out():
    mean, log_scale = parameters()
    p = NormalMixture(torch.zeros(2), torch.randn(2, D), torch.zeros(2, D))
    trace = trace_of(mean, log_scale, p=p)
    with pytest.raises(
        ValueError, match="the prior NormalMixture is not diagonal: use groups: site"
    ):
        FreeBits(WIRING)(trace)
    assert marginals(p) is None
    value = FreeBits(WIRING, nats=0.0, groups="site")(trace)
    torch.testing.assert_close(value, trace.mean_rate.mean().expand(6))


def test_more_blocks_than_dimensions_are_refused_in_the_spec():
    with pytest.raises(
        vaezoo.SpecError,
        match=r"regularizers\.0: .*5 blocks cannot be made of 4 latent dimensions",
    ):
        check_spec(spec({"type": "free-bits", "groups": 5}))


@pytest.mark.parametrize("groups", [0, "half", 1.5])
def test_other_groups_are_no_option(groups):
    with pytest.raises(vaezoo.SpecError, match=r"groups"):
        vaezoo.load_spec(spec({"type": "free-bits", "groups": groups}))


def test_what_contains_the_rate_says_so():
    iwae = {**spec("beta-kl"), "objective": "iwae"}
    for name in ("beta-kl", {"type": "capacity-kl", "capacity": 1.0}, "free-bits", "beta-tc"):
        with pytest.raises(vaezoo.SpecError, match="already includes the rate"):
            vaezoo.load_spec({**iwae, "regularizers": [name]})
    for name in ("dip", "factor"):
        vaezoo.load_spec({**iwae, "regularizers": [name]})
