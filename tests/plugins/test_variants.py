"""Variants of an out-of-tree package, through the doors that their users use."""

from __future__ import annotations

import ast
import re
import tokenize
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.model.component import is_eager
from vaezoo.plugins import discovery
from vaezoo.runs.report.html import render_page
from vaezoo.runs.run import report_data
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.reference import describe
from vaezoo.spec.schema import json_schema
from vaezoo.testing import check_spec
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import SpecError, UsageError

SOURCES = Path(__file__).parent / "vaezoo-variants/src/vaezoo_variants"
CPU = torch.device("cpu")
CONV = {"type": "conv", "channels": [8, 16]}
VARIANTS = {
    "vamp": {"model": {"prior": {"type": "vamp", "components": 12}}},
    "diffusion": {"model": {"prior": {"type": "diffusion", "steps": 6, "hidden": [16]}}},
    "sphere": {
        "model": {"latent_dim": 4, "posterior": "von-mises-fisher", "prior": "uniform-sphere"}
    },
    "hamiltonian": {"model": {"latents": "hamiltonian"}},
    "ladder": {
        "model": {
            "latents": "ladder",
            "encoder": CONV,
            "decoder": {"type": "conv", "channels": [16]},
        }
    },
    "m2": {"model": {"latents": "class-and-style"}, "objective": "m2"},
}
LARGEST = {"gumbel": 45}
"""The largest number of lines of some variants, without imports and blank lines."""
INTO = {
    "vamp": ["decoder"],
    "diffusion": ["encoder", "prior", "decoder"],
    "sphere": ["encoder", "decoder"],
    "hamiltonian": ["encoder", "decoder"],
    "ladder": ["encoder", "decoder"],
}
"""Where the condition goes in the conditional version; the class of m2 is its condition."""
NOT_EXPORTED = {"hamiltonian": "differentiate within a pass"}


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is installed like a stranger's."""


def blocks(name, spec, **train):
    """The spec of a variant, short, with binary digits."""
    changes = VARIANTS[name]
    metrics = ["elbo", "rate"] + ([] if name == "diffusion" else [{"type": "nll", "samples": 5}])
    return spec(
        **changes,
        name=name,
        data={"binarize": "dynamic"},
        train={"epochs": None, "steps": 14, **train},
        evaluate=metrics,
    )


