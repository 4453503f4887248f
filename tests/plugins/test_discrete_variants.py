"""Variants with discrete latent variables: Gumbel-softmax, VQ-VAE and an autoregressive prior.

Shapes: K samples, B examples, H and W of a map, N variables of C values, D dimensions of a code.
"""

from __future__ import annotations

import itertools
import math
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import OneHotCategorical, kl_divergence

import vaezoo
from tests.conftest import measure_nothing
from tests.plugins.test_variants import CPU, call
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError, UsageError
from vaezoo.utils.files import read_tensors
from vaezoo.utils.process_group import ProcessGroup

GUMBEL = {
    "latent_dim": 3,
    "latents": {
        "type": "gumbel-softmax",
        "classes": 4,
        "temperature": {"type": "exponential", "end": 0.5, "rate": 0.05},
    },
    "prior": "uniform-classes",
}
VQ = {
    "latent_dim": 3,
    "encoder": {"type": "conv", "channels": [8, 8]},
    "latents": {"type": "vector-quantized", "codes": 6},
    "prior": {"type": "autoregressive", "hidden": 8, "layers": 1},
    "decoder": {"type": "conv", "channels": [8, 8]},
}
AUTOENCODER = {
    "name": "autoencoder",
    "parts": ["encoder", "posterior", "decoder"],
    "objective": "reconstruction",
    "regularizers": ["commitment"],
    "select": "distortion",
    "steps": 7,
}
PRIOR = {"name": "prior", "parts": ["prior"], "objective": "prior-nll", "steps": 7}
MODELS = {"gumbel": {"model": GUMBEL}, "vq": {"model": VQ, "stages": [AUTOENCODER, PRIOR]}}
REFUSED = {"vq": {"interpolate": "there is no path between symbols"}, "gumbel": {}}


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is installed like a stranger's."""


def blocks(name, spec, **train):
    """The spec of a variant, short, with binary digits."""
    return spec(
        **MODELS[name],
        name=name,
        data={"binarize": "dynamic"},
        train={"epochs": None, "steps": 14, "log_every": 3, **train},
        evaluate=["elbo", "rate", {"type": "nll", "samples": 3}],
    )


@pytest.fixture
def composed(spec):
    """The task of a variant's first stage, and 40 examples."""

    def make(name, **latents):
        changes = blocks(name, spec)
        changes["model"]["latents"] = {**changes["model"]["latents"], **latents}
        _, train, (task, *_) = prepare_training(load_spec(changes), CPU)
        return task, train.first(40)

    return make


def assert_frequencies(counts, probabilities):
    """Each frequency is within 4.5 standard errors of its probability."""
    n = counts.sum()
    errors = (probabilities * (1 - probabilities) / n).sqrt()
    assert bool(((counts / n - probabilities).abs() < 4.5 * errors + 1e-9).all())


# --- every command -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_command_takes_the_variant(name, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(blocks(name, spec)))
    call("run", path, "--out", tmp_path / "runs")
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "report.html").is_file() and (run / "pictures/samples.png").is_file()
    assert (run / "pictures/interpolations.png").exists() == (name == "gumbel")
    for command in ("sample", "reconstruct", "interpolate"):
        arguments = (command, run, "--out", tmp_path / f"{command}.png")
        if reason := REFUSED[name].get(command):
            with pytest.raises(UsageError, match=reason):
                call(*arguments)
        else:
            call(*arguments)
    call("sample", run, "--prior-temperature", 0.5, "--out", tmp_path / "colder.png")
    call("encode", run, "-n", 5, "--out", tmp_path / "z.npz")
    call("evaluate", run, "--metric", "elbo")
    call("export", run, "--format", "torch-export", "--out", tmp_path / "exported")
    call("publish", run, "--name", f"{name}/digits@1", "--to", tmp_path / "lab")
    model = vaezoo.open_run(run, device="cpu").model
    expected = model.sample(3, seed=1)
    z = np.load(tmp_path / "z.npz")["mean"]
    assert z.shape == (5, 12 if name == "gumbel" else 4)
    shutil.rmtree(run)
    loaded = vaezoo.load(f"lab:{name}/digits@1", registry=tmp_path / "lab")
    assert torch.equal(expected, loaded.sample(3, seed=1))


@pytest.mark.parametrize("name", MODELS)
def test_contracts_hold(name, spec):
    check_spec(blocks(name, spec))


