"""The base class of file formats, which read and write files of examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


class Format(ABC):
    """A file format for examples, named by its file extension. Wiring: ``data``, a DataSpec.

    Files are in the units of the source: the caller converts with ``DataSpec.to_source_units``
    before writing and with ``DataSpec.from_source_units`` after reading. A constructor raises
    ValueError for data that the format cannot hold.
    """

    one_example_per_file: ClassVar[bool] = False
    """Whether a file holds one example, so that several examples are written to several files."""

    holds_parts: ClassVar[bool] = False
    """Whether a file holds examples of several parts, as mappings."""

    def __init__(self, data: DataSpec, /) -> None:
        self.data = data

    @abstractmethod
    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes examples to a file.

        Args:
            path: the file.
            examples: on the CPU; masked steps of sequences are not written.
            columns: the number of examples in each row of an image sheet; other formats ignore it.
        """

    def read(self, path: Path) -> Batch:
        """Reads examples.

        Raises:
            NotImplementedError: the format is for writing only.
            vaezoo.DataError: the file is malformed; names the file and row.
        """
        raise NotImplementedError("is for writing only")

    def read_prefixes(self, path: Path) -> Batch:
        """Reads prefixes: the first steps of sequences, for a model to continue.

        Raises:
            NotImplementedError, vaezoo.DataError: as ``read``.
        """
        return self.read(path)
