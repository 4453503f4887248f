"""Shared fixtures: models with known log p(x), tiny runs, and ways to interrupt them."""

from __future__ import annotations

import inspect
import math
import multiprocessing
import os
import signal
import textwrap
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import MultivariateNormal

from tests.commands import receive_interruptions
from vaezoo.components.callbacks import Callback
from vaezoo.components.latents import Single
from vaezoo.components.likelihoods import NormalLikelihood
from vaezoo.components.priors import StandardNormal
from vaezoo.data.dataspec import DataSpec
from vaezoo.distributions import DiagonalNormal
from vaezoo.evaluation.evaluate import Evaluation
from vaezoo.model.latents import LatentsWiring
from vaezoo.model.model import Model
from vaezoo.model.parts import Decoder, Encoder, Posterior
from vaezoo.model.task import Task
from vaezoo.model.trace import Site, Trace
from vaezoo.model.wiring import (
    DecoderWiring,
    EncoderWiring,
    PriorWiring,
    Space,
    TaskWiring,
    Wiring,
)
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.setup import prepare_training
from vaezoo.runs.start import resume, run
from vaezoo.spec.load import load_spec
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import Interrupted
from vaezoo.utils.files import read_tensors
from vaezoo.utils.process_group import ProcessGroup

torch.set_num_threads(1)
receive_interruptions()

TRAIN_SIZE = 100


def data_wiring(data):
    """The wiring of a likelihood or a conditioner."""
    return Wiring(data=data, train_size=TRAIN_SIZE)


def encoder_wiring(in_shape):
    """The wiring of an encoder of real data."""
    data = DataSpec(in_shape, "real")
    return EncoderWiring(data=data, train_size=TRAIN_SIZE, in_shape=in_shape)


def decoder_wiring(in_shape, out_shape):
    """The wiring of a decoder of real data."""
    data = DataSpec(out_shape, "real")
    return DecoderWiring(data=data, train_size=TRAIN_SIZE, in_shape=in_shape, out_shape=out_shape)


def single_latents(data, feature_shape, latent_dim, posterior):
    """Latents of one vector with a given posterior and the prior N(0, I)."""
    space = Space((latent_dim,))

    def prior(space):
        return StandardNormal(PriorWiring(data=data, train_size=TRAIN_SIZE, space=space))

    wiring = LatentsWiring(
        data=data,
        train_size=TRAIN_SIZE,
        feature_shapes=(feature_shape,),
        space=space,
        posterior=lambda in_shape, space: posterior,
        prior=prior,
    )
    return Single(wiring)


def task_wiring(model, train_size=TRAIN_SIZE):
    """The wiring of the objective and the regularizers of a model."""
    return TaskWiring(data=model.data, train_size=train_size, spaces=model.spaces)


def likelihood_trace(likelihood, batch, h, sites=()):
    """The pass of a model whose decoder returns ``h``, ``[K, B, *parameter_shape]``."""
    model = SimpleNamespace(likelihood=likelihood)
    return Trace(model, batch, sites, h, likelihood(h, batch.extras))


@pytest.fixture
def graphs_of():
    """The number of graphs of a compiled training step, whose loss is that of a plain one."""

    def count(task, batch):
        graphs, losses = [], []

        def backend(graph, inputs):
            graphs.append(graph)
            return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

        torch._dynamo.reset()
        for module in (task, torch.compile(task, backend=backend)):
            torch.manual_seed(0)
            loss = module(batch)[0]
            loss.mean().backward()
            losses.append(loss.detach())
        torch.testing.assert_close(*losses)
        return len(graphs)

    return count


class Identity(Encoder):
    def forward(self, x, mask=None):
        return (x,)


class LinearDecoder(Decoder):
    def __init__(self, loading, offset):
        super().__init__()
        self.loading, self.offset = nn.Parameter(loading), nn.Parameter(offset)

    def forward(self, code):
        return code @ self.loading.T + self.offset


class LinearPosterior(Posterior):
    """q(z|x) = N(Wx + c, s²): the exact posterior of a linear-Gaussian model for the right W, c,
    s."""

    def __init__(self, weight, offset, log_scale):
        super().__init__()
        self.weight, self.offset = nn.Parameter(weight), nn.Parameter(offset)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, h):
        mean = h @ self.weight.T + self.offset
        return DiagonalNormal(mean, self.log_scale.expand_as(mean))


