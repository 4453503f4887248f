"""A run's directory: what is in it, written so that a kill at any moment loses nothing that counted.

spec.yaml            the resolved spec
environment.json     versions, plugins, device, git state
metrics.jsonl        one record per log interval and validation
checkpoint/          step-000001200.safetensors: tensors, with the rest of the state as JSON in the header
model.safetensors    the best weights by the validation bound
players.safetensors  what regularizers had learned by then: critics, say; only where they learn
evaluation.json      metrics on the test split
pictures/            samples, reconstructions, curves, latent map
report.html          all of it on one page
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaezoo.errors import IntegrityError, UsageError, VaezooError
from vaezoo.files import TEMPORARY, pack, read_tensors, sync, unpack, write_tensors, write_text
from vaezoo.interfaces import Callback

_FORMAT = "checkpoint/v2"


class RunDirectory:
    """Paths and records of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = path / "spec.yaml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoint"
        self.model = path / "model.safetensors"
        self.players = path / "players.safetensors"
        self.evaluation = path / "evaluation.json"
        self.pictures = path / "pictures"
        self.report = path / "report.html"

    @classmethod
    def create(cls, root: Path, name: str) -> RunDirectory:
        """A new directory ``root/name/<time>``; one that exists is never taken."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        for attempt in range(1, 1000):
            path = root / name / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise VaezooError(f"cannot create {path}: {error.strerror or error}; choose another --out") from error
            return cls(path)
        raise VaezooError(f"cannot find a free name below {root / name}")

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run.

        Raises:
            UsageError: there is no run at ``path``.
        """
        directory = cls(Path(path))
        if not directory.spec.is_file():
            raise UsageError(f"{path}: not a run: it has no spec.yaml")
        return directory

    def records(self) -> list[dict[str, Any]]:
        """Every whole line of ``metrics.jsonl``; a part of one, left by a kill, is passed over."""
        found = []
        text = self.metrics.read_text("utf-8") if self.metrics.exists() else ""
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def rewind(self, step: int) -> None:
        """Forgets records and checkpoints after ``step``: they will be written again."""
        for path in self.saved_checkpoints():
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
        kept = [json.dumps(record) for record in self.records() if record["step"] <= step]
        write_text(self.metrics, "".join(line + "\n" for line in kept))

    def saved_checkpoints(self) -> list[Path]:
        """Checkpoints, the oldest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"))

    def save_checkpoint(self, step: int, state: Mapping[str, Any], keep: int) -> None:
        """Writes a checkpoint, then removes all but the last ``keep``."""
        packed, tensors = pack(state)
        path = self.checkpoints / f"step-{step:09d}.safetensors"
        write_tensors(path, tensors, {"vaezoo": _FORMAT, "state": json.dumps(packed)})
        for old in self.saved_checkpoints()[:-keep]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read; None where there is none yet.

        Raises:
            IntegrityError: there are checkpoints, and every one is damaged.
        """
        failures: list[str] = []
        for path in reversed(self.saved_checkpoints()):
            try:
                tensors, metadata = read_tensors(path)
                if metadata.get("vaezoo") != _FORMAT:
                    raise IntegrityError(f"{path}: {metadata.get('vaezoo')}, but this vaezoo goes on from {_FORMAT}")
                state: dict[str, Any] = unpack(json.loads(metadata["state"]), tensors)
                return state
            except (IntegrityError, KeyError, ValueError) as error:
                failures.append(str(error))
        if failures:
            raise IntegrityError("; ".join(failures))
        return None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for this process, so that no two write to it.

        Raises:
            UsageError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # a system without them: the user must take care
            yield
            return
        with open(self.path / ".lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path}: another process is at work on this run") from None
            except OSError:
                pass  # a file system without locks
            yield

    def sweep(self) -> None:
        """Removes temporary files that a kill left behind."""
        for folder in (self.path, self.checkpoints, self.pictures):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)


class Journal:
    """Writes a training run down as it goes.

    Args:
        directory: of the run.
        keep: how many checkpoints.
        callbacks: told of every record.
        stopping: whether the run was asked to stop.
    """

    def __init__(self, directory: RunDirectory, keep: int, callbacks: Sequence[Callback], stop: Stop) -> None:
        self.directory, self.keep, self.callbacks, self.stop = directory, keep, callbacks, stop

    def start(self, step: int) -> None:
        """Training begins after ``step``; records of later ones will be written again."""
        self.directory.rewind(step)
        for callback in self.callbacks:
            callback.start(step)

    def record(self, record: Mapping[str, Any]) -> None:
        """Appends one line to ``metrics.jsonl``."""
        line = json.dumps({**record, "time": datetime.now(UTC).isoformat(timespec="milliseconds")})
        try:
            with open(self.directory.metrics, "a", encoding="utf-8") as opened:
                opened.write(line + "\n")
        except OSError as error:
            raise VaezooError(f"cannot write {self.directory.metrics}: {error.strerror or error}") from error
        for callback in self.callbacks:
            callback.log(record)

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint, once the records before it are on disk."""
        if self.directory.metrics.exists():
            sync(self.directory.metrics)
        self.directory.save_checkpoint(step, state, self.keep)

    def last_good(self) -> str:
        """Where training can be taken up again."""
        saved = self.directory.saved_checkpoints()
        return f"last good checkpoint: {os.fspath(saved[-1])}" if saved else "there is no checkpoint yet"

    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop.requested


class Stop:
    """A request to stop at the next step, raised by a signal."""

    def __init__(self) -> None:
        self.requested = False


@contextlib.contextmanager
def heeding_signals() -> Iterator[Stop]:
    """Turns SIGINT and SIGTERM into a request; a second one ends the process the usual way."""
    import signal
    import threading

    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: Any) -> None:
        stop.requested = True
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