def test_the_class_conditional_version_samples_each_class(spec):
    changes = blocks("vq", spec)
    condition = {"type": "label", "into": ["prior", "decoder"]}
    changes["model"] = {**changes["model"], "condition": condition}
    changes["stages"] = [
        {**AUTOENCODER, "parts": [*AUTOENCODER["parts"], "condition"]},
        {**PRIOR, "parts": ["prior"]},
    ]
    check_spec(changes)
    _, _, (task, _) = prepare_training(load_spec(changes), CPU)
    model = task.model.eval()
    samples = [model.sample(3, condition=digit, seed=0) for digit in (1, 2)]
    assert samples[0].shape == (3, 1, 8, 8) and not torch.equal(*samples)


@pytest.mark.parametrize(("name", "step"), [("gumbel", 6), ("vq", 6), ("vq", 7), ("vq", 10)])
def test_a_resumed_run_has_the_same_bits(name, step, spec, resumes_exactly):
    """Step 7 of vq is the boundary of its stages, step 10 lies within the second."""
    resumes_exactly(step, **{**blocks(name, spec, ema=0.9), "name": "tiny"})


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_step_is_one_graph(name, spec, graphs_of):
    _, train, tasks = prepare_training(load_spec(blocks(name, spec)), CPU)
    for task in tasks:
        with task.active():
            task.train()
            assert 1 <= graphs_of(task, train.first(32)) <= 2


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ({**VQ, "prior": "uniform-classes"}, {}, r"model\.prior: .* has the support 'symbols'"),
        ({**GUMBEL, "prior": "autoregressive"}, {}, r"model\.prior: .* the support 'one-hot'"),
        (
            {**VQ, "encoder": {"type": "mlp", "hidden": [8]}},
            {},
            r"model\.latents: .* needs an encoder whose last feature is a map",
        ),
        (
            GUMBEL,
            {"regularizers": ["commitment"]},
            r"regularizers\.0: .* needs latents: vector-quantized",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_line(model, changes, message, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec(model=model, **changes)))
    with pytest.raises((SpecError, vaezoo.VaezooError), match=message):
        call("run", path, "--dry-run")


def test_a_prior_is_trained_for_the_autoencoder_of_another_run(spec, train, tmp_path):
    changes = {**blocks("vq", spec), "evaluate": ["distortion"]}
    first = train(**{**changes, "stages": [AUTOENCODER]})
    before = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    parts = ["encoder", "posterior", "decoder"]
    init = [{"from": str(first.path), "parts": parts}]
    second = train(**{**changes, "name": "second", "init": init, "stages": [PRIOR]})
    call("publish", second.path, "--name", "second/digits@1", "--to", tmp_path / "lab")
    shutil.rmtree(first.path)
    loaded = vaezoo.load("lab:second/digits@1", registry=tmp_path / "lab")
    assert torch.equal(second.model.sample(3, seed=1), loaded.sample(3, seed=1))
    after = loaded.state_dict()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == ("prior" not in name), name


# --- Gumbel-softmax ------------------------------------------------------------------------------


def test_relaxed_samples_tend_to_one_hot_samples_of_the_posterior(composed):
    task, batch = composed("gumbel", temperature=1e-4)
    task.train()
    with torch.no_grad():
        task.model.latents.logits.weight.mul_(10)
        site = task.model(batch.select(slice(1)), 20_000).sites[0]
    z, probs = site.z[:, 0], site.q.base_dist.mean[0]  # [K, N, C], [N, C]
    assert z.max(-1).values.mean() > 0.999
    for variable in range(3):
        assert_frequencies(z[:, variable].round().sum(0), probs[variable])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_relaxed_samples_have_the_density_of_the_concrete_distribution(composed, temperature):
    """E[f(z)] under torch's relaxed distribution, for the entropy f of a sample."""
    task, batch = composed("gumbel", temperature=temperature)
    task.train()
    with torch.no_grad():
        site = task.model(batch.select(slice(1)), 20_000).sites[0]
        logits = site.q.base_dist.log_probabilities[0]
        tau = torch.tensor(temperature)
        expected = torch.distributions.RelaxedOneHotCategorical(tau, logits=logits)
        moments = [
            torch.special.entr(z).sum(-1) for z in (site.z[:, 0], expected.sample((20_000,)))
        ]
    errors = sum(value.var(0) / 20_000 for value in moments).sqrt()
    assert bool(((moments[0].mean(0) - moments[1].mean(0)).abs() < 4.5 * errors).all())


