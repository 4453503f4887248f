"""Training in two processes, with gloo on one machine."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed as dist

from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.files import read_tensors
from vaezoo.utils.process_group import ProcessGroup

UNEVEN = {"data": {"batch_size": 25}, "train": {"epochs": None, "steps": 8, "log_every": 1}}
NORM = {"model": {"encoder": {"type": "mlp", "hidden": [16], "norm": "batch"}}}
LIVELY = {
    "data": {"binarize": "dynamic"},
    "train": {"ema": 0.9, "scheduler": "cosine-annealing", "clip": 5.0},
}


def member(rank, folder, spec, plan):
    """One of two processes: trains, resumes after an interruption, and writes its results."""
    import json
    import os
    import signal
    import time
    from datetime import timedelta
    from pathlib import Path

    import torch
    import torch.distributed as dist

    import vaezoo.runs.report.page
    from vaezoo.components.latents import Single
    from vaezoo.components.regularizers import KL
    from vaezoo.model.task import Task
    from vaezoo.model.trace import Site
    from vaezoo.runs.directory import RunDirectory
    from vaezoo.runs.start import resume, run
    from vaezoo.training.trainer import Trainer
    from vaezoo.utils.errors import Interrupted, VaezooError
    from vaezoo.utils.files import write_tensors

    def without_noise(self, inference):
        q = self.posterior(inference.features[-1].flatten(1).float())
        z = q.mean.expand(inference.k, *q.mean.shape)
        return (Site("z", z, q, inference.p(self.prior)),), z

    def set_step(task, step, original=Task.set_step):
        original(task, step)
        seeds.append(torch.initial_seed())
        if step and step + 1 == plan.get("stop_at") and rank in plan["stopped"]:
            plan["stopped"] = []
            os.kill(os.getpid(), signal.SIGINT)

    def fit(self, original=Trainer.fit):
        trainers.append(self)
        original(self)

    torch.set_num_threads(1)
    vaezoo.runs.report.page.write_report = lambda finished: None
    Task.set_step, Trainer.fit, trainers, seeds = set_step, fit, [], []
    if plan.get("without_noise"):
        Single.infer = without_noise
    if plan.get("slow"):
        save = RunDirectory.save_checkpoint
        RunDirectory.save_checkpoint = lambda *args: (time.sleep(0.5), save(*args))[1]
    if plan.get("spoiled") == rank:
        KL.forward = lambda self, trace: trace.rate.mean(0) * float("nan")
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=15)
    )
    reported, tensors = {}, {}
    try:
        try:
            done = run(spec, out=f"{folder}/runs")
        except Interrupted as error:
            reported["interrupted"] = str(error)
            (path,) = Path(folder, "runs", "tiny").iterdir()
            reported["checkpoints"] = [file.name for file in path.rglob("step-*")]
            dist.barrier()
            done = resume(path)
        tensors = {f"best/{name}": tensor for name, tensor in done.model.state_dict().items()}
        last = (
            trainers[-1].evaluation_task.state_dict()
            if trainers[-1].ema
            else trainers[-1].task.state_dict()
        )
        tensors |= {f"last/{name}": tensor for name, tensor in last.items()}
        reported |= {
            "mode": done.model.training,
            "best": trainers[-1].selection.best["step"],
            "step": trainers[-1].step,
        }
    except (VaezooError, KeyboardInterrupt, RuntimeError) as error:
        reported["failed"] = f"{type(error).__name__}: {error}"
    header = {
        "told": json.dumps(reported),
        "seeds": json.dumps(seeds[1:]),
    }  # without that of the composition
    write_tensors(Path(folder, f"rank{rank}.safetensors"), tensors, header)
    dist.destroy_process_group()


@pytest.fixture
def pair(child, spec, tmp_path):
    """Trains a spec in two processes; returns the tensors and texts of each, and the run paths."""

    def train(name="pair", plan=None, **blocks):
        folder = tmp_path / name
        folder.mkdir()
        members = [child(member, rank, str(folder), spec(**blocks), plan or {}) for rank in (0, 1)]
        for process in members:
            process.join(60)
            assert process.exitcode == 0
        tensors, headers = zip(
            *(read_tensors(folder / f"rank{rank}.safetensors") for rank in (0, 1)), strict=True
        )
        train.seeds = [json.loads(header["seeds"]) for header in headers]
        return (
            tensors,
            [json.loads(header["told"]) for header in headers],
            list((folder / "runs").glob("*/*")),
        )

    return train


def test_two_processes_end_with_the_same_weights_and_one_directory(pair, same):
    (first, second), reported, paths = pair(**LIVELY)
    same(first, second)
    assert reported[0] == reported[1] and reported[0]["mode"] is False
    (path,) = paths
    remaining = {
        f"best/{name}": tensor
        for name, tensor in read_tensors(path / "model.safetensors")[0].items()
    }
    same(remaining, {name: tensor for name, tensor in second.items() if name.startswith("best/")})


def test_two_processes_write_every_record_once(pair, train):
    _, _, (path,) = pair(**LIVELY)
    alone, together = train(**LIVELY).records, RunDirectory(path).records()
    for key in ("split", "step", "epoch", "lr"):
        assert [record.get(key) for record in together] == [record.get(key) for record in alone]
    assert json.loads((path / "evaluation.json").read_text())["metrics"]["elbo"]["examples"] == 270


@pytest.mark.parametrize(
    "blocks", [{}, {"train": {"accumulate": 2}}, UNEVEN], ids=["even", "in parts", "uneven"]
)
def test_two_processes_take_the_steps_of_one(blocks, pair, train, without_noise):
    """Without noise, nothing but the shares of a batch tells two processes from one."""
    (first, _), _, (path,) = pair(plan={"without_noise": True}, **blocks)
    alone = train(**blocks)
    for name, weight in alone.model.state_dict().items():
        torch.testing.assert_close(first[f"best/{name}"], weight, atol=1e-5, rtol=1e-4)
    for one, other in zip(RunDirectory(path).records(), alone.records, strict=True):
        for key in one.keys() - {"time", "examples_per_second", "best", "split"}:
            assert one[key] == pytest.approx(other[key], rel=2e-5), (key, one["step"])


@pytest.mark.parametrize("stopped", [[0], [0, 1], [1]], ids=["the first", "both", "the second"])
def test_a_signal_to_some_process_stops_all_and_the_run_goes_on_exactly(stopped, pair, same):
    """A Ctrl-C reaches every process of a terminal; a scheduler may signal one of them."""
    (complete, _), _, _ = pair("whole", **LIVELY)
    (first, second), reported, paths = pair(
        "stopped", {"stop_at": 14, "stopped": stopped}, **LIVELY
    )
    assert len(paths) == 1
    for each in reported:
        assert "failed" not in each, each["failed"]
        assert each["interrupted"].startswith("stopped at step 16 of 30;")
    same(complete, first)
    same(complete, second)


def test_no_process_ends_before_the_checkpoint_is_written(pair):
    """What starts the processes may kill the others when one of them ends."""
    _, reported, _ = pair(plan={"stop_at": 14, "stopped": [0], "slow": True}, train={"epochs": 2})
    assert [each["checkpoints"] for each in reported] == [["step-000000016.safetensors"]] * 2


def test_processes_agree_on_the_best_weights_where_layers_keep_statistics(pair, same):
    tensors, reported, _ = pair(**NORM)
    assert reported[0] == reported[1]
    same(*tensors)


def test_every_process_and_every_step_has_noise_of_its_own(pair):
    pair(train={"epochs": 1})
    assert [len(seeds) for seeds in pair.seeds] == [10, 10]
    assert len({*pair.seeds[0], *pair.seeds[1]}) == 20


def test_a_term_that_is_not_finite_in_one_process_stops_both(pair):
    _, reported, _ = pair(plan={"spoiled": 1})
    for each in reported:
        assert each["failed"].startswith("TrainingError: kl is nan at step 1 (")


def test_a_mean_over_processes_leaves_the_callers_numbers_alone(monkeypatch):
    """The other process of this one has nines everywhere."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, *a: tensor.add_(9.0 / 2))
    own = torch.tensor([1.0, 3.0])
    assert ProcessGroup(0, 2).mean(own).tolist() == [5.0, 6.0]
    assert own.tolist() == [1.0, 3.0]
    assert ProcessGroup().mean(own) is own


def test_gradients_are_summed_where_one_process_has_none(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, *a: tensor.add_(1.0))
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))]
    weights[0].grad = torch.arange(6.0).reshape(2, 3)
    ProcessGroup(1, 2).sum_gradients(weights)
    assert weights[0].grad.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert weights[1].grad.tolist() == [1.0] * 4
