"""Weights that tune themselves, on channels whose rate and distortion are known and on real
digits."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.distributions import Independent, Normal
from vaezoo_beta.kl import BetaKL, CapacityKL, FreeBits
from vaezoo_beta.total_correlation import BetaTC
from vaezoo_beta.tuning import Geco, Logistic, PIControl, squared_error

import vaezoo
from vaezoo.distributions import DiagonalNormal, Joint, UnitNormal
from vaezoo.testing import check_spec
from vaezoo.utils.process_group import ProcessGroup

from .conftest import given_trace, step_result, task_wiring

VARIANCES = torch.tensor([4.0, 1.5])
SIGMA = 0.5
EXAMPLES = Path(__file__).parents[1] / "examples"
WIRING = task_wiring(2, train_size=1000)


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


class Channel(nn.Module):
    """A linear VAE for independent normals x: z_d = a_d x_d + s_d noise, p(x|z) = N(w z, SIGMA²).

    Its rate and distortion at the optimum are those of reverse water-filling: where -dR/dD_d = λ
    for each dimension's
    squared error D_d, D_d = 1/(2λ) and R = 1/2 Σ log(variance_d / D_d), as long as D_d is below
    each variance.
    """

    def __init__(self):
        super().__init__()
        self.gain, self.log_scale = (
            nn.Parameter(torch.full((2,), 0.5)),
            nn.Parameter(torch.full((2,), -0.5)),
        )
        self.weight = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, x, k=1):
        q = DiagonalNormal(self.gain * x, self.log_scale.expand_as(x))
        z = q.rsample(torch.Size((k,)))
        px = Independent(
            Normal(self.weight * z, SIGMA, validate_args=False), 1, validate_args=False
        )
        site = vaezoo.Site("z", z, q, UnitNormal(torch.zeros(2)))
        return given_trace(vaezoo.Batch(x), site, px=px)


def train(loss, part, steps=700, average=250):
    """Trains a channel as the trainer does; mean rate, distortion, squared error and weight of its
    last steps."""
    channel, rows = Channel(), []
    optimizer = torch.optim.Adam(channel.parameters(), 0.02, betas=(0.9, 0.99), foreach=False)
    for step in range(steps):
        if isinstance(part, PIControl):
            part.set_step(step)
        trace = channel(torch.randn(256, 2) * VARIANCES.sqrt())
        optimizer.zero_grad()
        loss(trace).mean().backward()
        optimizer.step()
        with torch.no_grad():
            terms = {"rate": trace.mean_rate.mean(), "distortion": trace.mean_distortion.mean()}
            weight = part.multiplier if isinstance(part, Geco) else part.value
            rows.append(torch.stack([*terms.values(), squared_error(trace).mean(), weight]))
            part.after_step(step_result(step, **terms))
    return torch.stack(rows[-average:]).mean(0).tolist()


# -------------------------------------------------------------------------------------------------
# ---------- GECO


@pytest.mark.parametrize("error", [0.6, 0.3])
def test_geco_drives_the_squared_error_to_its_target(error):
    objective = Geco(WIRING, constraint="squared-error", target=error, rate=0.02, decay=0.9)
    rate, _, result, multiplier = train(objective, objective)
    assert result == pytest.approx(error, rel=0.02)
    each = error / 2
    assert multiplier == pytest.approx(1 / (2 * each), rel=0.05)
    assert rate == pytest.approx(float(0.5 * (VARIANCES / each).log().sum()), rel=0.03)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_geco_drives_the_distortion_to_its_target_at_the_least_rate(beta):
    each = beta * SIGMA**2
    target = 2 * (each / (2 * SIGMA**2) + 0.5 * math.log(2 * math.pi * SIGMA**2))
    objective = Geco(WIRING, target=target, rate=0.01, decay=0.9, start=0.3)
    rate, distortion, _, multiplier = train(objective, objective)
    assert distortion == pytest.approx(target, rel=0.02)
    assert multiplier == pytest.approx(1 / beta, rel=0.05)
    assert rate == pytest.approx(float(0.5 * (VARIANCES / each).log().sum()), rel=0.03)


def test_geco_follows_the_papers_recursion():
    objective = Geco(
        WIRING, target=10.0, rate=0.05, decay=0.4, start=2.0, minimum=1.5, maximum=2.5
    )
    average, multiplier, observed = None, 2.0, []
    for distortion in (12.0, 11.0, 10.5, 15.0, 9.0, 0.0, 0.0, 0.0, 3.0, 30.0, 30.0, 40.0):
        constraint = distortion - 10
        average = constraint if average is None else 0.4 * average + 0.6 * constraint
        multiplier = min(max(multiplier * math.exp(0.05 * average), 1.5), 2.5)
        objective.after_step(step_result(distortion=distortion))
        weights = objective.weights()
        assert float(weights["lambda"]) == pytest.approx(multiplier, rel=1e-5)
        assert float(weights["constraint"]) == pytest.approx(average, abs=1e-5)
        observed.append(multiplier)
    assert min(observed) == 1.5 and max(observed) == 2.5, "both limits were reached"


def test_gecos_loss_has_the_value_of_the_average_and_the_gradient_of_the_constraint():
    channel, x = Channel(), torch.randn(8, 2)
    objective = Geco(WIRING, target=1.0, start=3.0)
    objective.average.fill_(0.25)
    trace = channel(x)
    loss = objective(trace)
    torch.testing.assert_close(loss, trace.mean_rate + 3 * 0.25)
    inputs = torch.autograd.grad(loss.sum(), list(channel.parameters()), retain_graph=True)
    expected = torch.autograd.grad(
        (trace.mean_rate + 3 * trace.mean_distortion).sum(), list(channel.parameters())
    )
    for one, other in zip(inputs, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gecos_bound_is_the_elbo_whatever_its_multiplier():
    trace = Channel()(torch.randn(8, 2))
    bound = Geco(WIRING, target=1.0, start=50.0).bound(trace)
    torch.testing.assert_close(bound, -(trace.mean_distortion + trace.mean_rate))


def test_squared_error_is_of_means_averaged_over_samples_and_blind_to_what_is_hidden():
    x, mean = torch.randn(5, 3, 2), torch.randn(4, 5, 3, 2)  # [B, T, D], [K, B, T, D]
    mask = torch.rand(5, 3) > 0.4
    x[~mask] = torch.nan
    q = DiagonalNormal(torch.zeros(5, 2), torch.zeros(5, 2))
    site = vaezoo.Site("z", q.rsample((4,)), q, UnitNormal(torch.zeros(2)))
    px = Independent(Normal(mean, 1.0), 1)
    trace = given_trace(vaezoo.Batch(x, mask=mask), site, px=px)
    expected = torch.stack(
        [((mean[k] - x) ** 2).sum(-1).nan_to_num().sum(-1) for k in range(4)]
    ).mean(0)
    torch.testing.assert_close(squared_error(trace), expected)


class SampledMean(Independent):
    """A normal whose mean is estimated without gradients."""

    @property
    def mean(self):
        return super().mean.detach()


@pytest.mark.parametrize("parts", [False, True], ids=["one", "parts"])
def test_a_squared_error_that_could_not_train_the_decoder_is_refused(parts):
    gain, x = nn.Parameter(torch.ones(2)), torch.randn(5, 2)
    q = DiagonalNormal(torch.zeros(5, 2), torch.zeros(5, 2))
    site = vaezoo.Site("z", q.rsample((1,)), q, UnitNormal(torch.zeros(2)))
    objective = Geco(WIRING, constraint="squared-error", target=0.1)

    def loss(kind, gain=gain):
        px = kind(Normal(gain * site.z, 1.0), 1)
        if parts:
            px = Joint({"a": Independent(Normal(gain * site.z, 1.0), 1), "b": px})
            trace = given_trace(vaezoo.Batch({"a": x, "b": x}), site, px=px)
            trace.__dict__["mean_distortion"] = px.parts["b"].log_prob(x)
        return objective(trace if parts else given_trace(vaezoo.Batch(x), site, px=px))

    says = "likelihood of part 'b'" if parts else "no gradient with this likelihood"
    with pytest.raises(ValueError, match=says):
        loss(SampledMean)
    assert loss(Independent).requires_grad
    with torch.no_grad():
        validation = loss(SampledMean)
    frozen = loss(SampledMean, gain.detach())
    torch.testing.assert_close(frozen, validation)


def test_a_batch_in_parts_moves_lambda_like_the_whole():
    channel, x = Channel(), torch.randn(7, 2)
    complete, parts = (Geco(WIRING, constraint="squared-error", target=0.1) for _ in range(2))
    torch.manual_seed(1)
    trace = channel(x)
    complete(trace)
    for part in (slice(0, 4), slice(4, 7)):
        z = trace.sites[0]
        q = DiagonalNormal(z.q.mean[part], z.q.log_scale[part])
        px = Independent(Normal(trace.px.mean[:, part], SIGMA), 1)
        site = vaezoo.Site("z", z.z[:, part], q, z.p)
        parts(given_trace(vaezoo.Batch(x[part]), site, px=px))
    for objective in (complete, parts):
        objective.after_step(step_result())
    torch.testing.assert_close(complete.average, parts.average)
    assert not complete.squared_errors.any(), "the next step begins anew"


def test_processes_agree_on_lambda(monkeypatch):
    """Each of two processes saw its own share of the batch; they must not end with two losses."""
    both = [Geco(WIRING, constraint="squared-error", target=0.1) for _ in range(2)]
    observed = [torch.tensor([6.0, 4.0]), torch.tensor([1.0, 3.0])]
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda tensor: tensor.copy_(observed[0] + observed[1])
    )
    for rank, (objective, own) in enumerate(zip(both, observed, strict=True)):
        objective.squared_errors.copy_(own)
        objective.after_step(step_result(processes=ProcessGroup(rank, 2)))
        torch.testing.assert_close(objective.average, torch.tensor(7 / 7 - 0.1))
        assert not objective.squared_errors.any(), "the next step begins anew"
    assert torch.equal(both[0].multiplier, both[1].multiplier)


@pytest.mark.parametrize(
    ("training", "gradients"), [(False, True), (True, False)], ids=["validation", "other phases"]
)
def test_passes_that_do_not_train_geco_leave_no_trace_in_it(training, gradients):
    objective = Geco(WIRING, constraint="squared-error", target=0.1).train(training)
    with torch.set_grad_enabled(gradients):
        objective(Channel()(torch.randn(8, 2)))
    assert not objective.squared_errors.any()


def test_geco_counts_the_rate_and_takes_no_kl_beside_it():
    for regularizer in ("kl", "beta-kl", "beta-tc", "free-bits"):
        with pytest.raises(vaezoo.SpecError, match="objective 'geco' already includes the rate"):
            vaezoo.load_spec({**spec(**constrained(target=1.0)), "regularizers": [regularizer]})


def test_geco_refuses_a_start_beyond_its_limits():
    with pytest.raises(
        ValueError, match=r"start: 5.0 does not lie between minimum 0.1 and maximum 2.0"
    ):
        Geco(WIRING, target=1.0, start=5.0, minimum=0.1, maximum=2.0)


# -------------------------------------------------------------------------------------------------
# ---- PI control


@pytest.mark.parametrize("target", [1.0, 2.0])
def test_pi_control_drives_the_rate_to_its_target(target):
    control = PIControl(target=target, integral=0.04, maximum=20.0)
    penalty = BetaKL(WIRING, weight=control)

    def loss(trace):
        return trace.mean_distortion + penalty.current_weight * penalty(trace)

    rate, _, _, beta = train(loss, control)
    assert rate == pytest.approx(target, rel=0.02)
    each = math.exp(
        (float(VARIANCES.log().sum()) - 2 * target) / 2
    )  # D_d of reverse water-filling at this rate
    assert beta == pytest.approx(each / SIGMA**2, rel=0.05)


def test_pi_control_follows_the_papers_recursion_with_directed_anti_windup():
    generator = torch.Generator().manual_seed(0)
    rates = (
        12 + 9 * torch.randn(3000, generator=generator) + 6 * torch.sin(torch.arange(3000) / 200)
    )
    control = PIControl(target=12.0, proportional=0.05, integral=0.004, minimum=0.5, maximum=0.9)
    integral, unclipped, values = 0.0, 0.5, []
    for rate in rates.tolist():
        error = 12.0 - rate
        change = -0.004 * error
        if not ((unclipped < 0.5 and change < 0) or (unclipped > 0.9 and change > 0)):
            integral += change
        unclipped = 0.5 + 0.05 / (1 + math.exp(error)) + integral
        values.append(min(max(unclipped, 0.5), 0.9))
        control.after_step(step_result(rate=rate))
        assert float(control(0)) == pytest.approx(values[-1], abs=2e-4)
    assert values.count(0.5) > 50 and values.count(0.9) > 50, "both limits were at work"


@pytest.mark.parametrize(
    ("far", "near", "limit"), [(40.0, 5.0, 1.0), (0.0, 20.0, 0.1)], ids=["above", "below"]
)
def test_the_integral_does_not_wind_up_on_either_side(far, near, limit):
    """After 5,000 steps at a limit, beta leaves it as soon as the error turns."""
    control = PIControl(target=10.0, integral=0.001, minimum=0.1, maximum=1.0)
    for _ in range(5000):
        control.after_step(step_result(rate=far))
    assert float(control(0)) == pytest.approx(limit)
    for _ in range(12):
        control.after_step(step_result(rate=near))
    assert abs(float(control(0)) - limit) > 0.01


def test_the_integral_is_not_locked_below_the_minimum():
    """Frozen both ways, as published, one step at rate 0 would hold beta at its minimum for
    good."""
    control = PIControl(target=18.0, minimum=1.0)
    control.after_step(step_result(rate=0.0))
    assert float(control.unclipped) < 1.0 and float(control(0)) == 1.0
    for _ in range(10):
        control.after_step(step_result(rate=30.0))
    assert float(control(0)) > 1.05


def test_a_rate_far_off_its_target_overflows_nothing():
    control = PIControl(target=18.0)
    for rate in (0.0, 1e6, 0.0):
        control.after_step(step_result(rate=rate))
        assert math.isfinite(float(control(0)))


def test_the_target_climbs_its_stairs():
    control = PIControl(target_start=0.5, target_step=0.15, target_every=5000, target_end=18.0)
    targets = {
        0: 0.5,
        4999: 0.5,
        5000: 0.65,
        10_000: 0.8,
        580_000: 17.9,
        585_000: 18.0,
        10**9: 18.0,
    }
    for step, target in targets.items():
        control(step)
        assert control.current_target == pytest.approx(target)
    control(5000)
    control.after_step(step_result(rate=0.65))
    torch.testing.assert_close(
        control.unclipped, torch.tensor(0.005)
    )  # no error: P = Kp / 2 and I = 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target": 1.0, "target_end": 2.0},
        {"target_start": 1.0, "target_end": 2.0, "target_step": 0.1},
    ],
    ids=str,
)
def test_pi_control_wants_one_target_or_all_stairs(options):
    with pytest.raises(ValueError, match="give target, or all of target_start"):
        PIControl(**options)
    weight = {"type": "pi-control", **options}
    with pytest.raises(
        vaezoo.SpecError, match=r"regularizers\.0\.weight: .*give target, or all of target_start"
    ):
        check_spec(spec(regularizers=[{"type": "beta-kl", "weight": weight}]))


def test_pi_control_refuses_limits_that_are_none():
    with pytest.raises(ValueError, match=r"minimum: 1.0 is not below maximum: 1.0"):
        PIControl(target=1.0, minimum=1.0, maximum=1.0)


def test_pi_control_says_what_it_misses():
    with pytest.raises(vaezoo.VaezooError, match="needs the rate"):
        PIControl(target=1.0).after_step(step_result(distortion=1.0))


def test_a_weight_once_given_does_not_move_with_the_controller():
    """The log reads the weight after the step that it held for."""
    control = PIControl(target=1.0)
    control.set_step(0)
    control.after_step(step_result(rate=50.0))
    assert float(control.value) == 0.0
    control.set_step(1)
    assert float(control.value) > 0.0


def test_logistic_is_the_s_curve():
    curve = Logistic()
    for step in (0, 1000, 2500, 4000, 10_000):
        assert curve(step) == pytest.approx(1 / (1 + math.exp(-0.0025 * (step - 2500))))
    assert curve(10**9) == 1.0
    steep = Logistic(start=2.0, end=4.0, steepness=10.0, midpoint=1000.0)
    assert [steep(step) for step in (0, 1000, 2000)] == [2.0, 3.0, 4.0]


# -------------------------------------------------------------------------------------------------
# ----- in a run


def spec(**blocks):
    return {
        "spec": "vaezoo/v1",
        "name": "tuned",
        "data": {"type": "digits", "batch_size": 128, "binarize": "threshold"},
        "model": {
            "latent_dim": 4,
            "encoder": {"type": "mlp", "hidden": [64]},
            "decoder": {"type": "mlp", "hidden": [64]},
            "likelihood": "bernoulli",
        },
        "train": {
            "epochs": 1,
            "log_every": 5,
            "device": "cpu",
            "optimizer": {"type": "adam", "lr": 5e-3},
        },
        "evaluate": ["elbo"],
        **blocks,
    }


def controlled(**options):
    return {"regularizers": [{"type": "beta-kl", "weight": {"type": "pi-control", **options}}]}


def constrained(**options):
    return {"regularizers": [], "objective": {"type": "geco", **options}}


TUNED = [
    controlled(target=4.0, integral=0.01),
    controlled(target_start=1.0, target_step=0.5, target_every=5, target_end=4.0, integral=0.01),
    constrained(target=20.0),
    constrained(target=4.0, constraint="squared-error", rate=0.01),
    {"regularizers": [{"type": "kl", "weight": "logistic"}]},
    {
        "regularizers": [
            {
                "type": "capacity-kl",
                "weight": 5.0,
                "capacity": {"type": "logistic", "midpoint": 20.0},
            }
        ]
    },
]
NAMES = ["pi-control", "stairs", "geco", "geco-squared-error", "logistic", "capacity"]


class StopAt(vaezoo.Callback):
    """Interrupts this process when the record of a step arrives."""

    def __init__(self, step):
        self.step = step

    def log(self, record):
        if record["step"] == self.step:
            self.step = None
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)


def left_by(path):
    """All tensors of the last checkpoint, and the rest of it."""
    last = sorted((path / "checkpoint").glob("*.safetensors"))[-1]
    with safe_open(last, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["state"])


@pytest.mark.parametrize(
    "encoder", ["mlp", {"type": "conv", "channels": [8, 8]}], ids=["mlp", "conv"]
)
@pytest.mark.parametrize("blocks", TUNED, ids=NAMES)
def test_each_keeps_the_contract(blocks, encoder):
    inputs = spec(**blocks)
    inputs["model"] = {**inputs["model"], "encoder": encoder}
    check_spec(inputs)


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*-digits.yaml")), ids=lambda path: path.stem
)
def test_every_example_keeps_the_contract(path):
    check_spec(path)


@pytest.mark.parametrize("blocks", TUNED, ids=NAMES)
def test_a_resumed_run_ends_with_the_same_bits(blocks, tmp_path, no_report):
    inputs = spec(**blocks)
    inputs["train"] = {**inputs["train"], "epochs": 3}
    complete = vaezoo.run(inputs, out=tmp_path / "whole")
    with pytest.raises(vaezoo.VaezooError, match="stopped at step 15 of 30"):
        vaezoo.run(inputs, out=tmp_path / "parts", callbacks=[StopAt(15)])
    (path,) = (tmp_path / "parts").glob("tuned/*")
    resumed = vaezoo.resume(path)
    (one, first), (other, second) = left_by(complete.path), left_by(resumed.path)
    assert one.keys() == other.keys() and first == second
    assert not [name for name in one if not torch.equal(one[name], other[name])]
    weights = [
        {k: v for k, v in r.items() if k.endswith("_weight")}
        for r in complete.records
        if r["split"] == "train"
    ]
    again = [
        {k: v for k, v in r.items() if k.endswith("_weight")}
        for r in resumed.records
        if r["split"] == "train"
    ]
    assert weights == again and (weights[0] != weights[-1] or "capacity-kl_weight" in weights[0])


def test_a_controller_moves_once_a_step_however_its_batch_is_split(
    tmp_path, no_report, monkeypatch
):
    rates, betas, means = [], [], []
    penalise, adapt = BetaKL.forward, PIControl.after_step

    def penalise_and_note(penalty, trace):
        if penalty.training:
            rates.append(trace.mean_rate.detach())
            betas.append(float(penalty.current_weight))
        return penalise(penalty, trace)

    def adapt_and_note(control, result):
        means.append((result.step, float(result.terms["rate"])))
        adapt(control, result)

    monkeypatch.setattr(BetaKL, "forward", penalise_and_note)
    monkeypatch.setattr(PIControl, "after_step", adapt_and_note)
    inputs = spec(**controlled(target=0.01, integral=0.01))
    inputs["train"] = {**inputs["train"], "accumulate": 3, "log_every": 1}
    records = vaezoo.run(inputs, out=tmp_path).records
    assert [len(part) for part in rates[-3:]] == [36, 36, 34], "the parts of the last batch differ"
    steps = [torch.cat(rates[start : start + 3]) for start in range(0, 30, 3)]
    for step, (mean, values) in enumerate(zip(means, steps, strict=True)):
        assert mean == (step, pytest.approx(float(values.mean()), rel=1e-5))
    assert all(len(set(betas[start : start + 3])) == 1 for start in range(0, 30, 3))
    assert len(set(betas)) == 10
    logged = [record["beta-kl_weight"] for record in records if record["split"] == "train"]
    assert logged == betas[::3]


def test_state_is_in_a_checkpoint_and_what_lives_for_one_step_is_not():
    assert PIControl(target=1.0).state_dict().keys() == {"value", "unclipped", "accumulated"}
    assert Geco(WIRING, target=1.0).state_dict().keys() == {"multiplier", "average", "started"}


def test_pi_control_holds_the_rate_of_a_model_of_digits(tmp_path, no_report):
    inputs = spec(**controlled(target=6.0, integral=0.02))
    inputs["train"] = {**inputs["train"], "epochs": 40, "validate_every": 40}
    records = [r for r in vaezoo.run(inputs, out=tmp_path).records if r["split"] == "train"][-30:]
    assert sum(r["rate"] for r in records) / 30 == pytest.approx(6.0, rel=0.02)
    assert records[-1]["beta-kl_weight"] > 0


def test_geco_holds_the_distortion_of_a_model_of_digits(tmp_path, no_report):
    inputs = spec(**constrained(target=20.0, rate=0.005, decay=0.9, start=0.3))
    inputs["train"] = {**inputs["train"], "epochs": 50, "validate_every": 50}
    records = [r for r in vaezoo.run(inputs, out=tmp_path).records if r["split"] == "train"][-30:]
    assert sum(r["distortion"] for r in records) / 30 == pytest.approx(20.0, rel=0.02)
    assert records[-1]["lambda_weight"] > 0 and "constraint_weight" in records[-1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Geco(WIRING, target=1.0),
        lambda: Geco(WIRING, target=1.0, constraint="squared-error"),
        lambda: CapacityKL(WIRING, capacity=1.0, weight=PIControl(target=1.0)),
        lambda: CapacityKL(WIRING, capacity=Logistic()),
        lambda: FreeBits(WIRING, groups=2),
        lambda: BetaTC(WIRING),
    ],
)
def test_nothing_waits_for_the_device(make):
    """On the device ``meta`` tensors have no values: whatever asks for one raises."""
    part, channel = make().to("meta"), Channel().to("meta")
    x = torch.empty(8, 2, device="meta")
    q = DiagonalNormal(channel.gain * x, channel.log_scale.expand_as(x))
    z = q.rsample(torch.Size((1,)))
    px = Independent(
        Normal(channel.weight * z, SIGMA, validate_args=False), 1, validate_args=False
    )
    site = vaezoo.Site("z", z, q, UnitNormal(torch.zeros(2, device="meta")))
    trace = given_trace(vaezoo.Batch(x), site, px=px)
    terms = {name: torch.empty((), device="meta") for name in ("rate", "distortion", "loss")}
    schedules = [module for module in part.modules() if isinstance(module, vaezoo.Schedule)]
    for schedule in schedules:
        schedule.set_step(3)
    weight = part.current_weight if isinstance(part, vaezoo.Regularizer) else 1.0
    (weight * part(trace)).sum().backward()
    with torch.no_grad():
        for listener in (part, *schedules):
            listener.after_step(step_result(**terms))