def test_samples_of_evaluation_are_one_hot_and_those_of_training_have_gradients(composed):
    task, batch = composed("gumbel")
    site = task.eval().model(batch, 5).sites[0]
    assert set(site.z.unique().tolist()) == {0.0, 1.0} and bool((site.z.sum(-1) == 1).all())
    assert not site.z.requires_grad
    trace = task.train().model(batch)
    z = trace.sites[0].z
    assert z.requires_grad and float(z.detach().min()) > 0 and float(z.detach().max()) < 1
    (gradient,) = torch.autograd.grad(trace.distortion.mean(), task.model.latents.logits.weight)
    assert bool((gradient != 0).any())


@pytest.mark.parametrize("training", [True, False])
def test_the_rate_is_the_sum_of_torchs_kls(training, composed):
    task, batch = composed("gumbel")
    with torch.no_grad():
        task.model.latents.logits.weight.mul_(10)
        trace = task.train(training).model(batch, 2)
    logits = trace.sites[0].q.base_dist.log_probabilities  # [B, N, C]
    uniform = OneHotCategorical(logits=torch.zeros(4))
    expected = sum(
        kl_divergence(OneHotCategorical(logits=logits[:, i]), uniform) for i in range(3)
    )
    torch.testing.assert_close(trace.rate, expected.expand(2, 40))
    assert float(expected.mean()) > 0.01


