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
from vaezoo.utils.records import read_records


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
    """Writes the validation records to ``validation.csv`` of the run.

    Stages may measure different values: a column is empty where a record lacks it.
    """

    def __init__(self, directory: Path, /) -> None:
        self.path = directory / "validation.csv"
        self.rows: list[dict[str, Any]] = []
        self.columns: list[str] = []

    def start(self, step: int) -> None:
        """Writes the rows up to ``step`` anew, from the records of the run."""
        self.rows, self.columns = [], []
        for record in read_records(self.path.with_name("metrics.jsonl")):
            if record["split"] == "validation" and record["step"] <= step:
                self._add({key: value for key, value in record.items() if key != "time"})
        if self.rows:
            write_text(self.path, self._text(self.rows, with_heading=True))
        else:
            self.path.unlink(missing_ok=True)

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a validation record as a row; writes all anew if it has new columns."""
        if record["split"] != "validation":
            return
        if self._add(dict(record)):
            write_text(self.path, self._text(self.rows, with_heading=True))
            return
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(self._text(self.rows[-1:], with_heading=False))

    def _add(self, row: dict[str, Any]) -> bool:
        """Keeps a row; returns whether it has new columns."""
        new = [key for key in row if key not in self.columns]
        self.rows.append(row)
        self.columns += new
        return bool(new)

    def _text(self, rows: list[dict[str, Any]], *, with_heading: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns)
        if with_heading:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
