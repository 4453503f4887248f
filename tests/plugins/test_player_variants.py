"""Variants with several players or with a density that is fitted after training.

Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from torch import nn

import vaezoo
from tests.plugins.test_variants import CPU, call
from vaezoo.model.component import is_eager
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import SpecError
from vaezoo.utils.seeds import seed_device

RAE = {
    "model": {"posterior": "deterministic"},
    "samplers": {"gmm": {"type": "gaussian-mixture", "components": 3}},
    "train": {"select": "distortion"},
    "evaluate": ["distortion"],
}
VARIANTS = {
    "vae-gan": {
        "objective": {
            "type": "vae-gan",
            "discriminator": {"type": "conv", "channels": [4, 8]},
            "adversarial": {"type": "linear", "end": 0.3, "steps": 4, "delay": 2},
            "optimization": {"optimizer": {"type": "adam", "lr": 3e-4, "betas": [0.5, 0.999]}},
            "moves": 2,
            "every": 2,
            "start": 3,
        },
        "samplers": {"gmm": {"type": "gaussian-mixture", "components": 3}},
        "evaluate": ["elbo", "distortion"],
    },
    "rae": {**RAE, "regularizers": [{"type": "code-norm", "weight": 0.1}, "decoder-norm"]},
    "rae-gradient": {**RAE, "regularizers": ["code-norm", "decoder-gradient"]},
}


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is installed like a stranger's."""


def blocks(name, spec, objective=None, **train):
    """The spec of a variant, short; ``objective`` changes options of its objective."""
    changes = {**VARIANTS[name], "name": name}
    if objective is not None:
        changes["objective"] = {**changes["objective"], **objective}
    changes["train"] = {"epochs": None, "steps": 14, **changes.get("train", {}), **train}
    return spec(**changes)


@pytest.fixture
def composed(spec):
    """The task of a variant in training mode, with noise in its weights, and 20 examples."""

    def make(name, objective=None, **model):
        changes = blocks(name, spec, objective)
        changes["model"] = {**changes["model"], **model}
        _, train, (task,) = prepare_training(load_spec(changes), CPU)
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        task.set_step(100)
        return task.train(), train.first(20)

    return make


@pytest.mark.parametrize("name", ["vae-gan", "rae"])
def test_every_command_takes_the_variant(name, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(blocks(name, spec)))
    call("run", path, "--out", tmp_path / "runs")
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "report.html").is_file()
    for command in ("sample", "reconstruct", "interpolate"):
        call(command, run, "--out", tmp_path / f"{command}.png")
    call("sample", run, "--sampler", "gmm", "--out", tmp_path / "sampler.png")
    pictures = [(tmp_path / f"{picture}.png").read_bytes() for picture in ("sample", "sampler")]
    assert pictures[0] != pictures[1]
    call("encode", run, "-n", 5, "--out", tmp_path / "z.npz")
    call("evaluate", run)
    if name == "vae-gan":
        call("evaluate", run, "--metric", "elbo", "--sampler", "gmm")
    call("export", run, "--format", "torch-export", "--out", tmp_path / "exported")
    call("publish", run, "--name", f"{name}/digits@1", "--to", tmp_path / "lab")
    model = vaezoo.open_run(run, device="cpu").model
    loaded = vaezoo.load(f"lab:{name}/digits@1", registry=tmp_path / "lab")
    samples = [m.sample(3, seed=0, sampler=s) for m in (model, loaded) for s in (None, "gmm")]
    assert torch.equal(samples[0], samples[2]) and torch.equal(samples[1], samples[3])
    assert not torch.allclose(samples[0], samples[1], atol=0.01)


@pytest.mark.parametrize("name", VARIANTS)
def test_contracts_hold(name, spec):
    check_spec(blocks(name, spec))


@pytest.mark.parametrize(
    ("decoder", "discriminator"), [("none", "batch"), ("batch", "none"), ("batch", "batch")]
)
def test_contracts_hold_where_a_player_has_running_statistics(decoder, discriminator, spec):
    changes = blocks("vae-gan", spec)
    network = {"type": "conv", "channels": [4, 8], "norm": discriminator}
    changes["objective"] = {**changes["objective"], "discriminator": network}
    network = {"type": "mlp", "hidden": [16], "norm": decoder}
    changes["model"] = {**changes["model"], "decoder": network}
    check_spec(changes)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_conditional_version_keeps_the_contracts(name, spec):
    changes = blocks(name, spec)
    condition = {"type": "label", "into": ["encoder", "decoder"]}
    changes["model"] = {**changes["model"], "condition": condition}
    check_spec(changes)