def test_the_elbo_of_evaluation_is_below_log_p_by_enumeration(composed):
    task, batch = composed("gumbel")
    model, batch = task.eval().model, batch.select(slice(5))
    maps = torch.stack(
        [F.one_hot(torch.tensor(z), 4) for z in itertools.product(range(4), repeat=3)]
    )
    with torch.no_grad():
        code = maps.float().flatten(1)[:, None].expand(-1, 5, -1)  # [64, B, N * C]
        log_likelihood = model.likelihood_of(code, None, {}).log_prob(batch.x)
        log_p = log_likelihood.logsumexp(0) - 3 * math.log(4)
        elbo = model(batch, 3000).mean_elbo
    assert bool((elbo < log_p).all())
    torch.testing.assert_close(model.log_likelihood(batch.x, 3000), log_p, atol=0.1, rtol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_temperature_follows_its_schedule(
    accumulate, spec, interrupted, train, again, stop_at, monkeypatch
):
    monkeypatch.setattr("vaezoo.runs.run.Run.evaluate", measure_nothing)
    taus, original = [], F.gumbel_softmax
    monkeypatch.setattr(
        F, "gumbel_softmax", lambda h, tau: (taus.append(float(tau)), original(h, tau))[1]
    )
    changes = {**blocks("gumbel", spec, accumulate=accumulate), "name": "tiny"}
    expected = [
        0.5 + 0.5 * math.exp(-0.05 * step) for step in range(14) for _ in range(accumulate)
    ]
    train(**changes)
    assert taus == pytest.approx(expected)
    taus.clear()
    stopped = interrupted(**changes, callbacks=[stop_at(6)])
    assert len(taus) == 6 * accumulate
    run = again(stopped)
    assert taus == pytest.approx(expected)
    last = float(run.model.latents.temperature.value)
    assert last in [pytest.approx(value) for value in expected]


# --- VQ-VAE --------------------------------------------------------------------------------------


def codebook(size=6, decay=0.9, restart=0.0, seed=0):
    """A codebook for features of 4 channels, with codes of 3 dimensions, in training."""
    from vaezoo_variants.vq import Codebook

    torch.manual_seed(seed)
    return Codebook(4, 3, size, decay=decay, restart=restart).train()


def part_of(task):
    """The codebook of a model."""
    return task.model.latents.codebook


def finish_step(part, step=0):
    """Ends a training step in one process."""
    with torch.no_grad():
        part.after_step(
            vaezoo.StepResult(step=step, model=None, processes=ProcessGroup(), read_terms=dict)
        )


def test_symbols_are_those_of_the_nearest_codes():
    part, h = codebook(), torch.randn(5, 4, 2, 3)
    q = part(h)
    vectors = part.project(h).movedim(1, -1)
    distances = (vectors[..., None, :] - part.codes).square().sum(-1)  # [B, H, W, C]
    assert torch.equal(q.mode, distances.argmin(-1)) and q.event_shape == (2, 3)
    torch.testing.assert_close(q.codes, part.codes[q.mode])
    other = q.mode.clone()
    other[0, 0, 0] = (other[0, 0, 0] + 1) % 6
    assert q.log_prob(q.sample((2,))).tolist() == [[0.0] * 5] * 2
    assert q.log_prob(other).tolist() == [-math.inf, 0.0, 0.0, 0.0, 0.0]


def test_codes_are_moving_averages_of_their_vectors():
    """Against a loop over vectors in numpy."""
    part = codebook()
    codes = part.codes.double().numpy().copy()
    n, m = np.zeros(6), np.zeros((6, 3))
    for step in range(8):
        h = torch.randn(5, 4, 2, 3) + step / 4
        with torch.no_grad():
            vectors = part.project(h).movedim(1, -1).reshape(-1, 3).double().numpy()
        counts, sums = np.zeros(6), np.zeros((6, 3))
        for vector in vectors:
            symbol = np.argmin(((vector - codes) ** 2).sum(1))
            counts[symbol] += 1
            sums[symbol] += vector
        n, m = 0.9 * n + 0.1 * counts, 0.9 * m + 0.1 * sums
        smooth = (n + 1e-5) / (n.sum() + 6e-5) * n.sum()
        codes = m / smooth[:, None]
        part(h)
        finish_step(part, step)
        np.testing.assert_allclose(part.codes.numpy(), codes, rtol=1e-4, atol=1e-5)
    assert (counts > 0).sum() > 2


def test_only_passes_with_gradients_in_training_count(composed):
    task, batch = composed("vq")
    part = part_of(task)
    task.train().model.infer_detached(batch)
    with torch.no_grad():
        task.model(batch)
    task.eval().model(batch)
    assert not bool(part.totals.any())
    task.train().model(batch)
    assert part.totals[:, -1].sum() == 40 * 4
    finish_step(part)
    assert not bool(part.totals.any())


def test_the_gradient_passes_straight_through_the_codes(composed):
    task, batch = composed("vq")
    trace = task.train().model(batch)
    q, code = trace.sites[0].q, trace.code[0]
    torch.testing.assert_close(code.movedim(1, -1), part_of(task).codes[q.mode])
    gradient = torch.randn_like(code)
    (received,) = torch.autograd.grad(code, q.vectors, gradient)
    assert torch.equal(received.movedim(-1, 1), gradient)


def test_the_commitment_loss_is_summed_over_the_map_and_trains_the_encoder(composed):
    task, batch = composed("vq")
    loss, terms = task.train()(batch)
    trace = task.model(batch)
    q = trace.sites[0].q
    by_hand = torch.stack([((q.vectors[i] - q.codes[i]) ** 2).sum() for i in range(40)])
    torch.testing.assert_close(terms["commitment"], by_hand)
    torch.testing.assert_close(loss, terms["distortion"] + 0.25 * terms["commitment"])
    (gradient,) = torch.autograd.grad(terms["commitment"].sum(), part_of(task).project.bias)
    torch.testing.assert_close(gradient, 2 * (q.vectors - q.codes).sum((0, 1, 2)))


def test_codes_begin_at_vectors_of_the_first_batch_and_are_kept_later(composed):
    task, batch = composed("vq")
    task.train().initialise(batch)
    with torch.no_grad():
        vectors = part_of(task).project(task.model.encoder(batch.x)[-1]).movedim(1, -1)
    distances = torch.cdist(part_of(task).codes, vectors.reshape(-1, 3))
    assert float(distances.min(1).values.max()) < 1e-5
    before = part_of(task).codes.clone()
    task.initialise(batch.select(slice(5, 20)))
    assert torch.equal(part_of(task).codes, before)


def test_unused_codes_restart_at_vectors_of_the_step():
    used = []
    for restart in (0.0, 0.5):
        part = codebook(size=16, restart=restart)
        part.codes.add_(100.0).mul_(torch.rand(16, 1) + 0.5)  # one is nearest to all vectors
        part.averages.copy_(F.pad(part.codes, (0, 1), value=1.0))
        generator = torch.Generator().manual_seed(1)
        for step in range(40):
            q = part(torch.randn(8, 4, 2, 2, generator=generator))
            finish_step(part, step)
        counts = torch.bincount(q.mode.flatten(), minlength=16) / q.mode.numel()
        used.append(float(torch.special.entr(counts).sum().exp()))
    assert used[0] < 2 and used[1] > 6, "the perplexity of the symbols"


def test_a_restarted_code_is_a_vector_of_the_main_process():
    part = codebook(size=4, restart=3.0)
    part.codes.copy_(torch.tensor([[0.0] * 3, [50.0] * 3, [60.0] * 3, [70.0] * 3]))
    part.averages.copy_(F.pad(part.codes, (0, 1), value=1.0)).mul_(3.1)
    q = part(torch.randn(25, 4, 2, 2))
    assert not bool(q.mode.any()), "all vectors are nearest to the first code"
    finish_step(part)
    vectors = q.vectors.detach().flatten(0, 2)
    assert part.averages[1:, -1].tolist() == [1.0] * 3 and part.averages[0, -1] > 10
    torch.testing.assert_close(part.codes[1:], vectors[1:4], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("restart", [0.0, 20.0])
def test_a_batch_in_parts_counts_like_a_whole_one(restart, spec, train, monkeypatch):
    monkeypatch.setattr("vaezoo.runs.run.Run.evaluate", measure_nothing)
    buffers = []
    for accumulate in (1, 2):
        changes = blocks("vq", spec, accumulate=accumulate)
        changes["model"]["latents"] = {**VQ["latents"], "restart": restart}
        changes["stages"] = [{**AUTOENCODER, "select": "last"}]
        changes["data"] = {"type": "digits", "batch_size": 128, "binarize": "threshold"}
        run = train(**changes)
        buffers.append(dict(run.model.latents.codebook.named_buffers()))
    for name in ("averages", "codes"):
        torch.testing.assert_close(*(each[name] for each in buffers), rtol=1e-4, atol=1e-4)
    assert not bool(buffers[0]["totals"].any())
    restarted = buffers[0]["averages"][:, -1] == 1
    assert bool(restarted.any()) == (restart > 0)


def quantize(rank, folder, restart):
    """One of two processes: updates a codebook from its own vectors."""
    from datetime import timedelta
    from pathlib import Path

    import torch
    import torch.distributed as dist
    from vaezoo_variants.vq import Codebook

    import vaezoo
    from vaezoo.utils.files import write_tensors
    from vaezoo.utils.process_group import ProcessGroup

    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=15)
    )
    torch.manual_seed(0)
    part = Codebook(4, 3, 6, decay=0.9, restart=restart).train()
    for step in range(6):
        torch.manual_seed(10 * step + rank)
        part(torch.randn(4 + rank, 4, 2, 3))
        with torch.no_grad():
            part.after_step(
                vaezoo.StepResult(
                    step=step, model=None, processes=ProcessGroup.current(), read_terms=dict
                )
            )
    tensors = {name: buffer.clone() for name, buffer in part.named_buffers()}
    write_tensors(Path(folder, f"rank{rank}.safetensors"), tensors, {})
    dist.destroy_process_group()


