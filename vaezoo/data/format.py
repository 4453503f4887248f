"""The base class of file formats, which read and write files of examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


@dataclass(frozen=True)
class FileSteps:
    """The steps of a file of sequences, of which its examples, such as windows, are parts.

    Attributes:
        starts: the step at which each example starts, counted from 0 over all steps.
        names: what names each of the steps, such as its time, by the name of a column.
    """

    starts: Sequence[int]
    names: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class NamedBatch:
    """The examples of a file, and what the file names them by.

    Attributes:
        batch: the examples.
        names: a value for each example, such as its identifiers in a table or the first step of a
            window, by the name of a column.
        steps: the steps of the file if they have names; otherwise those of each example are
            numbered from 0.
    """

    batch: Batch
    names: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    steps: FileSteps | None = None


class Format(ABC):
    """A file format for examples, named by its file extension. Wiring: ``data``, a DataSpec.

    Files are in the units of the source: the caller converts with ``DataSpec.to_source_units``
    before writing and with ``DataSpec.from_source_units`` after reading. A constructor raises
    ValueError for data that the format cannot hold.
    """

    one_example_per_file: ClassVar[bool] = False
    """Whether a file holds one example, so that several examples are written to several files."""

    reads: ClassVar[bool] = True
    """Whether it reads examples, and is not for writing only."""

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

    def report_pictures(
        self, model: Any, examples: Batch, seed: int
    ) -> Mapping[str, tuple[str, bytes]]:
        """Pictures for the report of a run, in place of those that vaezoo draws of its data.

        Asked of the format ``png`` of a plugin whose facts the data has. Empty unless overridden.

        Args:
            model: the trained model, a ``vaezoo.Model``.
            examples: those of the evaluation's split, at most some thousands.
            seed: for samples.

        Returns:
            A caption and a PNG by name.
        """
        return {}

    def point_labels(self, examples: Batch) -> tuple[str, np.ndarray, Sequence[str]] | None:
        """By what the latent space is coloured in a report, where the data has no classes.

        Asked of the format ``png`` of a plugin whose facts the data has. None unless overridden.

        Returns:
            What it is, the index of a name for each example ``[n]``, and the names.
        """
        return None

    def read(self, path: Path) -> Batch:
        """Reads examples.

        Raises:
            NotImplementedError: the format is for writing only.
            vaezoo.DataError: the file is malformed; names the file and row.
        """
        raise NotImplementedError("is for writing only")

    def read_named(self, path: Path) -> NamedBatch:
        """Reads examples, with what names them beside their number; no names unless overridden.

        Raises:
            NotImplementedError, vaezoo.DataError: as ``read``.
        """
        return NamedBatch(self.read(path))

    def parse_number(self, column: str, text: str) -> float:
        """The number of a column in the units of the source, of its text; seconds of dates.

        Raises:
            ValueError: it is none.
        """
        return float(text)

    def read_incomplete(self, path: Path) -> Batch:
        """Reads examples to be completed: the mask is False where there is no value.

        Raises:
            NotImplementedError, vaezoo.DataError: as ``read``.
        """
        return self.read(path)

    def lengths(self, path: Path) -> Sequence[int] | None:
        """The number of steps of each example that ``read_incomplete`` returns.

        What comes after them is padding, and not missing. None unless overridden: each example
        has all steps of ``x``.
        """
        return None

    def completes(self, source: Path) -> bool:
        """Whether ``write_completed`` writes a file again; otherwise its examples are written."""
        return False

    def write_completed(self, path: Path, source: Path, examples: Batch) -> None:
        """Writes a file of examples again, with values where there were none.

        All else of the file is kept. Only where ``completes`` is true.

        Args:
            path: the file to write.
            source: the incomplete file.
            examples: those that ``read_incomplete`` returns, completed; on the CPU.
        """
        raise NotImplementedError("does not complete files")

    def read_prefixes(self, path: Path) -> Batch:
        """Reads prefixes: the first steps of sequences, for a model to continue.

        Raises:
            NotImplementedError, vaezoo.DataError: as ``read``.
        """
        return self.read(path)
