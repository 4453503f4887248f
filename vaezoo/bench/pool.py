"""Does the jobs of a suite in local processes, and goes on after an interruption."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from filelock import FileLock, Timeout

from vaezoo.bench.engine import Engine, Job, failures
from vaezoo.bench.units import FAILURE
from vaezoo.runs.log import PrintLine
from vaezoo.utils.errors import Interrupted, UsageError, VaezooError
from vaezoo.utils.exit_codes import EXIT_INTERRUPTED
from vaezoo.utils.files import read_json, write_json

_POLL_SECONDS = 0.05
_MAX_ATTEMPTS = 3
"""How often a run that was stopped from outside is continued within one call."""


def run_suite(
    engine: Engine, *, processes: int, retry: bool, print_line: PrintLine
) -> list[tuple[str, str]]:
    """Does what is left of a suite; another call with the same folder goes on.

    Args:
        engine: the suite and its folder.
        processes: how many run at once.
        retry: whether runs that failed before are tried again.
        print_line: is called with a line when a run begins and ends.

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
        _Pool(engine, processes, print_line).run()
    finally:
        lock.release()
    return failures(engine)


def _start_worker(job: Path, processes: int) -> subprocess.Popen[bytes]:
    """Starts a process that does a job; what it prints goes to a file."""
    threads = max(1, (os.cpu_count() or 1) // processes)
    with open(job.with_name("output.txt"), "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "vaezoo.bench.worker", str(job)],
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is passed on once, by the process that starts it
        )


class _Pool:
    """The processes that run now."""

    def __init__(self, engine: Engine, processes: int, print_line: PrintLine) -> None:
        self.engine, self.processes, self.print_line = engine, processes, print_line
        self.running: dict[subprocess.Popen[bytes], Job] = {}
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
        for job in self.engine.jobs():
            if len(self.running) >= self.processes:
                break
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
        self.running[_start_worker(path, self.processes)] = job
        verb = {"time": "timing", "train": "training", "test": "testing"}[job.action]
        resumed = "continuing" if job.action == "train" and job.content["run"] else verb
        self.print_line(f"{resumed} {job.name}")

    def _collect(self) -> None:
        """Waits for a process to end, and keeps what it did."""
        while True:
            for process, job in [*self.running.items()]:
                code = process.poll()
                if code is not None:
                    del self.running[process]
                    self._end(job, code)
                    return
            time.sleep(_POLL_SECONDS)

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
        self.print_line(f"finished {job.name}")

    def _stop(self) -> None:
        """Has all processes write their checkpoints, and waits for them."""
        for process in self.running:
            with contextlib.suppress(VaezooError, OSError):
                process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait()
