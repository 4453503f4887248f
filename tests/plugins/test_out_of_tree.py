"""An out-of-tree package adds an encoder, a critic, a conditioner and a prior."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pytest
import torch

import vaezoo
from tests.commands import VAEZOO, run_forked
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import PluginError, SpecError
from vaezoo.utils.files import read_tensors

SPEC = {
    "spec": "vaezoo/v1",
    "name": "tiny",
    "requires": ["vaezoo-tiny>=0.1"],
    "data": {"type": "digits", "batch_size": 64, "binarize": "dynamic"},
    "model": {
        "latent_dim": 4,
        "encoder": {"type": "tiny", "width": 24},
        "decoder": {"type": "mlp", "hidden": [24]},
        "likelihood": "bernoulli",
    },
    "regularizers": ["kl", {"type": "tiny-critic", "weight": 0.5}],
    "train": {"epochs": 3, "log_every": 10},
}
CONDITIONAL = {
    **SPEC,
    "model": {
        **SPEC["model"],
        "prior": "tiny-conditional",
        "condition": {"type": "tiny-label", "into": ["encoder", "prior", "decoder"]},
    },
}


def phase_optimizers(spec):
    loaded = load_spec(spec)
    _, train, (task,) = prepare_training(loaded, pick_device("cpu"))
    result = [
        PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=100)
        for phase in task.phases()
    ]
    return task, result, train.first(64)


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    return {
        name
        for name, tensor in module.state_dict().items()
        if not torch.equal(before[name], tensor)
    }


def test_an_installed_plugin_trains_by_the_same_loop(installed, tmp_path):
    run = vaezoo.run(copy.deepcopy(SPEC), out=tmp_path)
    record = run.records[0]
    assert {"critic/loss", "tiny-critic", "tiny-critic_weight", "kl"} <= record.keys()
    assert record["loss"] == pytest.approx(
        record["distortion"] + record["kl"] + 0.5 * record["tiny-critic"], rel=1e-4
    )
    weights, _ = read_tensors(run.directory.model)
    assert not any("critic" in name for name in weights), "the critic is no part of the model"
    assert vaezoo.open_run(run.path).model.sample(3).shape == (3, 1, 8, 8)


def test_neither_player_moves_the_others_weights_or_buffers(installed):
    task, (model, critic), batch = phase_optimizers(copy.deepcopy(SPEC))
    before = snapshot(task)
    critic.step(batch, len(batch), measure_norm=False)
    moved = changed(before, task)
    assert moved and all(name.startswith("regularizers.tiny-critic.critic.") for name in moved)
    assert any("running_mean" in name for name in moved), "the critic's own statistics do move"
    before = snapshot(task)
    model.step(batch, len(batch), measure_norm=False)
    moved = changed(before, task)
    assert moved and not any("critic" in name for name in moved)
    assert any("encoder" in name for name in moved) and any("decoder" in name for name in moved)


def test_gradients_of_one_phase_do_not_pile_up_in_the_other(installed):
    task, (model, critic), batch = phase_optimizers(copy.deepcopy(SPEC))
    theirs = list(task.regularizers["tiny-critic"].critic.parameters())
    model.step(batch, len(batch), measure_norm=False)
    assert all(parameter.grad is None for parameter in theirs)
    for parameter in task.model.parameters():
        parameter.grad = None
    critic.step(batch, len(batch), measure_norm=False)
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert all(parameter.grad is not None for parameter in theirs)


def test_the_penalty_reaches_the_encoder_and_not_the_decoder(installed):
    task, _, batch = phase_optimizers(copy.deepcopy(SPEC))
    trace = task.model(batch)
    task.regularizers["tiny-critic"](trace).sum().backward()
    assert all(p.grad is not None for p in task.model.encoder.parameters())
    assert all(p.grad is None for p in task.model.decoder.parameters())


def test_observing_leaves_buffers_gradients_and_decoder_alone(installed, monkeypatch):
    task, _, batch = phase_optimizers(copy.deepcopy(SPEC))
    before = snapshot(task.model)
    monkeypatch.setattr(
        task.model.decoder, "forward", lambda code: pytest.fail("the decoder was called")
    )
    trace = task.model.infer_detached(batch, 2)
    assert not changed(before, task.model)
    assert trace.px is None and not trace.sites[0].z.requires_grad
    with pytest.raises(ValueError, match="decoder was skipped"):
        _ = trace.distortion


def test_a_condition_reaches_encoder_prior_and_decoder(installed, tmp_path):
    run = vaezoo.run(copy.deepcopy(CONDITIONAL), out=tmp_path)
    model = run.model
    batch = run.data().first(5)
    trace = model(batch, 3)
    assert trace.log_weight.shape == (3, 5)
    other = vaezoo.Batch(batch.x, (batch.condition + 1) % 10)
    assert not torch.allclose(model.posterior_mean(batch), model.posterior_mean(other))
    context = model.context(batch.condition, 5), model.context(other.condition, 5)
    z = torch.zeros(5, 4)
    assert not torch.allclose(
        model.likelihood_of(z, context[0], {}).mean, model.likelihood_of(z, context[1], {}).mean
    )
    assert not torch.allclose(trace.sites[0].p.mean, model(other).sites[0].p.mean)
    assert model.sample(4, torch.tensor([1, 2, 3, 4])).shape == (4, 1, 8, 8)
    assert model.interpolate(batch.x[:2], batch.x[2:4], 3, batch.condition[:2]).shape == (
        2,
        3,
        1,
        8,
        8,
    )
    assert torch.isfinite(model.log_likelihood(batch.x, 20, batch.condition)).all()
    with pytest.raises(ValueError, match="give a condition"):
        model.sample(4)


def test_a_prior_that_cannot_use_a_condition_is_refused(installed):
    spec = copy.deepcopy(CONDITIONAL)
    spec["model"]["prior"] = "standard-normal"
    with pytest.raises(
        SpecError, match=r"model\.prior: prior 'standard-normal' cannot use a condition"
    ):
        prepare_training(load_spec(spec), pick_device("cpu"))


def test_without_the_plugin_the_spec_says_what_to_install():
    with pytest.raises(
        PluginError, match=r"needs vaezoo-tiny>=0.1; pip install 'vaezoo-tiny>=0.1'"
    ):
        load_spec(copy.deepcopy(SPEC))


def test_a_fresh_process_finds_the_plugin_without_importing_its_heavy_module(target):
    code = (
        "import sys; sys.argv = ['vaezoo', 'plugins']\n"
        "try:\n    from vaezoo.cli.main import main; main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in ('torch', 'numpy', 'vaezoo_tiny', 'vaezoo_tiny.components') if m "
        "in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "vaezoo-tiny" in done.stdout and "ok" in done.stdout
    assert done.stdout.strip().endswith("['vaezoo_tiny']")


def test_a_disabled_plugin_is_not_even_imported(target, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(dump({key: value for key, value in SPEC.items() if key != "requires"}))
    code = f"import sys; sys.path.insert(1, {str(target)!r})\n{VAEZOO}"
    command = {"code": code, "VAEZOO_DISABLE_PLUGINS": "vaezoo-tiny"}
    done = run_forked("validate", path, **command)
    assert done.returncode == 3
    assert "no encoder named 'tiny'" in done.stderr
    assert "plugin 'vaezoo-tiny' is disabled" in done.stderr
    allowed = run_forked("validate", path, **{**command, "VAEZOO_DISABLE_PLUGINS": ""})
    assert allowed.returncode == 0, allowed.stderr
