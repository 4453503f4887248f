"""The kind of component that is told of a run's records, and those that a spec may name under ``train.callbacks``."""

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
    """Tells the world about a run. Wiring: ``directory``, the run's own. It runs on the main process only."""

    def start(self, step: int) -> None:
        """Training begins after this step: what was told of later ones will be told again."""
        return

    @abstractmethod
    def log(self, record: Mapping[str, Any]) -> None:
        """Hears each record of ``metrics.jsonl``."""

    def close(self) -> None:
        """The run has ended, well or badly."""
        return


class TensorBoard(Callback):
    """Writes TensorBoard events into the run's folder ``tensorboard``. Needs ``pip install vaezoo[tensorboard]``."""

    def __init__(self, directory: Path, /) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UnavailableError("callback 'tensorboard' needs pip install 'vaezoo[tensorboard]'") from error
        self._open = partial(SummaryWriter, str(directory / "tensorboard"))
        self.writer: Any = None

    def start(self, step: int) -> None:
        """Opens the events; those after ``step`` no longer count."""
        self.writer = self._open(purge_step=step + 1)

    def log(self, record: Mapping[str, Any]) -> None:
        """Each number of a record as a scalar of its split."""
        for key, value in record.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
                self.writer.add_scalar(f"{record['split']}/{key}", value, record["step"])

    def close(self) -> None:
        """Flushes the events."""
        if self.writer is not None:
            self.writer.close()


class CsvLog(Callback):
    """Writes the validation records into the run's ``validation.csv``."""

    def __init__(self, directory: Path, /) -> None:
        self.path = directory / "validation.csv"

    def start(self, step: int) -> None:
        """Keeps the rows up to ``step``."""
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as opened:
                heading, *rows = list(csv.reader(opened)) or [[]]
            if "step" not in heading:  # a kill left it without its first line
                self.path.unlink()
                return
            kept = [row for row in rows if len(row) == len(heading) and int(row[heading.index("step")]) <= step]
            text = io.StringIO()
            csv.writer(text).writerows([heading, *kept])
            write_text(self.path, text.getvalue())

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a row."""
        if record["split"] != "validation":
            return
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, list(record))
            if new:
                writer.writeheader()
            writer.writerow(record)
