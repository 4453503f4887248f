"""Trains models in two processes and in stages: equal ELBOs, and exact resumption after kills.

    python benchmarks/processes.py elbo     # a minute on two cores
    python benchmarks/processes.py kills    # ten kills: six minutes on two cores
    python benchmarks/processes.py stages   # the same of a run with stages, in one process

The first compares one process with two. The others kill a random process with SIGKILL at a random
moment, measure how long the other one took to end and count its errors, resume, and compare the
results with those of an undisturbed run. Linux only: they find the processes in /proc.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from vaezoo.utils.files import read_tensors

EXAMPLES = Path(__file__).parents[1] / "examples"
SPEC = EXAMPLES / "vae-digits.yaml"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
STAGES = EXAMPLES / "stages-digits.yaml"
LIMIT = 600.0


@dataclass(frozen=True)
class Kill:
    """How a run ended of which one process was killed.

    Attributes:
        rank: of the killed process.
        moment: seconds from the start of the run to the kill.
        seconds: how long the other process took to end; 0 without another.
        errors: the number of lines with which vaezoo reported it.
    """

    rank: int
    moment: float
    seconds: float
    errors: int


def start(processes: int, *arguments: str | Path) -> subprocess.Popen[str]:
    launcher = TORCHRUN if processes == 2 else ()
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "vaezoo", "-q", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Waits for a command and returns what it wrote on stderr."""
    _, text = process.communicate(timeout=LIMIT)
    return text


def train(processes: int, *arguments: str | Path) -> None:
    process = start(processes, *arguments)
    text = finish(process)
    if process.returncode:
        raise SystemExit(text)


def directory_in(out: Path) -> Path | None:
    return next(iter(out.glob("*/*")), None)


def read_elbo(out: Path) -> tuple[float, float]:
    path = directory_in(out)
    assert path is not None
    row = json.loads((path / "evaluation.json").read_text("utf-8"))["metrics"]["elbo"]
    return row["value"], row["standard_error"]


def compare_elbo(folder: Path) -> None:
    figures = {}
    for processes in (1, 2):
        train(processes, "run", SPEC, "--out", folder / str(processes))
        figures[processes] = value, error = read_elbo(folder / str(processes))
        print(f"{processes} process{'es' * (processes > 1)}: ELBO {value:.3f} ± {error:.3f}")
    (first, first_error), (second, second_error) = figures[1], figures[2]
    difference, limit = second - first, 3 * math.hypot(first_error, second_error)
    verdict = "within" if abs(difference) <= limit else "OUTSIDE"
    print(f"difference {difference:+.3f}, {verdict} 3 standard errors of it ({limit:.3f})")


def worker(launcher: int, rank: int) -> int | None:
    """The id of the process of a rank that torchrun has started; None before that."""
    try:
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        for child in children:
            if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
                return int(child)
    except OSError:  # it has ended meanwhile
        pass
    return None


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def kill_alone(process: subprocess.Popen[str], moment: float) -> Kill | None:
    """Kills a run of one process; returns None if it ended before the moment."""
    try:
        process.wait(moment)
        return None
    except subprocess.TimeoutExpired:
        process.kill()
        finish(process)
        return Kill(0, moment, 0.0, 0)


def kill_of_two(process: subprocess.Popen[str], rank: int, moment: float) -> Kill | None:
    """Kills a process of a run; returns None if it ended before the moment.

    Before the processes exist, this waits for them.
    """
    time.sleep(moment)
    while process.poll() is None:
        killed, other = worker(process.pid, rank), worker(process.pid, 1 - rank)
        if killed is not None and other is not None:
            break
        time.sleep(0.01)
    else:
        return None
    os.kill(killed, signal.SIGKILL)
    killed_at = time.monotonic()
    while is_alive(other):
        time.sleep(0.002)
    seconds = time.monotonic() - killed_at
    errors = len(re.findall("^error: ", finish(process), re.MULTILINE))
    return Kill(rank, moment, seconds, errors)


def is_equal(first: Path, second: Path) -> bool:
    """Whether weights and evaluations of two finished runs are equal to the last bit."""
    tensors, others = (read_tensors(path / "model.safetensors")[0] for path in (first, second))
    return (
        tensors.keys() == others.keys()
        and all(torch.equal(tensors[name], others[name]) for name in tensors)
        and (first / "evaluation.json").read_bytes() == (second / "evaluation.json").read_bytes()
    )


def compare_kills(folder: Path, spec: Path, processes: int, *, kills: int, seed: int) -> None:
    options = ("-s", "train.checkpoint_every=0.5", "--out")
    started_at = time.monotonic()
    train(processes, "run", spec, *options, folder / "undisturbed")
    duration = time.monotonic() - started_at
    undisturbed = directory_in(folder / "undisturbed")
    assert undisturbed is not None
    print(f"an undisturbed run takes {duration:.1f} s", flush=True)
    numbers, results, equal = random.Random(seed), [], 0
    for index in range(kills):
        rank, moment = numbers.randrange(processes), numbers.uniform(0, duration)
        out = folder / str(index)
        process = start(processes, "run", spec, *options, out)
        if processes == 2:
            result = kill_of_two(process, rank, moment)
        else:
            result = kill_alone(process, moment)
        path = directory_in(out)
        has_model = path is not None and (path / "model.safetensors").is_file()
        if path is None:
            train(processes, "run", spec, *options, out)
        else:
            train(processes, "resume", path)
        resumed = directory_in(out)
        assert resumed is not None
        same = is_equal(resumed, undisturbed)
        equal += same
        print(f"{index}: {describe(result, path is not None, has_model)}; ", end="")
        print("equal" if same else "DIFFERENT", flush=True)
        results += [result] if result else []
    print(f"{equal} of {kills} equal; {len(results)} were killed before their end")
    if processes == 2:
        longest = max(result.seconds for result in results)
        reported = sum(result.errors == 1 for result in results)
        print(f"the other process ended within {longest:.2f} s")
        print(f"{reported} of {len(results)} kills were reported with one line")


def describe(result: Kill | None, was_started: bool, has_model: bool) -> str:
    if result is None:
        return "ended before the kill"
    period = "evaluation" if has_model else "training" if was_started else "start-up"
    killed = f"process {result.rank} killed at {result.moment:.1f} s in {period}"
    if not result.seconds:
        return killed
    lines = f"{result.errors} line{'s' * (result.errors != 1)}"
    return f"{killed}, the other ended after {result.seconds:.2f} s with {lines}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("elbo", "kills", "stages"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "elbo":
            compare_elbo(Path(folder))
            return
        spec, processes = (SPEC, 2) if options.part == "kills" else (STAGES, 1)
        compare_kills(Path(folder), spec, processes, kills=options.kills, seed=options.seed)


if __name__ == "__main__":
    main()