@pytest.mark.parametrize("name", ["vae-gan", "rae"])
def test_a_resumed_run_has_the_same_bits(name, spec, resumes_exactly):
    changes = {**blocks(name, spec, log_every=3, ema=0.9), "name": "tiny"}
    assert any("samplers.gmm" in key for key in resumes_exactly(6, **changes))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_compiled_step_is_one_graph_or_declared_eager(name, composed, graphs_of):
    task, batch = composed(name)
    if is_eager(task):
        assert name == "rae-gradient"
        return
    assert 1 <= graphs_of(task, batch) <= 2


# RAE


@pytest.mark.parametrize("name", ["rae", "rae-gradient"])
def test_the_loss_of_an_rae_is_the_one_of_the_paper(name, composed):
    task, batch = composed(name)
    model = task.model
    loss, terms = task(batch)
    z = model.latents.posterior.linear(model.encoder(batch.x)[0])
    logits = model.decoder(z)
    distortion = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none")
    distortion = distortion.flatten(1).sum(1)
    code_norm = z.square().sum(1) / 2
    weights = task.weights
    if name == "rae":
        penalty = sum((weight**2).sum() for weight in model.decoder.parameters()).expand(20)
    else:
        penalty = terms["decoder-gradient"]  # its plugin tests its value
    torch.testing.assert_close(terms["distortion"], distortion)
    other = "decoder-norm" if name == "rae" else "decoder-gradient"
    expected = distortion + weights["code-norm"] * code_norm + weights[other] * penalty
    torch.testing.assert_close(loss, expected)
    assert set(terms) == {"distortion", "code-norm", other}


def test_the_density_of_the_sampler_is_that_of_scikit_learn_on_the_training_codes(spec, train):
    run = train(**blocks("rae", spec))
    model, loader = run.model, run.data("train")
    codes = torch.cat([model.encode(b.x) for b in loader.ordered(model.batch_size())])
    reference = GaussianMixture(3, random_state=0).fit(codes.double().numpy())
    with model.use_prior("gmm"):
        site = model.infer(model.start_inference(run.data("test").first(50))).sites[0]
    expected = torch.from_numpy(reference.score_samples(site.z[0].detach().double().numpy()))
    torch.testing.assert_close(site.p.log_prob(site.z)[0], expected.float(), atol=1e-3, rtol=1e-4)
    means = torch.from_numpy(reference.means_).float()
    torch.testing.assert_close(model.samplers["gmm"].mean, means, atol=1e-4, rtol=1e-4)


# VAE-GAN


CONSTANT = {"adversarial": 0.3, "every": 1, "start": 0}


def test_one_training_step_is_that_of_algorithm_1(trainer, spec):
    changes = blocks("vae-gan", spec, objective=CONSTANT, steps=1)
    player = trainer(**changes)
    task, seed = player.task, player.stage.seed
    encoder, latents, decoder = (
        deepcopy(getattr(task.model, part)) for part in ("encoder", "latents", "decoder")
    )
    discriminator = deepcopy(task.objective.discriminator)
    x = next(iter(player.loader.epoch(0))).x
    player.fit()

    def judge(x):
        features = discriminator.network(x)[-1].flatten(1)
        return features, discriminator.head(features)[:, 0]

    def play():
        """The mean, the standard deviation, x~ and x_p, with new noise."""
        mean, log_variance = latents.posterior.linear(encoder(x)[0]).chunk(2, -1)
        scale = (log_variance / 2).exp()
        z = mean + scale * torch.randn_like(mean)
        return mean, scale, z, torch.randn_like(mean)

    encoder_weights = [*encoder.parameters(), *latents.parameters()]
    decoder_weights = list(decoder.parameters())
    model_weights = [*encoder_weights, *decoder_weights]
    step_model = torch.optim.Adam(model_weights, lr=1e-3)
    critic_weights = list(discriminator.parameters())
    step_critic = torch.optim.Adam(critic_weights, lr=3e-4, betas=(0.5, 0.999))
    seed_device(CPU, seed, "step", 0, 0)
    mean, scale, z, z_p = play()
    kl = (mean**2 + scale**2 - 1).sum(1) / 2 - scale.log().sum(1)
    features, logits = judge(decoder(z).sigmoid())
    target, _ = judge(x)
    distortion = ((features - target.detach()) ** 2).sum(1) / 2
    _, logits_p = judge(decoder(z_p).sigmoid())
    adversarial = -logits.sigmoid().log() - logits_p.sigmoid().log()
    of_encoder = (kl + distortion).mean()
    of_decoder = (distortion + 0.3 * adversarial).mean()
    gradients = [
        *torch.autograd.grad(of_encoder, encoder_weights, retain_graph=True),
        *torch.autograd.grad(of_decoder, decoder_weights),
    ]
    for weight, gradient in zip(model_weights, gradients, strict=True):
        weight.grad = gradient
    step_model.step()
    for _ in range(2):  # two moves on this batch
        _, _, z, z_p = play()
        fakes = [decoder(code.detach()).sigmoid().detach() for code in (z, z_p)]
        real, fake, fake_p = (judge(data)[1].sigmoid() for data in (x, *fakes))
        loss = (-real.log() - (1 - fake).log() - (1 - fake_p).log()).mean()
        for weight, gradient in zip(
            critic_weights, torch.autograd.grad(loss, critic_weights), strict=True
        ):
            weight.grad = gradient
        step_critic.step()
    expected = {"encoder": encoder, "latents": latents, "decoder": decoder}
    for name, module in expected.items():
        trained = getattr(task.model, name).state_dict()
        for key, value in module.state_dict().items():
            torch.testing.assert_close(trained[key], value, atol=2e-6, rtol=1e-4, msg=name)
    trained = task.objective.discriminator.state_dict()
    for key, value in discriminator.state_dict().items():
        torch.testing.assert_close(trained[key], value, atol=2e-6, rtol=1e-4, msg=key)