@pytest.mark.parametrize("restart", [0.0, 2.0])
def test_two_processes_have_the_codes_of_one(restart, child, tmp_path, same):
    members = [child(quantize, rank, str(tmp_path), restart) for rank in (0, 1)]
    for process in members:
        process.join(60)
        assert process.exitcode == 0
    first, second = (read_tensors(tmp_path / f"rank{rank}.safetensors")[0] for rank in (0, 1))
    shared = ("codes", "averages", "totals")
    same({name: first[name] for name in shared}, {name: second[name] for name in shared})
    part, restarts = codebook(restart=restart), 0
    for step in range(6):
        examples = []
        for rank in (0, 1):
            torch.manual_seed(10 * step + rank)
            examples.append(torch.randn(4 + rank, 4, 2, 3))
        part(torch.cat(examples))
        finish_step(part, step)
        restarts += int((part.averages[:, -1] == 1).sum())
    for name in shared:
        torch.testing.assert_close(first[name], part.get_buffer(name), rtol=1e-4, atol=1e-5)
    assert bool(restarts) == bool(restart)


def test_two_processes_train_both_stages(trained_in_two, spec, train):
    changes = {**blocks("vq", spec), "data": {"type": "digits", "batch_size": 128}, "name": "tiny"}
    changes |= {"evaluate": ["elbo"], "seed": 3}
    changes["model"]["latents"] = {**VQ["latents"], "restart": 0.0}
    tensors = trained_in_two(changes)
    for name, tensor in train(**changes).model.state_dict().items():
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-3, atol=1e-4)


