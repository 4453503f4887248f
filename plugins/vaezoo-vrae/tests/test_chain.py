"""The chain reduces to its special cases, and generates with the same code as in training."""

from __future__ import annotations

import pytest
import torch

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.testing import check_spec

CHAIN = {"type": "chain", "units": 8, "hidden": 8}


@pytest.mark.parametrize(
    "latents",
    [
        CHAIN,
        CHAIN | {"levels": 2},
        CHAIN | {"levels": 3, "clocks": [4, 2, 1], "sequence_dim": 3},
        CHAIN | {"levels": 2, "skip": True, "dropout": 0.2},
        {"type": "recurrent", "units": 8},
        {"type": "recurrent", "units": 8, "cell": "lstm", "layers": 2, "word_dropout": 0.5},
        {"type": "recurrent", "units": 8, "cell": "rnn", "teacher_forcing": False},
    ],
    ids=lambda latents: "-".join(map(str, latents.values())),
)
@pytest.mark.parametrize("objective", ["reconstruction", "iwae"])
def test_compositions_keep_every_contract(spec, latents, objective):
    chosen = spec(latents=latents, encoder={"type": "recurrent", "hidden": [8], "units": 8})
    chosen["objective"] = {"type": "iwae", "samples": 3} if objective == "iwae" else objective
    check_spec(chosen)


def test_one_level_and_one_step_is_the_plain_vae(spec, composed):
    task, batch = composed(spec(encoder={"type": "recurrent", "hidden": [8], "cell": "none"}))
    one = vaezoo.Batch(batch.x[:, :1], None, batch.mask[:, :1])
    level, model = task.model.latents.levels[0], task.model
    with torch.no_grad():
        level.p_out.weight.zero_()
        level.p_out.bias.zero_()
    task.eval()
    torch.manual_seed(5)
    trace = model(one)
    features = model.encoder.net(one.x[:, 0])
    mean, log_variance = level.q_out.linear(torch.relu(level.q_data(features))).chunk(2, -1)
    torch.manual_seed(5)
    z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    logits = model.decoder.out(model.decoder.net(torch.cat([torch.zeros(8, 8), z], -1)))
    likelihood = torch.distributions.Bernoulli(logits=logits).log_prob(one.x[:, 0]).sum(-1)
    kl = torch.distributions.kl_divergence(
        DiagonalNormal(mean, 0.5 * log_variance), UnitNormal(torch.zeros(4))
    )
    torch.testing.assert_close(trace.log_likelihood[0], likelihood, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(trace.rate[0], kl, rtol=1e-5, atol=1e-5)


def test_upper_levels_of_no_width_leave_the_vrnn(spec, composed):
    torch.manual_seed(0)
    plain, batch = composed(spec())
    torch.manual_seed(0)
    chain, _ = composed(spec(latents=CHAIN | {"levels": 3, "widths": [0, 0, 4]}))
    for task in (plain, chain):
        task.eval()
    torch.manual_seed(1)
    expected, _ = plain(batch)
    torch.manual_seed(1)
    inputs, _ = chain(batch)
    assert torch.equal(expected, inputs)


def test_upper_levels_reach_the_prior_of_the_lower_ones(spec, composed):
    task, batch = composed(spec(latents=CHAIN | {"levels": 2}))
    trace = task.model(batch)
    upper = task.model.latents.levels[0].q_out.linear.weight
    (gradient,) = torch.autograd.grad(
        trace.sites[1].p.mean[:, :, 0].sum(), upper
    )  # at the first step only z connects
    assert bool((gradient[:4].abs().sum(1) > 0).all())


def test_scales_of_both_distributions_of_a_level_have_limits_in_new_specs(spec, composed):
    for version in ("vaezoo/v1", "vaezoo/v2"):
        task, batch = composed(spec() | {"spec": version})
        level = task.model.latents.levels[0]
        with torch.no_grad():  # log-scales that ran away: of q upwards, of p downwards
            level.q_out.linear.bias[4:] = 40.0
            level.p_out.bias[4:] = -20.0
            (site,) = task.model(batch).sites
        if version == "vaezoo/v1":
            assert site.q.log_scale.min() > 15 and site.p.log_scale.max() < -15
        else:
            assert site.q.log_scale.min() > 2.9 and site.q.log_scale.max() <= 3
            assert site.p.log_scale.min() >= -5 and site.p.log_scale.max() < -4.9
            assert site.kl.max() < 1e10  # it was 1e30


def test_a_slow_level_ticks_and_holds(spec, composed):
    task, batch = composed(spec(latents=CHAIN | {"levels": 2, "clocks": [3, 1]}))
    slow, fast = task.model(batch).sites
    steps = batch.x.shape[1]
    assert slow.z.shape[2] == -(-steps // 3) and fast.z.shape[2] == steps
    assert torch.equal(slow.mask, batch.mask[:, ::3])
    code = task.model.infer(task.model.start_inference(batch)).code
    held = code[..., 16:20]  # two states of 8 units, then the slow z
    assert torch.equal(held[:, :, 0], held[:, :, 2]) and not torch.equal(
        held[:, :, 2], held[:, :, 3]
    )


@pytest.mark.parametrize(
    "latents",
    [
        CHAIN | {"levels": 2, "clocks": [3, 1], "skip": True, "sequence_dim": 3},
        {"type": "recurrent", "units": 8, "layers": 2},
        {"type": "recurrent", "units": 8, "cell": "lstm"},
        {"type": "recurrent", "units": 8, "teacher_forcing": False},
    ],
    ids=["chain", "gru", "lstm", "not-forced"],
)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_generating_what_training_heard_gives_what_training_computed(
    spec, composed, pin_latents, latents, prefix
):
    """With data as its draws, generation must give the codes of one pass over the sequence."""
    task, batch = composed(spec(latents=latents))
    model = task.model.eval()
    x = batch.x[batch.mask.all(1)]
    pin_latents(model.latents)
    expected = model.infer(model.start_inference(vaezoo.Batch(x))).code
    fed = iter(range(prefix, x.shape[1]))

    def draw(code):
        t = next(fed)  # latents without teacher forcing do not call this
        return model.features(vaezoo.Batch(x[:, t : t + 1]), None)

    inferred_prefix = None if not prefix else model.start_inference(vaezoo.Batch(x[:, :prefix]))
    generation = vaezoo.Generation(
        model, len(x), steps=x.shape[1] - prefix, prefix=inferred_prefix, next_features=draw
    )
    codes = model.latents.generate(generation)
    torch.testing.assert_close(codes, expected[0, :, prefix:], rtol=1e-5, atol=1e-5)


def test_words_are_dropped_in_training_alone(spec, composed):
    task, batch = composed(spec(latents={"type": "recurrent", "units": 8, "word_dropout": 0.9}))
    latents, top = task.model.latents, torch.zeros(1, 8, 4)
    features = task.model.features(batch, None)[0]
    first = latents.train().codes(features, top)
    second = latents.eval().codes(features, top)
    latents.word_dropout = 0.0
    assert torch.equal(second, latents.codes(features, top)) and not torch.equal(first, second)