def call(*arguments):
    cli.main([str(item) for item in arguments], prog_name="vaezoo", standalone_mode=False)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_command_takes_the_variant(name, spec, tmp_path, capsys):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(blocks(name, spec)))
    call("run", path, "--out", tmp_path / "runs")
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "report.html").is_file() and (run / "pictures/samples.png").is_file()
    for command in ("sample", "reconstruct", "interpolate"):
        call(command, run, "--out", tmp_path / f"{command}.png")
    colder = ("sample", run, "--prior-temperature", 0.5, "--out", tmp_path / "colder.png")
    if name == "diffusion":
        with pytest.raises(UsageError, match="a temperature is not defined for Diffusion"):
            call(*colder)
    else:
        call(*colder)
    call("encode", run, "-n", 5, "--out", tmp_path / "z.npz")
    call("evaluate", run, "--metric", "elbo")
    if name in NOT_EXPORTED:
        with pytest.raises(UsageError, match=NOT_EXPORTED[name]):
            call("export", run, "--format", "torch-export", "--out", tmp_path / "exported")
    else:
        call("export", run, "--format", "torch-export", "--out", tmp_path / "exported")
    call("publish", run, "--name", f"{name}/digits@1", "--to", tmp_path / "lab")
    model, loaded = (
        vaezoo.open_run(run, device="cpu").model,
        vaezoo.load(f"lab:{name}/digits@1", registry=tmp_path / "lab"),
    )
    assert torch.equal(model.sample(3, seed=1), loaded.sample(3, seed=1))
    assert np.load(tmp_path / "z.npz")["mean"].shape == (
        5,
        model.encode(torch.zeros(1, 1, 8, 8)).shape[1],
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_contracts_hold(name, spec):
    check_spec(blocks(name, spec))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_resumed_run_has_the_same_bits(name, spec, resumes_exactly):
    resumes_exactly(6, **{**blocks(name, spec, log_every=3, ema=0.9), "name": "tiny"})


@pytest.mark.parametrize("name", INTO)
def test_the_conditional_version_trains_and_samples(name, spec):
    condition = {"type": "label", "into": INTO[name]}
    changes = blocks(name, spec)
    changes["model"] = {**changes["model"], "condition": condition}
    check_spec(changes)
    _, train, (task,) = prepare_training(load_spec(changes), CPU)
    model = task.model.eval()
    samples = [model.sample(3, condition=digit, seed=0) for digit in (1, 2)]
    assert samples[0].shape == (3, 1, 8, 8) and not torch.equal(*samples)
    batch = train.first(4)
    assert model.reconstruct(batch.x, batch.condition).shape == (4, 1, 8, 8)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """30 binary sequences of 3 to 6 steps and 4 columns."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, 7, 30)
    path = tmp_path_factory.mktemp("sequences") / "sequences.npz"
    x = (generator.random((lengths.sum(), 4)) < 0.3).astype(np.uint8)
    np.savez(path, x=x, lengths=lengths)
    return path


@pytest.mark.parametrize("name", ["vamp", "diffusion", "sphere"])
def test_the_sequence_version_trains_and_samples(name, sequences):
    changes = {
        "spec": "vaezoo/v1",
        "name": name,
        "data": {"type": "sequences", "path": str(sequences), "batch_size": 8},
        "model": {
            "encoder": {"type": "recurrent", "units": 8},
            "latents": {"type": "recurrent", "units": 8},
            "decoder": {"type": "steps", "hidden": [8]},
            "likelihood": "bernoulli",
            "latent_dim": 4,
            **VARIANTS[name]["model"],
        },
    }
    check_spec(changes)
    _, train, (task,) = prepare_training(load_spec(changes), CPU)
    model, batch = task.model.eval(), train.first(4)
    assert model.sample(3, steps=5, seed=0).shape == (3, 5, 4)
    path = model.interpolate(batch.select(slice(2)), batch.select(slice(2, 4)), 4)
    assert path.shape[:2] == (2, 4)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_compiled_step_is_one_graph_or_declared_eager(name, spec, graphs_of):
    _, train, (task,) = prepare_training(load_spec(blocks(name, spec)), CPU)
    if is_eager(task):
        assert name == "hamiltonian"
        return
    assert 1 <= graphs_of(task, train.first(32)) <= 2


def test_an_eager_component_is_trained_without_compilation(spec, train, monkeypatch):
    monkeypatch.setattr("torch.compile", lambda *a, **k: pytest.fail("the task was compiled"))
    run = train(**blocks("hamiltonian", spec, compile=True))
    assert run.evaluation["metrics"]["elbo"]["examples"] == 270


def test_the_averaged_vampprior_encodes_with_the_averaged_encoder(spec, train, monkeypatch):
    trainers, latest = [], []
    fit = Trainer.fit

    def fit_and_copy(trainer):
        fit(trainer)
        trainers.append(trainer)
        latest.append(deepcopy(trainer.task.model))  # before the averaged weights replace it

    monkeypatch.setattr(Trainer, "fit", fit_and_copy)
    run = train(**blocks("vamp", spec, ema=0.9, steps=6))
    (trainer,) = trainers
    averaged = trainer.evaluation_task.model
    assert averaged is not trainer.task.model and run.model is trainer.task.model
    x = torch.rand(5, 1, 8, 8)
    priors = []
    for model in (averaged, *latest, run.model):
        model.eval()
        trace = model.infer(model.start_inference(vaezoo.Batch(x)))
        pseudo_inputs = model.latents.prior.pseudo_inputs.sigmoid()
        expected = model.posterior(vaezoo.Batch(pseudo_inputs)).mean
        priors.append(trace.sites[0].p.loc)
        torch.testing.assert_close(priors[-1], expected)
    assert not torch.allclose(*priors[:2]), "the averaged weights differ from the latest ones"
    torch.testing.assert_close(priors[2], priors[0], msg="the averaged weights are selected")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"posterior": "von-mises-fisher"}},
            r":\d+:3: model\.posterior: prior 'standard-normal' is a distribution over real "
            r"values, but latent variable 'z' has the support 'sphere'",
        ),
        (
            {"model": {"posterior": "von-mises-fisher", "prior": "standard-normal"}},
            r":\d+:3: model\.prior: prior 'standard-normal' is a distribution over real values",
        ),
        (
            {"model": {"posterior": "von-mises-fisher", "latents": "hamiltonian"}},
            r":\d+:3: model\.posterior: .* latents 'hamiltonian' cannot use; they take real",
        ),
        (
            {"model": {"prior": "uniform-sphere"}},
            r":\d+:\d+: model\.prior: prior 'uniform-sphere' is a distribution over sphere "
            r"values, but latent variable 'z' has the support 'real'",
        ),
        (
            {"model": {"encoder": CONV, "latents": "symbol-map", "prior": "standard-normal"}},
            r":\d+:\d+: model\.prior: .* has the support 'symbols'",
        ),
        (
            {"model": {"prior": "diffusion"}, "objective": "iwae"},
            r":\d+:\d+: objective: objective 'iwae' is not defined here: the prior of latent "
            r"variable 'z' has only a bound",
        ),
        (
            {"model": {"prior": "diffusion"}, "evaluate": ["elbo", "nll"]},
            r":\d+:\d+: evaluate\.1: metric 'nll' is not defined here: the prior of latent",
        ),
        (
            {"model": {"prior": "vamp", "condition": {"type": "label", "into": ["encoder"]}}},
            r":\d+:\d+: model\.prior: prior 'vamp': pseudo-inputs have no condition",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_line(changes, message, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec(**changes)))
    with pytest.raises((SpecError, vaezoo.VaezooError), match=message):
        call("run", path, "--dry-run")


def test_figures_with_a_bounded_prior_say_so(spec, train):
    run = train(**blocks("diffusion", spec))
    assert "every ELBO here is computed with it" in render_page(report_data(run), {})
    metrics = run.evaluation["metrics"]
    assert metrics["elbo"]["unit"] == "nats per example, with a lower bound of log p(z)"
    assert metrics["rate"]["unit"] == "nats per example, upper bound"
    with pytest.raises(NotImplementedError, match="only a bound"):
        run.model.log_likelihood(torch.zeros(2, 1, 8, 8))
    trace = run.model(vaezoo.Batch(torch.zeros(2, 1, 8, 8)), 3)
    with pytest.raises(NotImplementedError, match="only a bound"):
        _ = trace.log_weight


def test_a_sphere_is_interpolated_on_the_sphere_and_not_traversed(spec):
    _, train, (task,) = prepare_training(load_spec(blocks("sphere", spec)), CPU)
    model, batch = task.model.eval(), train.first(4)
    z = model.encode(batch.x)
    path = model.latents.interpolate(z[:2], z[2:], torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=-1), torch.ones(2, 5))
    torch.testing.assert_close(path[:, 0], z[:2])
    with pytest.raises(NotImplementedError, match="leave the support 'sphere'"):
        model.traverse(batch.select(slice(1)), torch.tensor([0]))


def test_a_map_of_symbols_is_trained_and_encoded_as_its_most_probable_symbols(spec, train):
    symbols = {"encoder": CONV, "latents": "symbol-map", "prior": "uniform-symbols"}
    decoder = {"type": "conv", "channels": [16, 8]}
    changes = spec(model={**symbols, "decoder": decoder}, train={"epochs": None, "steps": 5})
    check_spec(changes)
    run = train(**changes)
    batch = run.data().first(4)
    (space,) = run.model.spaces
    assert space == vaezoo.Space((2, 2), "symbols", size=16)
    z = run.model.encode(batch.x)
    assert torch.equal(
        z, run.model.posterior(batch).base_dist.logits.argmax(-1).flatten(1).float()
    )
    assert run.model.sample(3, seed=0).shape == (3, 1, 8, 8)
    assert bool(torch.isfinite(run.model.log_likelihood(batch.x, 5)).all())


def test_each_latent_variable_has_its_own_path(spec):
    model = {"posterior": "von-mises-fisher", "prior": "uniform-sphere", "latent_dim": 3}
    changes = spec(model={**model, "latents": "class-and-style"}, objective="m2")
    _, train, (task,) = prepare_training(load_spec(changes), CPU)
    z = task.model.eval().encode(train.first(4).x)
    path = task.model.latents.interpolate(z[:2], z[2:], torch.linspace(0, 1, 3))
    torch.testing.assert_close(path[:, 1, :10], (z[:2, :10] + z[2:, :10]) / 2)
    torch.testing.assert_close(path[..., 10:].norm(dim=-1), torch.ones(2, 3))
    with pytest.raises(NotImplementedError, match="leave the support 'one-hot'"):
        task.model.traverse(train.first(1), torch.tensor([0]))


def test_components_nest_with_their_wiring(spec, tmp_path):
    mlp = {"type": "mlp", "hidden": [8]}
    branches = {"wide": {"type": "ensemble", "members": [mlp, mlp]}, "image": CONV}
    encoder = {"type": "parallel", "branches": branches}
    changes = spec(model={"encoder": encoder})
    check_spec(changes)
    _, _, (task,) = prepare_training(load_spec(changes), CPU)
    names = [name for name, _ in task.model.encoder.named_children()]
    assert names == ["branches"] and list(task.model.encoder.branches) == ["wide", "image"]
    resolved = load_spec(changes).resolved()["model"]["encoder"]["branches"]
    assert resolved["wide"]["members"][1]["hidden"] == [8]
    schema = json_schema(discovery.catalogue())
    Draft202012Validator(schema).validate(changes)
    assert describe("encoder", "parallel")["options"][0]["type"] == "encoder by name"
    assert describe("encoder", "ensemble")["options"][0]["type"] == "list of encoder"
    again = load_spec(dump(load_spec(changes).resolved()), text=True)
    assert again.resolved() == load_spec(changes).resolved()


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ({"a": {"type": "mlp", "hiden": [8]}}, r"model\.encoder\.branches\.a\.hiden: .*'hidden'"),
        ({"a": "convv"}, r"model\.encoder\.branches\.a: no encoder named 'convv'"),
        (["mlp"], r"model\.encoder\.branches: "),
        (
            {"a": {"type": "conv", "channels": [8] * 5}},
            r"model\.encoder\.branches\.a: encoder 'conv': an image of 8x8 is too small",
        ),
    ],
)
def test_errors_in_nested_components_are_at_their_line(branches, message, spec, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec(model={"encoder": {"type": "parallel", "branches": branches}})))
    with pytest.raises(SpecError, match=r"spec\.yaml:\d+:\d+: " + message):
        prepare_training(load_spec(path), CPU)


def lines_of(path):
    """The lines of a module without imports and blank lines."""
    source = path.read_text("utf-8")
    imports = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    return [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and number not in imports
    ]


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.py")), ids=lambda path: path.stem)
def test_variants_use_public_names_only(path):
    public = set(vaezoo.__all__)
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            assert all(name == "vaezoo" or not name.startswith("vaezoo") for name in names)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vaezoo"):
            assert node.module in ("vaezoo", "vaezoo.nn", "vaezoo.distributions"), node.module
            assert not any(alias.name.startswith("_") for alias in node.names)
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            assert owner != "vaezoo" or node.attr in public, node.attr
            assert owner == "self" or not re.match(r"_(?!_init__)", node.attr), node.attr
    with open(path, "rb") as file:
        words = {token.string for token in tokenize.tokenize(file.readline)}
    assert not words & {"weakref", "__dict__", "sys", "setattr", "modules", "vars"}


@pytest.mark.parametrize("name", LARGEST)
def test_variants_are_short(name):
    assert len(lines_of(SOURCES / f"{name}.py")) <= LARGEST[name]


def test_the_table_of_variants_states_their_lines():
    page = (Path(__file__).parents[2] / "docs/architecture.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| .*\(`(\w+)`\) \| (\d+) \|", page, re.MULTILINE))
    assert rows == {name: str(len(lines_of(SOURCES / f"{name}.py"))) for name in rows}
    assert {*VARIANTS} - {"vamp", "hamiltonian", "sphere"} <= {*rows}, "those are in plugins"