def used_gradients(loss, module):
    gradients = torch.autograd.grad(
        loss.mean(), list(module.parameters()), retain_graph=True, allow_unused=True
    )
    return [gradient is not None and bool(gradient.any()) for gradient in gradients]


def test_each_loss_trains_its_own_players(composed):
    condition = {"type": "label", "embedding": 4, "into": ["encoder", "decoder"]}
    task, batch = composed("vae-gan", CONSTANT, prior="mixture", condition=condition)
    model, objective = task.model, task.objective
    trace = objective.trace(model, batch)
    distortion, adversarial = (
        objective.feature_distortion(trace),
        objective.adversarial_loss(trace),
    )
    assert all(used_gradients(distortion, model.encoder))
    assert all(used_gradients(distortion, model.decoder))
    assert all(used_gradients(adversarial, model.decoder))
    for part in (model.encoder, model.latents, model.conditioner):
        assert not any(used_gradients(adversarial, part)), type(part)
    loss, _ = objective.phases()[0].loss(model, batch)
    assert all(used_gradients(loss, objective.discriminator))
    assert not any(used_gradients(loss, model))


@pytest.mark.parametrize("player", [0, 1])
def test_a_move_of_one_player_leaves_the_other_in_place(player, trainer, spec):
    discriminator = {"type": "conv", "channels": [4, 8], "norm": "batch"}
    changes = blocks("vae-gan", spec, objective={**CONSTANT, "discriminator": discriminator})
    decoder = {"type": "mlp", "hidden": [16], "norm": "batch"}
    changes["model"] = {**changes["model"], "decoder": decoder}
    trained = trainer(**changes)
    task, batch = trained.task.train(), trained.loader.first(32)
    players = {"model": task.model, "discriminator": task.objective.discriminator}
    before = deepcopy({name: module.state_dict() for name, module in players.items()})
    phase_optimizer = trained.phase_optimizers[player]
    phase_optimizer.step(batch, 32, measure_norm=True)
    moved = {
        name
        for name, module in players.items()
        for key, value in module.state_dict().items()
        if not torch.equal(value, before[name][key])
    }
    assert moved == {phase_optimizer.name}
    others = [module for name, module in players.items() if name != phase_optimizer.name]
    assert all(parameter.grad is None for module in others for parameter in module.parameters())