class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(Az + b, sigma²), with orthogonal columns of A so that the
    posterior is diagonal."""

    def __init__(self, data_dim=6, latent_dim=2, sigma=0.7, spoil=0.0):
        generator = torch.Generator().manual_seed(3)
        columns, _ = torch.linalg.qr(torch.randn(data_dim, latent_dim, generator=generator))
        self.a = columns * torch.tensor([1.5, 0.8])[:latent_dim]
        self.b = torch.randn(data_dim, generator=generator)
        self.sigma = sigma
        precision = torch.eye(latent_dim) + self.a.T @ self.a / sigma**2
        covariance = torch.linalg.inv(precision)
        weight = covariance @ self.a.T / sigma**2
        log_scale = 0.5 * covariance.diagonal().log()
        noise = spoil * torch.randn(weight.shape, generator=generator)
        posterior = LinearPosterior(
            weight + noise, -(weight + noise) @ self.b + spoil, log_scale + spoil
        )
        data = DataSpec((data_dim,), "real")
        self.model = Model(
            data,
            latent_dim=latent_dim,
            encoder=Identity(),
            latents=single_latents(data, (data_dim,), latent_dim, posterior),
            decoder=LinearDecoder(self.a.clone(), self.b.clone()),
            likelihood=NormalLikelihood(data_wiring(data), scale=sigma),
            code_shape=(latent_dim,),
        )
        marginal = self.a @ self.a.T + sigma**2 * torch.eye(data_dim)
        self.marginal = MultivariateNormal(self.b, marginal)

    def data(self, n=64, seed=1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.marginal.sample((n,))

    def log_p(self, x):
        return self.marginal.log_prob(x)


@pytest.fixture
def exact():
    """A linear-Gaussian model whose posterior is exact."""
    return LinearGaussian()


@pytest.fixture
def inexact():
    """The same model with a posterior that is not exact."""
    return LinearGaussian(spoil=0.25)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def standard_error(values):
    return float(values.std() / math.sqrt(len(values)))


CPU = torch.device("cpu")
BASE = {
    "spec": "vaezoo/v2",
    "name": "tiny",
    "data": {
        "type": "digits",
        "batch_size": 128,
    },  # 1,258 examples: 10 steps an epoch, the last of 106 examples
    "model": {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [16]},
        "decoder": {"type": "mlp", "hidden": [16]},
        "likelihood": "bernoulli",
    },
    "train": {"epochs": 3, "log_every": 4, "device": "cpu"},
    "evaluate": ["elbo"],
}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["vaezoo.runs.start", "vaezoo.runs.report.page", "sklearn.datasets", "torch._dynamo"]
)


def measure_nothing(run, split):
    """The evaluation of a run without metrics, in place of ``Run.evaluate``."""
    content = {"split": split, "metrics": {}, "undefined": {}, "not_finite": {}}
    return Evaluation(content, {})


def tiny(**blocks):
    """The smallest spec as a mapping, with changes to its blocks."""
    result = {**BASE}
    for name, value in blocks.items():
        result[name] = (
            {**BASE[name], **value}
            if isinstance(value, dict) and isinstance(BASE.get(name), dict)
            else value
        )
    return result


@pytest.fixture(scope="session")
def _digits():
    return load_digits(return_X_y=True)


@pytest.fixture(autouse=True)
def read_once(monkeypatch, _digits):
    """Caches the digits between runs: parsing their text takes as long as an epoch."""
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: _digits)


@pytest.fixture(autouse=True)
def _no_class_stays_registered(monkeypatch):
    monkeypatch.setattr("vaezoo.plugins.registration._entries", {})


@pytest.fixture
def spec():
    """Builds specs: ``spec(train={"epochs": 1})`` changes the smallest one."""
    return tiny


@pytest.fixture
def no_report(monkeypatch):
    """Skips the report, which takes ten times as long as the training."""
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)


@pytest.fixture
def train(tmp_path, no_report):
    """Trains a spec in ``tmp_path / "runs"``: ``train(train={"epochs": 1})``."""

    def start(*, callbacks=(), **blocks):
        return run(tiny(**blocks), out=tmp_path / "runs", callbacks=callbacks)

    return start


@pytest.fixture
def interrupted(train, tmp_path):
    """Trains a spec that is expected to be interrupted, and returns the run's directory."""

    def start(**blocks):
        before = set(tmp_path.glob("runs/tiny/*"))
        with pytest.raises(Interrupted):
            train(**blocks)
        (path,) = set(tmp_path.glob("runs/tiny/*")) - before
        return path

    return start


