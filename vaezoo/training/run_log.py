"""The interface through which the trainer writes records and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vaezoo.training.state import TrainerState


class RunLog(Protocol):
    """Writes the records and checkpoints of a run.

    ``record`` and ``checkpoint`` are called on the main process only.
    """

    def record(self, record: Mapping[str, Any]) -> None:
        """Writes one record of metrics."""

    def checkpoint(self, step: int, state: TrainerState) -> None:
        """Writes a checkpoint of the state after ``step``."""

    def describe_last_checkpoint(self) -> str:
        """Names the last checkpoint, for error messages."""

    def is_stop_requested(self) -> bool:
        """Whether a signal requested that the run stops."""