@pytest.fixture
def moves(monkeypatch):
    """Records each move of the discriminator: training step, batch, fakes and loss."""
    from vaezoo_variants import vae_gan

    recorded, step = [], [0]
    train_step, generate, phase_loss = (
        Trainer._train_step,
        vae_gan.generate,
        vae_gan.VAEGAN._phase_loss,
    )

    def count(trainer, *args):
        step[0] = trainer.step
        return train_step(trainer, *args)

    def record(objective, model, batch):
        fakes = []
        monkeypatch.setattr(
            vae_gan, "generate", lambda trace: (fakes.append(generate(trace)), fakes[-1])[1]
        )
        loss, terms = phase_loss(objective, model, batch)
        monkeypatch.setattr(vae_gan, "generate", generate)
        recorded.append((step[0], batch.x, fakes[0], loss.detach().mean()))
        return loss, terms

    monkeypatch.setattr(Trainer, "_train_step", count)
    monkeypatch.setattr(vae_gan.VAEGAN, "_phase_loss", record)
    return recorded


def test_a_training_step_has_two_moves_on_one_batch_with_different_noise(trainer, spec, moves):
    trained = trainer(**blocks("vae-gan", spec, objective=CONSTANT, steps=2))
    batches = [batch.x for batch, _ in zip(trained.loader.epoch(0), range(2), strict=False)]
    trained.fit()
    assert [step for step, *_ in moves] == [0, 0, 1, 1]
    for step in range(2):
        (_, x, fakes, _), (_, x_again, fakes_again, _) = moves[2 * step : 2 * step + 2]
        assert torch.equal(x, batches[step]) and torch.equal(x_again, batches[step])
        assert not torch.allclose(fakes, fakes_again)


def test_the_discriminator_has_its_own_optimizer_and_its_scheduler_counts_its_moves(trainer, spec):
    optimization = {
        "optimizer": {"type": "sgd", "lr": 0.1},
        "scheduler": {"type": "step", "step_size": 1, "gamma": 0.5},
    }
    trained = trainer(**blocks("vae-gan", spec, objective={"optimization": optimization}))
    trained.fit()
    model, discriminator = trained.phase_optimizers
    assert type(model.optimizer) is torch.optim.Adam
    assert type(discriminator.optimizer) is torch.optim.SGD
    assert model.optimizer.param_groups[0]["lr"] == 1e-3 and not model.schedulers
    # steps 3, 5, 7, 9, 11, 13 with two moves each
    assert discriminator.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**12)
    assert discriminator.schedulers[0].last_epoch == 12


def test_without_its_own_optimizer_the_discriminator_has_that_of_the_stage(trainer, spec):
    optimizer = {"type": "adamw", "lr": 5e-3}
    trained = trainer(
        **blocks("vae-gan", spec, objective={"optimization": None}, optimizer=optimizer)
    )
    _, discriminator = trained.phase_optimizers
    assert type(discriminator.optimizer) is torch.optim.AdamW
    assert discriminator.optimizer.param_groups[0]["lr"] == 5e-3


def test_moves_are_counted_over_a_run_and_over_a_resume(
    spec, train, interrupted, again, stop_at, moves, monkeypatch
):
    trainers, init = [], Trainer.__init__
    monkeypatch.setattr(
        Trainer,
        "__init__",
        lambda self, *args, **kwargs: (trainers.append(self), init(self, *args, **kwargs))[1],
    )
    changes = {**blocks("vae-gan", spec, log_every=2), "name": "tiny"}
    expected = [step for step in (3, 5, 7, 9, 11, 13) for _ in range(2)]
    train(**changes)
    assert [step for step, *_ in moves] == expected
    moves.clear()
    stopped = interrupted(**changes, callbacks=[stop_at(6)])
    assert [step for step, *_ in moves] == [3, 3, 5, 5]
    again(stopped)
    assert [step for step, *_ in moves] == expected
    for trainer in (trainers[0], trainers[-1]):
        states = trainer.phase_optimizers[1].optimizer.state.values()
        assert {float(state["step"]) for state in states} == {12.0}


def test_records_name_the_terms_and_average_them_over_the_steps_that_were_taken(
    spec, train, moves
):
    run = train(**blocks("vae-gan", spec, log_every=4))
    records = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    logged = {record["step"]: record for record in records if record["split"] == "train"}
    terms = {"loss", "distortion", "rate", "kl", "elbo", "kl_weight", "adversarial_weight"}
    names = {"loss", "real", "reconstruction", "prior"}
    players = {f"discriminator/{name}" for name in names}
    other = {"step", "steps", "time", "epoch", "split", "gradient_norm", "lr"}
    assert set(logged[8]) == terms | players | other | {"examples_per_second", "digest"}
    last_moves = {step: float(loss) for step, _, _, loss in moves}
    # the discriminator is due in the steps 5 and 7 of those from 4 to 7
    expected = (last_moves[5] + last_moves[7]) / 2
    assert logged[8]["discriminator/loss"] == pytest.approx(expected, rel=1e-5)
    assert logged[4]["discriminator/loss"] == pytest.approx(last_moves[3], rel=1e-5)
    assert [logged[step]["adversarial_weight"] for step in (4, 8)] == pytest.approx([0.075, 0.3])


