"""Where a training run is written down."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from vaezoo.components.callbacks import Callback
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.signals import StopSignal
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.files import (
    sync,
)


class FileRunLog:
    """Writes a training run down as it goes.

    Args:
        directory: of the run.
        keep: how many checkpoints.
        callbacks: told of every record.
        stopping: whether the run was asked to stop.
    """

    def __init__(self, directory: RunDirectory, keep: int, callbacks: Sequence[Callback], stop: StopSignal) -> None:
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

    def last_checkpoint(self) -> str:
        """Where training can be taken up again."""
        saved = self.directory.checkpoint_files()
        return f"last good checkpoint: {os.fspath(saved[-1])}" if saved else "there is no checkpoint yet"

    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop.requested


PrintLine = Callable[[str], None]


class NullRunLog:
    """The journal of a process that writes nothing."""

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop

    def start(self, step: int) -> None:
        return

    def record(self, record: Mapping[str, Any]) -> None:
        return

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        return

    def last_checkpoint(self) -> str:
        return "see the main process"

    def stopping(self) -> bool:
        return self.stop.requested
