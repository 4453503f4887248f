"""Does the jobs of a suite in local processes, and goes on after an interruption."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from vaezoo.bench.engine import Engine, Job
from vaezoo.bench.failures import failures
from vaezoo.bench.units import FAILURE, PROGRESS, PRUNED
from vaezoo.runs.log import PrintLine
from vaezoo.utils import launch
from vaezoo.utils.errors import Interrupted, UsageError, VaezooError
from vaezoo.utils.exit_codes import EXIT_INTERRUPTED
from vaezoo.utils.files import read_json, write_json
from vaezoo.utils.own_files import open_own_file

_POLL_SECONDS = 0.05
_POLLS_PER_SHOW = 10
_MAX_ATTEMPTS = 3
"""How often a run that was stopped from outside is continued within one call."""


Show = Callable[[float, int, Sequence[str]], None]
"""Shows how many runs are done of how many, and for each that is trained its name and share."""


def run_suite(
    engine: Engine,
    *,
    processes: int,
    retry: bool,
    print_line: PrintLine,
    show: Show = lambda done, total, running: None,
) -> list[tuple[str, str]]:
    """Does what is left of a suite; another call with the same folder goes on.

    Args:
        engine: the suite and its folder.
        processes: how many run at once.
        retry: whether runs that failed before are tried again.
        print_line: is called with a line when a run begins and ends.
        show: is called about twice a second.

    Returns:
        The names of the runs that failed, and why.

    Raises:
        UsageError: another process runs the suite in this folder.
        Interrupted: of a signal; all running processes have written their checkpoints.
    """
    engine.out.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(engine.out / ".lock", fallback_to_soft=False)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{engine.out}: another process runs this suite") from None
    try:
        if retry:
            for path in engine.out.glob(f"runs/**/{FAILURE}"):
                path.unlink()
        _Pool(engine, processes, print_line, show).run()
    finally:
        lock.release()
    return failures(engine)


def _start_worker(job: Path, processes: int, slot: int) -> subprocess.Popen[bytes]:
    """Starts a process that does a job; what it prints goes to a file."""
    with open_own_file(job.with_name("output.txt"), append=True) as output:
        return subprocess.Popen(
            [sys.executable, "-m", "vaezoo.bench.worker", str(job)],
            env=worker_environment(processes, slot),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is passed on once, by the process that starts it
        )


def worker_environment(processes: int, slot: int) -> dict[str, str]:
    """The environment variables of a process that trains alone, beside others.

    Args:
        processes: how many run at once; they share the cores.
        slot: which of them it is, from 0; they take turns with the GPUs.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    own = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if torch.cuda.device_count() > 1 and processes > 1:
        known = own.get("CUDA_VISIBLE_DEVICES", "")
        devices = known.split(",") if known else [*map(str, range(torch.cuda.device_count()))]
        own["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return {name: value for name, value in own.items() if name not in launch.VARIABLES}


def _share_done(job: Job) -> float:
    """The share of its steps that a run has trained."""
    path = job.folder / PROGRESS
    return float(read_json(path)["done"]) if job.action == "train" and path.is_file() else 0.0


class _Pool:
    """The processes that run now."""

    def __init__(self, engine: Engine, processes: int, print_line: PrintLine, show: Show) -> None:
        self.engine, self.processes, self.print_line = engine, processes, print_line
        self.show = show
        self.running: dict[subprocess.Popen[bytes], Job] = {}
        self.slots: dict[Path, int] = {}
        self.attempts: Counter[Path] = Counter()

    def run(self) -> None:
        """Starts jobs until none is left."""
        try:
            while self._start_jobs() or self.running:
                self._collect()
        except KeyboardInterrupt:
            self._stop()
            raise Interrupted("stopped; the same command goes on") from None
        except BaseException:
            self._stop()
            raise

    def _start_jobs(self) -> bool:
        """Starts jobs while there is room; returns whether it started one."""
        started = False
        busy = {job.folder for job in self.running.values()}
        jobs = self.engine.jobs()
        # a job is taken only when there is room: taking one can have a new setting suggested
        while len(self.running) < self.processes and (job := next(jobs, None)) is not None:
            if job.folder not in busy:
                self._start(job)
                busy.add(job.folder)
                started = True
        return started

    def _start(self, job: Job) -> None:
        self.attempts[job.folder] += 1
        job.folder.mkdir(parents=True, exist_ok=True)
        path = job.folder / "job.json"
        write_json(path, dict(job.content))
        busy = {self.slots[other.folder] for other in self.running.values()}
        slot = next(number for number in range(self.processes) if number not in busy)
        self.slots[job.folder] = slot
        self.running[_start_worker(path, self.processes, slot)] = job
        verb = {"time": "timing", "train": "training", "test": "testing"}[job.action]
        resumed = "continuing" if job.action == "train" and job.content["run"] else verb
        self.print_line(f"{resumed} {job.name}")

    def _collect(self) -> None:
        """Waits for a process to end, and keeps what it did."""
        ended, total = self.engine.count_runs([job.folder for job in self.running.values()])
        for number in itertools.count():
            if number % _POLLS_PER_SHOW == 0:
                self._show_progress(ended, total)
            for process, job in [*self.running.items()]:
                code = process.poll()
                if code is not None:
                    del self.running[process]
                    self._end(job, code)
                    return
            time.sleep(_POLL_SECONDS)

    def _show_progress(self, ended: int, total: int) -> None:
        shares = [(job.name, _share_done(job)) for job in self.running.values()]
        running = [f"{name} {share:.0%}" for name, share in shares]
        self.show(ended + sum(share for _, share in shares), total, running)

    def _end(self, job: Job, code: int) -> None:
        path = job.folder / FAILURE
        if code == EXIT_INTERRUPTED and self.attempts[job.folder] < _MAX_ATTEMPTS:
            self.print_line(f"{job.name} was stopped from outside; it goes on")
            return
        if code and not path.is_file():
            signal_name = f"signal {-code}" if code < 0 else f"exit code {code}"
            error = f"ended with {signal_name}; see {job.folder / 'output.txt'}"
            write_json(path, {"error": error, "exit_code": code})
        if path.is_file():
            self.print_line(f"{job.name} failed: {read_json(path)['error']}")
            return
        self.engine.finish(job)
        is_pruned = (job.folder / PRUNED).is_file()
        self.print_line(f"{'pruned' if is_pruned else 'finished'} {job.name}")

    def _stop(self) -> None:
        """Has all processes write their checkpoints, and waits for them."""
        for process in self.running:
            with contextlib.suppress(VaezooError, OSError):
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait()
