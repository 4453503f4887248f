"""Trains or continues one run of a suite, in a process of its own.

    python -m vaezoo.bench.worker JOB

``JOB`` is the path of a JSON file. What fails is written to ``failure.json`` in the folder of the
unit; the times of training and evaluation to ``usage.json``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo.bench.study import open_trial
from vaezoo.bench.units import FAILURE, PROGRESS, PRUNED, USAGE
from vaezoo.components.callbacks import Callback
from vaezoo.runs.log import PrintLine
from vaezoo.runs.opening import open_run
from vaezoo.runs.run import write_evaluation
from vaezoo.runs.signals import request_stop
from vaezoo.runs.start import resume, run
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import Interrupted, describe_failure
from vaezoo.utils.exit_codes import EXIT_INTERRUPTED, EXIT_OK
from vaezoo.utils.files import read_json, write_json
from vaezoo.utils.locks import is_locked

_SECONDS_BETWEEN_LOOKS, _LONGEST_WAIT = 0.2, 120.0
_TIMED_RECORDS = 4
"""How many records of training a step is timed by."""


class _Clock:
    """Adds up the seconds of training and evaluation in ``usage.json``.

    A kill loses those since the last record.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, "training"
        self.total: dict[str, float] = dict(read_json(path)) if path.is_file() else {}
        self.marks = time.perf_counter(), time.process_time()

    def add(self) -> None:
        """Adds the time since the last call to the present part."""
        now = time.perf_counter(), time.process_time()
        for kind, before, after in zip(("", "_cpu"), self.marks, now, strict=True):
            key = f"{self.part}{kind}_seconds"
            self.total[key] = round(self.total.get(key, 0.0) + after - before, 3)
        self.marks = now
        write_json(self.path, self.total)

    def change(self, part: str) -> None:
        """Begins another part."""
        self.add()
        self.part = part


class _Watch(Callback):
    """Keeps the clock, and says how far the training is."""

    def __init__(self, clock: _Clock) -> None:
        self.clock = clock

    def log(self, record: Mapping[str, Any]) -> None:
        """Is called at each record."""
        self.clock.add()
        write_json(self.clock.path.with_name(PROGRESS), {"done": record["step"] / record["steps"]})


class _Pruner(Callback):
    """Reports a number of the validation records to a study, which can end the trial.

    Args:
        study, name: the file of the study, and its name.
        trial: the number of the trial.
        metric: the number that is reported.
        sign: 1 if the study is about the highest value, else -1.
    """

    def __init__(self, *, study: str, name: str, trial: int, metric: str, sign: int) -> None:
        self.trial = open_trial(Path(study), name, trial)
        self.metric, self.sign, self.is_pruned = metric, sign, False

    def log(self, record: Mapping[str, Any]) -> None:
        """Is called at each record."""
        if record["split"] != "validation" or self.metric not in record:
            return
        self.trial.report(self.sign * record[self.metric], record["step"])
        if self.trial.should_prune():
            self.is_pruned = True
            request_stop()


def train(job: Mapping[str, Any]) -> None:
    """Trains or continues the run of a job, or measures it on the test split."""
    folder = Path(job["folder"])
    if job["run"]:
        _wait_until_free(Path(job["run"]))
    clock = _Clock(folder / USAGE)
    try:
        if job["action"] == "test":
            clock.part = "evaluation"
            write_evaluation(open_run(job["run"]), "test", lambda line: None)
            return

        def begin_evaluation(line: str) -> None:
            if line.startswith("evaluating"):
                clock.change("evaluation")

        pruner = _Pruner(**job["pruning"]) if job["pruning"] else None
        callbacks = [_Watch(clock), *([pruner] if pruner else [])]
        try:
            _train_or_continue(job, callbacks, begin_evaluation)
        except Interrupted:
            if pruner is None or not pruner.is_pruned:
                raise
            write_json(folder / PRUNED, job["pruning"])
    finally:
        clock.add()


def _train_or_continue(
    job: Mapping[str, Any], callbacks: Sequence[Callback], print_line: PrintLine
) -> None:
    if job["run"]:
        resume(job["run"], callbacks=callbacks, print_line=print_line)
    else:
        run(
            load_spec(job["spec"], job["overrides"]),
            out=Path(job["folder"]),
            evaluation_split=job["split"],
            callbacks=callbacks,
            print_line=print_line,
        )


class _StepTimer(Callback):
    """Notes when records of training are written, and stops after a few."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float, float]] = []

    def log(self, record: Mapping[str, Any]) -> None:
        """Notes the step, the clock and the CPU time of a record."""
        if record["split"] == "train":
            self.marks.append((record["step"], time.perf_counter(), time.process_time()))
        if len(self.marks) > _TIMED_RECORDS:
            request_stop()


def time_steps(job: Mapping[str, Any]) -> None:
    """Writes the seconds of a training step of a spec, without the first steps, to a file."""
    timer = _StepTimer()
    overrides = [*job["overrides"], "train.log_every=20", "train.steps=1000000"]
    spec = load_spec(job["spec"], overrides)
    with contextlib.suppress(Interrupted):
        run(spec, out=Path(job["folder"], "timing"), callbacks=[timer])
    if len(timer.marks) < 2:
        raise Interrupted("stopped before steps were timed")
    (first, clock, cpu), *_, (last, clock_end, cpu_end) = timer.marks
    seconds = {
        "minutes": (clock_end - clock) / (last - first),
        "cpu_minutes": (cpu_end - cpu) / (last - first),
    }
    write_json(Path(job["result"]), seconds)


@contextlib.contextmanager
def ending_with_parent() -> Iterator[None]:
    """Within, this process gets SIGTERM when the one that started it is gone, as after a kill."""
    parent, has_ended = os.getppid(), threading.Event()

    def watch() -> None:
        while not has_ended.wait(_SECONDS_BETWEEN_LOOKS):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        has_ended.set()


def _wait_until_free(run: Path) -> None:
    """Waits while another process uses a run, such as one that still ends after a kill."""
    end = time.monotonic() + _LONGEST_WAIT
    while is_locked(run / ".lock") and time.monotonic() < end:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def main() -> int:
    """Does the job; returns the exit code."""
    with ending_with_parent():
        return _do(read_json(Path(sys.argv[1])))


def _do(job: Mapping[str, Any]) -> int:
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if job["action"] == "time":
            time_steps(job)
        else:
            train(job)
    except (Interrupted, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except Exception as error:  # one run that fails ends no suite
        code, text = describe_failure(error)
        write_json(folder / FAILURE, {"error": text, "exit_code": code})
        return code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