@pytest.fixture
def again(no_report):
    """Resumes a run without its report."""
    return resume


@pytest.fixture
def stop_after(monkeypatch):
    """Sends this process a SIGINT in the middle of an optimizer step; steps count from 2."""
    original, expected = Task.set_step, set()

    def set_step(task, step):
        original(task, step)
        if step and step + 1 in expected:
            expected.remove(step + 1)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Task, "set_step", set_step)
    return lambda *steps: expected.update(steps)


class StopAt(Callback):
    """Sends this process one SIGINT when the first record of a step arrives."""

    def __init__(self, step):
        self.step, self.sent = step, False

    def log(self, record):
        if record["step"] == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def stop_at():
    return StopAt


@pytest.fixture
def left_by():
    """The results of a run for comparisons: texts and tensors of its weights and last
    checkpoint."""

    def read(path):
        directory = RunDirectory(path)
        tensors, metadata = read_tensors(directory.model)
        state, header = read_tensors(directory.checkpoint_files()[-1])
        named = {
            **{f"model/{k}": v for k, v in tensors.items()},
            **{f"checkpoint/{k}": v for k, v in state.items()},
        }
        return {"about": metadata["about"], "state": header["state"]}, named

    return read


@pytest.fixture
def same():
    """Asserts that two dictionaries of tensors are equal to the last bit."""

    def check(first, second):
        assert first.keys() == second.keys()
        different = [name for name in first if not torch.equal(first[name], second[name])]
        assert not different, different

    return check


@pytest.fixture
def resumes_exactly(train, interrupted, again, stop_at, left_by, same, monkeypatch):
    """Checks that a run that is interrupted at a step and resumed leaves the bits of a whole one;
    returns the tensors that it leaves."""

    def check(step, **blocks):
        monkeypatch.setattr("vaezoo.runs.run.Run.evaluate", measure_nothing)
        whole = train(**blocks)
        stopped = interrupted(**blocks, callbacks=[stop_at(step)])
        (about, tensors), (about_again, tensors_again) = (
            left_by(whole.path),
            left_by(again(stopped).path),
        )
        assert about == about_again
        same(tensors, tensors_again)
        return tensors

    return check


class Notes:
    """A run log that stores records in a list."""

    def __init__(self):
        self.records, self.checkpoints = [], []

    def record(self, record):
        self.records.append(dict(record))

    def checkpoint(self, step, state):
        self.checkpoints.append(step)

    def describe_last_checkpoint(self):
        return "no checkpoint"

    def is_stop_requested(self):
        return False


@pytest.fixture
def trainer():
    """A trainer that writes no files; ``measured`` are the results of each validation."""

    def build(measured=None, **blocks):
        loaded = load_spec(tiny(**blocks))
        _, loader, (task,) = prepare_training(loaded, CPU)
        inputs = iter(measured or [])
        always = {"bound": -1.0, "elbo": -1.0, "distortion": 1.0, "rate": 0.0}
        return Trainer(
            task,
            loader,
            loaded.stages[0],
            validate=lambda task: {**always, **next(inputs, {})},
            run_log=Notes(),
            process_group=ProcessGroup(),
        )

    return build


@pytest.fixture
def without_noise(monkeypatch):
    """Replaces the samples of q(z|x) by its mean, so that a step depends on the data only."""

    def infer(self, inference):
        q = self.posterior(inference.features[-1].flatten(1).float())
        z = q.mean.expand(inference.k, *q.mean.shape)
        return (Site("z", z, q, inference.p(self.prior)),), z

    monkeypatch.setattr(Single, "infer", infer)


@pytest.fixture
def child():
    """Runs a function, which must contain all of its imports, in a separate process."""
    started = []

    def start(function, *args):
        source = f"{textwrap.dedent(inspect.getsource(function))}\n{function.__name__}(*args)"
        process = FORKS.Process(target=exec, args=(source, {"args": args}))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