def test_symbols_decode_to_what_they_were_inferred_with(spec, train):
    run = train(**{**blocks("vq", spec), "evaluate": []})
    model, batch = run.model, run.data().first(6)
    z = model.encode(batch.x)
    assert z.shape == (6, 4) and bool((z == z.round()).all())
    torch.testing.assert_close(model.decode(z), model.reconstruct(batch.x))
    rate = model(batch, 2).rate
    p = model.latents.prior(None, model)
    torch.testing.assert_close(rate[0], -p.log_prob(z.long().view(6, 2, 2)))
    torch.testing.assert_close(model.log_likelihood(batch.x, 3), model(batch).mean_elbo)


# --- the autoregressive prior --------------------------------------------------------------------


def autoregressive(shape=(2, 2), size=3, context=None, **options):
    """A prior over maps of symbols, with large weights so that no symbol is uniform."""
    from vaezoo_variants.autoregressive import Autoregressive

    wiring = vaezoo.PriorWiring(
        data=vaezoo.DataSpec((4,)),
        train_size=1,
        space=vaezoo.Space(shape, "symbols", size=size),
        context_shape=context,
    )
    prior = Autoregressive(wiring, **{"hidden": 8, "layers": 2, **options})
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(2.0)
    return prior


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_symbol_depends_on_earlier_ones_only(reach):
    prior, z = autoregressive((3, 4), reach=reach), torch.randint(3, (1, 3, 4))
    logits = prior.logits(z, None).flatten(1, 2)[0]  # [H * W, C]
    depends = torch.zeros(12, 12, dtype=torch.bool)
    for position in range(12):
        other = z.clone()
        other.view(-1)[position] = (other.view(-1)[position] + 1) % 3
        changed = (prior.logits(other, None).flatten(1, 2)[0] != logits).any(-1)
        depends[:, position] = changed
    assert not bool(depends.triu().any()), "of itself or of later symbols"
    if reach == 3:
        assert bool((depends | torch.ones(12, 12).triu().bool()).all()), "of all earlier symbols"


def every_map():
    return torch.tensor(list(itertools.product(range(3), repeat=4))).view(81, 2, 2)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@torch.no_grad()
def test_the_probabilities_of_all_maps_sum_to_one_and_samples_have_them(temperature):
    p = autoregressive()(None, None)
    if temperature != 1:
        p = p.tempered(temperature)
    log_p = p.log_prob(every_map())
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert float(log_p.max() - log_p.min()) > 2, "not uniform"
    z = p.sample((20_000,)).flatten(1)
    index = (z * torch.tensor([27, 9, 3, 1])).sum(1)
    assert_frequencies(torch.bincount(index, minlength=81), log_p.exp())


@torch.no_grad()
def test_a_lower_temperature_divides_the_logits_of_each_symbol():
    prior = autoregressive()
    z = every_map()
    logits = prior.logits(z, None) / 0.5
    by_hand = torch.zeros(81)
    for row, column in itertools.product(range(2), repeat=2):
        log_probs = logits[:, row, column].log_softmax(-1)
        by_hand += log_probs[torch.arange(81), z[:, row, column]]
    torch.testing.assert_close(prior(None, None).tempered(0.5).log_prob(z), by_hand)


@torch.no_grad()
def test_each_context_has_a_distribution_of_its_own():
    prior, context = autoregressive(context=(5,)), torch.randn(3, 5)
    p, z = prior(context, None), every_map()
    assert p.batch_shape == (3,) and p.sample((4,)).shape == (4, 3, 2, 2)
    log_p = p.log_prob(z[:, None].expand(-1, 3, -1, -1))  # [81, B]
    torch.testing.assert_close(log_p.exp().sum(0), torch.ones(3))
    for i in range(3):
        alone = prior(context[i : i + 1], None).log_prob(z[:, None])[:, 0]
        torch.testing.assert_close(log_p[:, i], alone)
    assert not torch.allclose(log_p[:, 0], log_p[:, 1])


def test_the_second_stage_trains_nothing_but_the_prior(spec, train):
    changes = {**blocks("vq", spec), "evaluate": []}
    both = train(**changes).model.state_dict()
    alone = train(**{**changes, "stages": [AUTOENCODER]}).model.state_dict()
    for name in both:
        assert torch.equal(both[name], alone[name]) == ("prior" not in name), name


def test_records_name_the_stage_and_its_terms(spec, train):
    run = train(**{**blocks("vq", spec), "evaluate": []})
    first, second = (
        [record for record in run.records if record["stage"] == stage]
        for stage in ("autoencoder", "prior")
    )
    assert {"distortion", "commitment"} <= first[0].keys() and "rate" not in first[0]
    assert "rate" in second[0] and "distortion" not in second[0]