def test_records_before_the_discriminator_starts_have_no_terms_of_it(spec, train):
    run = train(**blocks("vae-gan", spec, log_every=3, steps=6))
    first, second = (record for record in run.records if record["split"] == "train")
    assert not any(key.startswith("discriminator/") for key in first)
    assert "discriminator/loss" in second


def test_an_opened_run_has_the_discriminator_that_it_trained(spec, train, same):
    run = train(**blocks("vae-gan", spec, steps=6))
    opened = vaezoo.open_run(run.path, device="cpu")
    same(run.task.objective.state_dict(), opened.task.objective.state_dict())
    _, _, (fresh,) = prepare_training(run.spec, CPU)
    weights = [task.objective.discriminator.head.weight for task in (opened.task, fresh)]
    assert not torch.equal(*weights)


# what does not fit


CONV = {"type": "conv", "channels": [8, 16]}
GMM = {"samplers": {"gmm": {"type": "gaussian-mixture", "components": 3}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "model": {
                    "latents": "ladder",
                    "encoder": CONV,
                    "decoder": {"type": "conv", "channels": [16]},
                },
                **GMM,
            },
            r":\d+:3: samplers\.gmm: latents 'ladder' have no prior that a sampler can replace: "
            r"they need exactly one latent variable",
        ),
        (
            {"model": {"posterior": "von-mises-fisher", "prior": "uniform-sphere"}, **GMM},
            r":\d+:\d+: samplers\.gmm: prior 'gaussian-mixture' is a distribution over real "
            r"values, but latent variable 'z' has the support 'sphere'",
        ),
        (
            {"samplers": {"late": {"type": "mixture", "components": 3}}},
            r":\d+:\d+: samplers\.late: prior 'mixture' cannot be fitted to codes; train it in a "
            r"stage with sampler: late",
        ),
        (
            {"objective": {"type": "vae-gan", "discriminator": "convv"}},
            r":\d+:\d+: objective\.discriminator: no encoder named 'convv'",
        ),
        (
            {"objective": {"type": "vae-gan", "discriminator": CONV, "layer": 2}},
            r":\d+:\d+: objective: objective 'vae-gan': layer 2: the discriminator has 2 features",
        ),
        (
            {
                "objective": {
                    "type": "vae-gan",
                    "discriminator": CONV,
                    "optimization": {"optimizer": {"type": "adm"}},
                }
            },
            r":\d+:\d+: objective\.optimization\.optimizer\.type: no optimizer named 'adm'",
        ),
        (
            {**RAE, "regularizers": ["kl"]},
            r":\d+:\d+: regularizers\.0: regularizer 'kl' is not defined here: the posterior",
        ),
        (
            {**RAE, "regularizers": ["code-norm"], "train": {}},
            r":\d+:\d+: train(\.select)?: 'bound' is not defined for a posterior or prior without",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_line(changes, message, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec(**changes)))
    with pytest.raises(SpecError, match=r"spec\.yaml" + message):
        call("run", path, "--dry-run")


def no_loss(model, batch):
    return batch.x.flatten(1).sum(1), {}


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (
            lambda self: (vaezoo.Phase("idle", nn.Identity(), no_loss),),
            "phase 'idle' has no weights to train",
        ),
        (
            lambda self: tuple(
                vaezoo.Phase(name, self.discriminator, no_loss) for name in ("one", "two")
            ),
            "phases 'one' and 'two' train the same weights",
        ),
        (
            lambda self: (vaezoo.Phase("never", self.discriminator, no_loss, moves=0),),
            "phase 'never': every and moves are at least 1",
        ),
    ],
)
def test_phases_that_cannot_be_trained_are_refused_at_their_line(
    phases, message, spec, tmp_path, monkeypatch
):
    from vaezoo_variants.vae_gan import VAEGAN

    monkeypatch.setattr(VAEGAN, "phases", phases)
    path = tmp_path / "spec.yaml"
    path.write_text(dump(blocks("vae-gan", spec)))
    with pytest.raises(SpecError, match=rf"spec\.yaml:\d+:\d+: objective: {message}"):
        call("run", path, "--dry-run")
