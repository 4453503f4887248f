"""Callbacks, which receive the records of a run; a spec lists them under ``train.callbacks``."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vaezoo.utils.errors import UnavailableError
from vaezoo.utils.files import write_text


class Callback(ABC):
    """Receives the records of a run, on the main process only.

    Wiring: ``directory``, the run's directory. Required: ``log``. Optional: ``start``, ``close``.
    """

    def start(self, step: int) -> None:
        """Called when training starts or resumes after ``step``.

        Records of later steps that were received before an interruption are received once more.
        """
        return

    @abstractmethod
    def log(self, record: Mapping[str, Any]) -> None:
        """Called with each record of ``metrics.jsonl``."""

    def close(self) -> None:
        """Called when training ends, successfully or not; evaluation and the report follow."""
        return


class TensorBoard(Callback):
    """Writes TensorBoard events to the folder ``tensorboard`` of the run.

    Needs ``pip install vaezoo[tensorboard]``.
    """

    def __init__(self, directory: Path, /) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UnavailableError(
                "callback 'tensorboard' needs pip install 'vaezoo[tensorboard]'"
            ) from error
        self._create_writer = partial(SummaryWriter, str(directory / "tensorboard"))
        self.writer: Any = None

    def start(self, step: int) -> None:
        """Opens the event file and discards events after ``step``."""
        self.writer = self._create_writer(purge_step=step + 1)

    def log(self, record: Mapping[str, Any]) -> None:
        """Writes each number of a record as a scalar of its split."""
        for key, value in record.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and key != "step":
                self.writer.add_scalar(f"{record['split']}/{key}", value, record["step"])

    def close(self) -> None:
        """Flushes and closes the event file."""
        if self.writer is not None:
            self.writer.close()


class CsvLog(Callback):
    """Writes the validation records to ``validation.csv`` of the run."""

    def __init__(self, directory: Path, /) -> None:
        self.path = directory / "validation.csv"

    def start(self, step: int) -> None:
        """Removes the rows after ``step``."""
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                header, *rows = list(csv.reader(file)) or [[]]
            if "step" not in header:  # an interruption before the header was complete
                self.path.unlink()
                return
            column = header.index("step")
            rows = [row for row in rows if len(row) == len(header) and int(row[column]) <= step]
            text = io.StringIO()
            csv.writer(text).writerows([header, *rows])
            write_text(self.path, text.getvalue())

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a validation record as a row."""
        if record["split"] != "validation":
            return
        is_new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(record))
            if is_new:
                writer.writeheader()
            writer.writerow(record)
