"""The kind of component that reads and writes files of examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


class Format(ABC):
    """Files of examples; a format's name is the ending of its files. Wiring: ``data``, a DataSpec.

    Examples are in the units of the source: what the data set took away is added again. A constructor raises
    ValueError for data that such files cannot hold.
    """

    single: ClassVar[bool] = False
    """Whether a file holds one example, so that several are written to as many files."""

    def __init__(self, data: DataSpec, /) -> None:
        self.data = data

    @abstractmethod
    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes examples, sequences without the steps that their mask hides, on a sheet with so many in a row."""

    def read(self, path: Path) -> Batch:
        """Reads examples.

        Raises:
            NotImplementedError: the format is for writing only.
            vaezoo.utils.errors.DataError: the file is malformed; names the file and row.
        """
        raise NotImplementedError("is for writing only")

    def read_beginnings(self, path: Path) -> Batch:
        """Reads the beginnings of examples, of which a model makes more; raises as ``read``."""
        return self.read(path)
