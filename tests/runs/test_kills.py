"""Kills, signals, locks and damaged checkpoints."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import IntegrityError, Interrupted, UsageError
from vaezoo.utils.files import read_json, write_json

LONG = {
    "epochs": 6,
    "log_every": 3,
    "checkpoint_every": 0,
    "ema": 0.9,
    "scheduler": "cosine-annealing",
}
DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "of zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "without its beginning": lambda path: path.write_bytes(path.read_bytes()[8:]),
}


def go_on(spec, out, overrides=()):
    """Starts a run, or resumes the existing one."""
    from pathlib import Path

    import torch

    import vaezoo.runs.report.page
    from vaezoo.runs.start import resume, run
    from vaezoo.utils.errors import Interrupted

    torch.set_num_threads(1)
    vaezoo.runs.report.page.write_report = lambda finished: None
    there = [path.parent for path in Path(out).glob("*/*/spec.yaml")]

    def print_line(line):
        with open(f"{out}.said", "a") as said:
            print(line, file=said)

    try:
        resume(there[0], overrides, print_line=print_line) if there else run(
            spec, out=out, print_line=print_line
        )
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None


def when_training(process, said):
    """Waits until the process prints a line, which it does when training begins."""
    size, end = said.stat().st_size if said.exists() else 0, time.monotonic() + 60
    while not (said.exists() and said.stat().st_size > size):
        assert process.is_alive() and time.monotonic() < end, "training never began"
        process.join(0.005)


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
    train, spec, child, tmp_path, left_by, same
):
    complete, out, moments = train(train=LONG), tmp_path / "killed", random.Random()
    for _ in range(5):
        victim = child(go_on, spec(train=LONG), str(out))
        when_training(victim, tmp_path / "killed.said")
        victim.join(moments.uniform(0, 0.3))
        victim.kill()
        victim.join()
        if victim.exitcode == 0:
            break
        assert victim.exitcode == -9
    last = child(go_on, spec(train=LONG), str(out))
    last.join(60)
    assert last.exitcode == 0
    (path,) = (result.parent for result in out.glob("tiny/*/spec.yaml"))
    same(left_by(complete.path)[1], left_by(path)[1])
    reported = [(record["split"], record["step"]) for record in RunDirectory(path).records()]
    assert reported == [(record["split"], record["step"]) for record in complete.records]
    assert not list(path.rglob(".tmp-*"))


def test_sigterm_leaves_a_checkpoint_that_ends_with_the_same_bits(
    train, spec, child, tmp_path, left_by, same
):
    endless = {
        **LONG,
        "epochs": None,
        "steps": 1_000_000,
        "checkpoint_every": 3600,
        "scheduler": None,
    }
    complete, out = train(train={**endless, "steps": 400}), tmp_path / "stopped"
    stopped = child(go_on, spec(train=endless), str(out))
    when_training(stopped, tmp_path / "stopped.said")
    stopped.join(random.uniform(0, 0.2))
    stopped.terminate()
    stopped.join(60)
    assert stopped.exitcode == 130
    (path,) = out.glob("tiny/*")
    (checkpoint,) = RunDirectory(path).checkpoint_files()
    assert int(checkpoint.stem.removeprefix("step-")) < 400
    last = child(go_on, spec(), str(out), ["train.steps=400"])
    last.join(60)
    assert last.exitcode == 0
    same(left_by(complete.path)[1], left_by(path)[1])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_newest_checkpoint_falls_back_when_it_is(
    damage, train, interrupted, again, stop_at, left_by, same
):
    block = {"checkpoint_every": 0, "callbacks": ["csv"]}
    complete = train(train=block)
    path = interrupted(train=block, callbacks=[stop_at(24)])
    older, newest = RunDirectory(path).checkpoint_files()
    assert (older.name, newest.name) == (
        "step-000000020.safetensors",
        "step-000000024.safetensors",
    )
    DAMAGES[damage](newest)
    lines = []
    with pytest.warns(UserWarning, match=rf"{newest.name}: .*; {older.name} is used instead"):
        again(path, print_line=lines.append)
    assert sum("step 20 of 30" in line for line in lines) == 1
    same(left_by(complete.path)[1], left_by(path)[1])
    assert (path / "validation.csv").read_text() == (complete.path / "validation.csv").read_text()


def test_a_damaged_checkpoint_does_not_outlive_a_good_one(interrupted, again, stop_at):
    """The run resumes from an older checkpoint and keeps the ones that it then saves."""
    block = {"checkpoint_every": 0, "log_every": 1, "keep": 3}
    path = interrupted(train=block, callbacks=[stop_at(24)])
    directory = RunDirectory(path)
    for damaged in directory.checkpoint_files()[1:]:
        DAMAGES["empty"](damaged)
    with (
        pytest.raises(Interrupted, match=r"stopped at step 23 of 30; .*step-000000023"),
        pytest.warns(UserWarning, match="is used instead"),
    ):
        again(path, ["train.keep=1"], callbacks=[stop_at(23)])
    assert directory.load_checkpoint()["step"] == 23


def test_nothing_is_left_to_resume_when_every_checkpoint_is_damaged(interrupted, again, stop_at):
    path = interrupted(train={"checkpoint_every": 0}, callbacks=[stop_at(24)])
    for checkpoint in RunDirectory(path).checkpoint_files():
        DAMAGES["cut short"](checkpoint)
    with pytest.raises(IntegrityError) as caught:
        again(path)
    assert "step-000000024" in str(caught.value) and "step-000000020" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_another_process_holds_is_refused(interrupted, again, stop_at):
    path = interrupted(callbacks=[stop_at(4)])
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print(flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path / ".lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        holder.stdout.readline()
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        with pytest.raises(UsageError, match=f"{path}: process {holder.pid} is using this run"):
            again(path)
        holder.send_signal(signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        stopped = rf"process {holder.pid} \(stopped: kill -CONT {holder.pid} continues it\) is"
        with pytest.raises(UsageError, match=stopped):
            again(path)
        holder.send_signal(signal.SIGCONT)
        assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    again(path)


def forget_spec(path):
    """Leaves a run as earlier versions did, which did not record the spec."""
    environment = read_json(path / "environment.json")
    del environment["spec"]
    write_json(path / "environment.json", environment)


def change(path, **train):
    """Changes options of the block ``train`` in the spec of a run of an earlier version."""
    forget_spec(path)
    resolved = load_spec(path / "spec.yaml").resolved()
    (path / "spec.yaml").write_text(dump({**resolved, "train": {**resolved["train"], **train}}))


def test_a_checkpoint_of_another_model_is_refused_by_the_names_of_its_tensors(
    interrupted, again, stop_at
):
    path = interrupted(callbacks=[stop_at(8)])
    forget_spec(path)
    spec = (path / "spec.yaml").read_text()
    (path / "spec.yaml").write_text(spec.replace("latent_dim: 2", "latent_dim: 3"))
    with pytest.raises(IntegrityError) as caught:
        again(path)
    assert "model.decoder.net.0.weight is (16, 2), expected (16, 3)" in str(caught.value)
    (path / "spec.yaml").write_text(spec.replace("hidden: [16]", "hidden: [16, 16]", 1))
    with pytest.raises(IntegrityError, match=r"missing model\.encoder\.net\.2\.bias"):
        again(path)


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9}},
        {"optimizer": {"type": "adagrad"}},
        {"scheduler": {"type": "exponential", "gamma": 0.9}},
        {"ema": 0.9},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_training_is_refused_in_one_line(
    other, interrupted, again, stop_at
):
    path = interrupted(callbacks=[stop_at(8)])
    change(path, **other)
    with pytest.raises(IntegrityError) as caught:
        again(path)
    assert "\n" not in str(caught.value)
