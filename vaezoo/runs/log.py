"""Writes the records and checkpoints of a training run to its directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from vaezoo.components.callbacks import Callback
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.signals import StopSignal
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.files import sync
from vaezoo.utils.records import record_line

PrintLine = Callable[[str], None]
"""A function that receives one line of progress."""


class FileRunLog:
    """Writes records and checkpoints to the run's directory and forwards records to callbacks.

    Args:
        directory: the run's directory.
        keep: the number of checkpoints to keep.
        callbacks: their method ``log`` is called with every record.
        stop: the flag that signals set to stop training.
        begin: is called when training begins, before anything else is written.
        identity: of the run, which its checkpoints carry.
    """

    def __init__(
        self,
        directory: RunDirectory,
        keep: int,
        callbacks: Sequence[Callback],
        stop: StopSignal,
        begin: Callable[[], None],
        identity: str,
    ) -> None:
        self.identity = identity
        self.directory, self.keep, self.callbacks, self.stop = directory, keep, callbacks, stop
        self.begin = begin

    def start(self, step: int) -> None:
        """Prepares to log the steps after ``step``, and removes records of later steps."""
        self.begin()
        self.directory.rewind(step)
        for callback in self.callbacks:
            callback.start(step)

    def record(self, record: Mapping[str, Any]) -> None:
        """Appends one line to ``metrics.jsonl``; a number that is not finite is null in it."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = record_line({**record, "time": time})
        try:
            with open(self.directory.metrics, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            reason = error.strerror or error
            raise VaezooError(f"cannot write {self.directory.metrics}: {reason}") from error
        for callback in self.callbacks:
            callback.log(record)

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint, after the records before it are on disk."""
        if self.directory.metrics.exists():
            sync(self.directory.metrics)
        self.directory.save_checkpoint(step, state, self.keep, self.identity)

    def describe_last_checkpoint(self) -> str:
        """Names the last checkpoint, for the message of an interrupted run."""
        return describe_last_checkpoint(self.directory)

    def is_stop_requested(self) -> bool:
        """Whether a signal requested that the run stops."""
        return self.stop.requested


class NullRunLog:
    """The log of a process that writes nothing: every process but the main one.

    Args:
        directory: the run's directory, in which the main process writes.
        stop: the flag that signals set to stop training.
    """

    def __init__(self, directory: RunDirectory, stop: StopSignal) -> None:
        self.directory, self.stop = directory, stop

    def start(self, step: int) -> None:
        """Does nothing."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Does nothing."""

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Does nothing."""

    def describe_last_checkpoint(self) -> str:
        """Names the last checkpoint, so that every process fails with the same message."""
        return describe_last_checkpoint(self.directory)

    def is_stop_requested(self) -> bool:
        """Whether a signal requested that the run stops."""
        return self.stop.requested


def describe_last_checkpoint(directory: RunDirectory) -> str:
    """Names the last checkpoint of a run, for messages."""
    saved = directory.checkpoint_files()
    if not saved:
        return "there is no checkpoint yet"
    return f"last good checkpoint: {os.fspath(saved[-1])}"
