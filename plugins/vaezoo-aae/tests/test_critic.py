"""Two players that leave each other alone, and losses that are what the papers say."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal
from vaezoo_aae.critic import Adversarial, Critic, critic_loss, generator_loss, gradient_penalty

import vaezoo
from vaezoo.distributions import Implicit
from vaezoo.evaluation.anomaly import scores
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError, UsageError

from .conftest import changed, phase_optimizers, snapshot, spec, trace, wiring

LOSSES = ("non-saturating", "least-squares", "wasserstein-gp")
CONV = {"type": "conv", "channels": [4, 8], "norm": "batch"}
MLP = {"type": "mlp", "hidden": [24], "norm": "batch"}
HEADED = {"latents": {"type": "category-and-style", "classes": 10}, "latent_dim": 3}
CONDITION = {"type": "one-hot-label", "into": ["decoder"]}


def critic(**options):
    return {"type": "adversarial", "hidden": [16, 16], **options}


def site(z, p=None):
    zero = torch.zeros(z.shape[-1])
    p = p or MultivariateNormal(zero, torch.eye(len(zero)), validate_args=False)
    return vaezoo.Site("z", z, Implicit(z[0]), p)


class Observed:
    """A model that observes one trace for ever."""

    def __init__(self, observed):
        self.observed = observed

    def infer_detached(self, batch):
        return self.observed


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("encoder", [MLP, CONV], ids=["mlp", "conv"])
def test_neither_player_moves_the_others_weights_or_buffers(loss, encoder):
    options = {"loss": loss, "dropout": 0.3, "spectral_norm": True, "weight": 3.0}
    task, result, batch = phase_optimizers(spec(regularizers=[critic(**options)], encoder=encoder))
    assert list(result) == ["model", "critic"]
    before = snapshot(task)
    result["critic"].step(batch, len(batch), measure_norm=False)
    moved = changed(before, task)
    assert moved and all(name.startswith("regularizers.adversarial.critics.") for name in moved)
    assert any(name.endswith("._u") for name in moved), (
        "the critic's own spectral norms are refreshed"
    )
    before = snapshot(task)
    result["model"].step(batch, len(batch), measure_norm=False)
    moved = changed(before, task)
    assert all(name.startswith("model.") for name in moved)
    for part in ("encoder", "latents", "decoder"):
        assert any(name.startswith(f"model.{part}.") for name in moved), part
    assert any("running_mean" in name for name in moved), "the encoder's own statistics do move"


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_one_player_do_not_pile_up_in_the_other(loss):
    task, result, batch = phase_optimizers(spec(regularizers=[critic(loss=loss)]))
    theirs = list(task.regularizers["adversarial"].parameters())
    start = snapshot(task)
    result["model"].step(batch, len(batch), measure_norm=False)
    assert all(parameter.grad is None for parameter in theirs)
    for parameter in task.model.parameters():
        parameter.grad = None
    result["critic"].step(batch, len(batch), measure_norm=False)
    assert all(parameter.grad is None for parameter in task.model.parameters())
    gradients = []
    for _ in range(2):  # from the same weights: the second gradient is not the sum of both
        task.load_state_dict(start)
        torch.manual_seed(7)
        result["critic"].step(batch, len(batch), measure_norm=False)
        gradients.append([parameter.grad.clone() for parameter in theirs])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert any(bool((gradient != 0).any()) for gradient in gradients[0])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("posterior", ["deterministic", "universal", "diagonal-normal"])
def test_the_penalty_reaches_the_encoder_and_not_the_decoder(loss, posterior):
    task, _, batch = phase_optimizers(spec(regularizers=[critic(loss=loss)], posterior=posterior))
    task.regularizers["adversarial"](task.model(batch)).sum().backward()
    trained = [*task.model.encoder.parameters(), *task.model.latents.parameters()]
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in trained)
    assert all(p.grad is None for p in task.model.decoder.parameters())


def test_critics_stand_still_outside_their_own_move():
    penalty = Adversarial(wiring(), hidden=(8,), dropout=0.5, spectral_norm=True)
    with torch.no_grad():  # away from the singular vectors it starts with
        penalty.critics[0].net[0].parametrizations.weight.original.copy_(torch.randn(8, 2))
    observed = trace(site(torch.randn(1, 32, 2)))
    for mode in (True, False, True):
        penalty.train(mode)
        before = snapshot(penalty)
        assert torch.equal(penalty(observed), penalty(observed)), "dropout is off"
        assert not changed(before, penalty)
    (phase,), model = penalty.phases(), Observed(observed)
    assert not torch.equal(
        phase.loss(model, observed.batch)[1]["fake"], phase.loss(model, observed.batch)[1]["fake"]
    ), "here it is on"
    assert changed(before, penalty)
    assert torch.equal(penalty(observed), penalty(observed))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("posterior", ["deterministic", "universal", "diagonal-normal"])
@pytest.mark.parametrize("encoder", [MLP, CONV], ids=["mlp", "conv"])
def test_contracts_hold(loss, posterior, encoder):
    check_spec(spec(regularizers=[critic(loss=loss)], posterior=posterior, encoder=encoder))


@pytest.mark.parametrize(
    "changes",
    [
        {"regularizers": [critic()], **HEADED},
        {"regularizers": [critic(site=0), critic(site=1, loss="wasserstein-gp")], **HEADED},
        {"regularizers": ["kl", critic()], "posterior": "diagonal-normal"},
        {"condition": CONDITION},
        {"condition": CONDITION | {"into": ["prior"]}, "prior": "ring"},
        {"condition": {"type": "embedding"}, "regularizers": [critic(loss="wasserstein-gp")]},
        {"regularizers": [critic(dropout=0.2, spectral_norm=True, smoothing=0.1)]},
        {"regularizers": [critic(hidden=[])]},
    ],
    ids=[
        "two sites",
        "a critic each",
        "beside kl",
        "conditional",
        "conditional ring",
        "embedded",
        "tricks",
        "linear",
    ],
)
def test_contracts_hold_in_other_company(changes):
    check_spec(spec(**changes))


def test_losses_are_those_of_the_papers():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.7, -0.4])
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    assert torch.allclose(
        critic_loss("non-saturating", real, fake), -d_real.log() - (1 - d_fake).log()
    )
    assert torch.allclose(generator_loss("non-saturating", fake), -d_fake.log())
    smooth = (
        F.binary_cross_entropy(d_real, torch.full((2,), 0.9), reduction="none")
        - (1 - d_fake).log()
    )
    assert torch.allclose(critic_loss("non-saturating", real, fake, 0.1), smooth)
    assert torch.allclose(
        critic_loss("least-squares", real, fake), ((real - 1) ** 2 + fake**2) / 2
    )
    assert torch.allclose(
        critic_loss("least-squares", real, fake, 0.1), ((real - 0.9) ** 2 + fake**2) / 2
    )
    assert torch.allclose(generator_loss("least-squares", fake), (fake - 1) ** 2 / 2)
    assert torch.allclose(critic_loss("wasserstein-gp", real, fake), fake - real)
    assert torch.allclose(generator_loss("wasserstein-gp", fake), -fake)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_players_pull_in_opposite_directions(loss):
    fake = torch.zeros(1, requires_grad=True)
    (critics,) = torch.autograd.grad(critic_loss(loss, torch.zeros(1), fake + 0.5).sum(), fake)
    (encoders,) = torch.autograd.grad(generator_loss(loss, fake + 0.5).sum(), fake)
    assert critics > 0 > encoders


@pytest.mark.parametrize(
    ("loss", "optimum"), [("non-saturating", "log-ratio"), ("least-squares", "share")]
)
def test_the_best_logit_is_known_pointwise(loss, optimum):
    p, q = torch.tensor([0.1, 0.5, 0.7]), torch.tensor([0.3, 0.5, 0.2])
    logit = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logit], line_search_fn="strong_wolfe", max_iter=100)

    def closure():
        optimizer.zero_grad()
        nothing = torch.zeros(3)
        of_real = critic_loss(loss, logit, nothing) - critic_loss(loss, nothing, nothing)
        of_fake = critic_loss(loss, nothing, logit) - critic_loss(loss, nothing, nothing)
        total = (p * of_real + q * of_fake).sum()
        total.backward()
        return total

    optimizer.step(closure)
    expected = (p / q).log() if optimum == "log-ratio" else p / (p + q)
    assert torch.allclose(logit.detach(), expected, atol=1e-3)


def test_an_optimal_critic_is_the_log_density_ratio():
    """Real N(0, I) and fake N(m, I): log p/q = ‖m‖²/2 - m·z, which a linear critic can be."""
    shift = torch.tensor([1.0, -0.5])
    penalty = Adversarial(wiring(), hidden=())
    observed = trace(site(torch.randn(1, 20_000, 2) + shift))
    (phase,), model = penalty.phases(), Observed(observed)
    optimizer = torch.optim.Adam(phase.module.parameters(), lr=0.05)
    for _ in range(200):
        loss, _ = phase.loss(model, observed.batch)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    linear = penalty.critics[0].net[0]
    assert torch.allclose(linear.weight[0], -shift, atol=0.06)
    assert linear.bias.item() == pytest.approx(shift.square().sum().item() / 2, abs=0.06)
    z = torch.randn(1, 500, 2) + shift
    assert torch.allclose(penalty(trace(site(z))), F.softplus(-(0.625 - z[0] @ shift)), atol=0.25)


def test_a_critic_cannot_tell_equal_distributions_apart():
    penalty = Adversarial(wiring(), hidden=())
    observed = trace(site(torch.randn(1, 20_000, 2)))
    (phase,), model = penalty.phases(), Observed(observed)
    optimizer = torch.optim.Adam(phase.module.parameters(), lr=0.05)
    for _ in range(100):
        loss, terms = phase.loss(model, observed.batch)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    assert loss.mean().item() == pytest.approx(2 * math.log(2), abs=0.01)
    assert {name: tuple(value.shape) for name, value in terms.items()} == {
        "real": (20_000,),
        "fake": (20_000,),
    }
    assert penalty(observed).mean().item() == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("norm", [1.0, 3.0, 0.5])
@pytest.mark.parametrize("context", [None, torch.randn(8, 4)], ids=["alone", "context"])
def test_the_gradient_penalty_is_zero_at_norm_one_alone(norm, context):
    critic_ = Critic(
        3 + (0 if context is None else 4), (), slope=0.2, dropout=0.0, spectral_norm=False
    )
    weight = torch.tensor([[2.0, -1.0, 2.0]]) / 3 * norm
    with torch.no_grad():  # what the critic makes of the context is no part of the gradient
        critic_.net[0].weight[:, :3] = weight
    result = gradient_penalty(critic_, torch.randn(2, 8, 3), torch.randn(2, 8, 3), context)
    assert result.shape == (2, 8)
    assert torch.allclose(result, torch.full((2, 8), (norm - 1) ** 2), atol=1e-5)


def test_the_gradient_is_taken_evenly_between_the_samples():
    """A critic of slope -1 below 0 and 2 above: the penalty is 0 there and 1 here."""
    critic_ = Critic(1, (2,), slope=0.0, dropout=0.0, spectral_norm=False)
    with torch.no_grad():
        critic_.net[0].weight[:, 0] = torch.tensor([2.0, -1.0])
        critic_.net[2].weight[:] = 1.0
        critic_.net[0].bias.zero_()
    one = torch.ones(1, 10_000, 1)
    assert torch.allclose(gradient_penalty(critic_, -2 * one, -one, None), torch.zeros(1, 10_000))
    assert torch.allclose(gradient_penalty(critic_, 2 * one, one, None), torch.ones(1, 10_000))
    across = gradient_penalty(critic_, -one, 3 * one, None)
    assert across.mean().item() == pytest.approx(0.75, abs=0.02)


def test_the_gradient_penalty_is_weighed_and_trains_the_critic():
    z, options = torch.randn(1, 16, 2), {"loss": "wasserstein-gp", "hidden": (8,)}
    losses = {}
    for weight in (1.0, 5.0):
        torch.manual_seed(1)
        penalty = Adversarial(wiring(), gradient_penalty=weight, **options)
        torch.manual_seed(2)
        (phase,), model = penalty.phases(), Observed(trace(site(z)))
        loss, terms = phase.loss(model, vaezoo.Batch(z[0]))
        losses[weight] = loss - (terms["fake"] - terms["real"])
    assert torch.allclose(losses[5.0], 5 * losses[1.0], atol=1e-5) and bool(
        (losses[1.0] > 0).all()
    )
    losses[5.0].sum().backward()
    assert bool((penalty.critics[0].net[0].weight.grad != 0).any())


def test_several_samples_are_averaged_and_several_sites_summed():
    penalty = Adversarial(wiring(2, 3), hidden=(8,))
    first, second = torch.randn(4, 6, 2), torch.randn(4, 6, 3)
    result = penalty(trace(site(first), site(second)))
    logits = [
        critic_(z, None) for critic_, z in zip(penalty.critics, (first, second), strict=True)
    ]
    assert result.shape == (6,)
    assert torch.allclose(result, sum(F.softplus(-logit).mean(0) for logit in logits))
    (phase,), model = penalty.phases(), Observed(trace(site(first[:1]), site(second[:1])))
    _, terms = phase.loss(model, vaezoo.Batch(first[0]))
    assert set(terms) == {"real-0", "fake-0", "real-1", "fake-1"}


def test_one_critic_for_one_site_of_two():
    first, second = site(torch.randn(1, 6, 5)), site(torch.randn(1, 6, 2))
    penalty = Adversarial(wiring(5, 2), site=1, hidden=(4,))
    assert torch.equal(
        penalty(trace(first, second)), penalty(trace(site(torch.zeros(1, 6, 7)), second))
    )
    assert penalty.phases()[0].name == "critic-1"


def test_the_critic_sees_the_context_and_does_not_train_its_maker():
    context = torch.randn(6, 2, 2, requires_grad=True)
    penalty = Adversarial(wiring(context_dim=4), hidden=(8,))
    observed = trace(site(torch.randn(3, 6, 2, requires_grad=True)), context=context)
    value = penalty(observed)
    other = penalty(trace(observed.sites[0], context=context + 1))
    assert not torch.allclose(value, other)
    expected = penalty.critics[0].net(
        torch.cat([observed.sites[0].z, context.flatten(1).expand(3, 6, 4)], -1)
    )
    assert torch.allclose(value, F.softplus(-expected.squeeze(-1)).mean(0))
    (of_context, of_z) = torch.autograd.grad(
        value.sum(), (context, observed.sites[0].z), allow_unused=True
    )
    assert of_context is None and bool((of_z != 0).any())


def test_real_samples_are_the_priors_for_each_context():
    """Where the prior sees the context, so do the real samples: the logits of a critic that is the
    identity say so."""
    means = torch.tensor([[5.0, 0], [-5, 0], [5, 0], [-5, 0]])
    prior = MultivariateNormal(means, 0.01 * torch.eye(2), validate_args=False)
    penalty = Adversarial(wiring(), hidden=())
    with torch.no_grad():
        penalty.critics[0].net[0].weight[:] = torch.tensor([[1.0, 0.0]])
        penalty.critics[0].net[0].bias.zero_()
    observed = trace(site(torch.full((1, 4, 2), 1.0), prior))
    _, terms = penalty.phases()[0].loss(Observed(observed), observed.batch)
    assert torch.allclose(terms["real"], means[:, 0], atol=1.0)
    assert torch.allclose(terms["fake"], torch.ones(4))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"weight": -1.0}, "would make the encoder help the critic"),
        ({"loss": "wasserstein-gp", "smoothing": 0.1}, "wasserstein-gp has none"),
        ({"site": 1}, "site: there is no latent variable 1"),
    ],
)
def test_nonsense_is_refused_at_its_place(options, reason):
    with pytest.raises(SpecError, match=rf"regularizers\.0.*'adversarial': .*{reason}"):
        prepare_training(load_spec(spec(regularizers=[critic(**options)])), torch.device("cpu"))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "hinge"},
        {"smoothing": 0.5},
        {"gradient_penalty": 0},
        {"site": -2},
        {"dropout": 1.0},
    ],
)
def test_options_have_bounds(options):
    with pytest.raises(SpecError, match=rf"regularizers\.0\.{next(iter(options))}"):
        load_spec(spec(regularizers=[critic(**options)]))


def test_every_latent_variable_has_a_critic_of_its_size():
    task, _, _ = phase_optimizers(spec(regularizers=[critic(), critic(site=1)], **HEADED))
    every, one = (
        [c.net[0].in_features for c in penalty.critics] for _, penalty in task.named_regularizers()
    )
    assert (every, one) == ([10, 3], [3])


def test_what_looks_unlike_the_prior_scores_higher():
    penalty = Adversarial(wiring(2, 3), hidden=(8,))
    first, second = torch.randn(4, 6, 2), torch.randn(4, 6, 3)
    logits = [
        critic_(z, None) for critic_, z in zip(penalty.critics, (first, second), strict=True)
    ]
    result = penalty.score(trace(site(first), site(second)))
    assert torch.allclose(result, -(logits[0].mean(0) + logits[1].mean(0)))


def test_noise_is_on_all_that_critics_see_while_training_and_never_on_scores():
    penalty = Adversarial(wiring(2), hidden=(8,), noise=0.5)
    z = torch.zeros(2000, 1, 2)
    observed = []
    penalty.critics[0].register_forward_pre_hook(lambda module, inputs: observed.append(inputs[0]))
    penalty.train()
    penalty(trace(site(z)))
    penalty._phase_loss(
        Observed(trace(site(z, MultivariateNormal(torch.ones(2), 1e-8 * torch.eye(2))))), None
    )
    (of_encoder, of_critic) = observed
    real, fake = of_critic.chunk(2)
    for drawn_samples, mean in ((of_encoder, 0.0), (real, 1.0), (fake, 0.0)):
        assert drawn_samples.std().item() == pytest.approx(
            0.5, abs=0.03
        ) and drawn_samples.mean().item() == pytest.approx(mean, abs=0.05)
    penalty.eval()
    penalty.score(trace(site(z)))
    assert torch.equal(observed[-1], z)


def test_a_run_that_is_opened_again_scores_with_the_critic_it_trained(tmp_path):
    done = vaezoo.run({**spec(regularizers=[critic()]), "evaluate": []}, out=tmp_path)
    file = vaezoo.open_run(done.path)
    result = [scores(r.model, r.data(), "critic", 1, critics=r.regularizers) for r in (done, file)]
    assert torch.equal(*result)
    _, _, (task,) = prepare_training(load_spec(done.directory.spec), torch.device("cpu"))
    (untrained,) = task.named_regularizers()
    assert not torch.equal(
        result[0], scores(done.model, done.data(), "critic", 1, critics=[untrained[1]])
    )
    done.directory.regularizers.unlink()
    with pytest.raises(UsageError, match=r"regularizers\.safetensors is missing"):
        _ = vaezoo.open_run(done.path).regularizers


def test_every_step_that_exists_is_judged_and_no_other():
    z, mask = (
        torch.randn(2, 4, 3, 2),
        torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1]]).bool(),
    )
    prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
    penalty = Adversarial(wiring(2))
    judged = penalty.critics[0](z.flatten(0, 2)[None], None).view(2, 4, 3)
    expected = (generator_loss("non-saturating", judged) * mask).sum(-1).mean(0)
    summed = (judged * mask).sum(-1)
    junk = torch.where(mask[..., None], z, 1e3)
    for samples in (z, junk):
        observed = trace(vaezoo.Site("z", samples, Implicit(samples[0]), prior, mask=mask))
        torch.testing.assert_close(penalty.score(observed), -summed.mean(0))
        of_sums = generator_loss("non-saturating", summed).mean(0)
        assert not torch.allclose(of_sums, expected)
        torch.testing.assert_close(penalty(observed), expected)


def test_a_critic_of_steps_sees_the_context_at_each():
    z, context = torch.randn(2, 4, 3, 2), torch.randn(4, 5)
    judge = Critic(7, (8,), slope=0.2, dropout=0.0, spectral_norm=False)
    alongside = torch.cat([z, context[None, :, None].expand(2, 4, 3, 5)], -1)
    torch.testing.assert_close(judge(z, context), judge.net(alongside).squeeze(-1))
