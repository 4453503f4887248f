"""Checks published weights against their entry: file hashes, metrics and reproduction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.pretrained.entry_parts import MeasuredMetric
from vaezoo.pretrained.features import load_features_entry
from vaezoo.pretrained.fetching import fetch
from vaezoo.pretrained.loading import check_requirements, check_status, read_spec
from vaezoo.pretrained.registry import RegistryEntry, RegistryFeatures
from vaezoo.runs.entry_data import check_init, locate_data
from vaezoo.runs.log import PrintLine
from vaezoo.runs.opening import open_entry
from vaezoo.runs.run import Run
from vaezoo.runs.start import run
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec

_RELATIVE_TOLERANCE = 0.01
"""The tolerance of a metric without a standard error, relative to its value."""
_REPRODUCTION_TOLERANCE = 3 * math.sqrt(2)
"""The tolerance between two independent measurements, in standard errors."""


@dataclass(frozen=True)
class Comparison:
    """A metric as recorded in the entry and as measured now.

    Attributes:
        name: the name of the metric.
        recorded: the value in the entry.
        measured: the new value; None if the metric is not defined.
        tolerance: the largest difference that counts as agreement.
    """

    name: str
    recorded: float
    measured: float | None
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the two values differ by at most ``tolerance``."""
        if self.measured is None:
            return False
        return abs(self.measured - self.recorded) <= self.tolerance


def verify(entry: RegistryEntry | RegistryFeatures) -> int:
    """Checks the hash of every file and loads the weights into their model or extractor.

    Returns:
        The number of bytes that were hashed.

    Raises:
        RegistryError: a file or a tensor differs from the entry.
    """
    size = sum(len(fetch(entry.registry, file, entry.name)) for file in entry.weights.files)
    if isinstance(entry, RegistryFeatures):
        load_features_entry(entry)
    else:
        open_entry(entry)
    return size


def remeasure(entry: RegistryEntry) -> list[Comparison]:
    """Measures every metric of an entry again, with its standard error as tolerance.

    Retracted ones are left out, here and in ``reproduce``.
    """
    return compare(entry.weights.metrics, open_entry(entry).evaluate(), 1.0)


def reproduce(
    entry: RegistryEntry, out: Path, print_line: PrintLine
) -> tuple[Run, list[Comparison]]:
    """Trains the spec of an entry again and compares the metrics.

    Args:
        entry: the entry to reproduce.
        out: the folder in which the new run's directory is created.
        print_line: is called with one line of text at each stage of the run.

    Returns:
        The new run, and the comparison of each metric.
    """
    check_status(entry)
    check_requirements(entry)
    spec = locate_data(entry, read_spec(entry))
    check_init(entry, spec)
    spec = load_spec(dump(spec.resolved()), text=True)
    reproduced = run(spec, out=out, print_line=print_line)
    return reproduced, compare(
        entry.weights.metrics, reproduced.evaluation, _REPRODUCTION_TOLERANCE
    )


def compare(
    metrics: Iterable[MeasuredMetric], evaluation: Mapping[str, Any], standard_errors: float
) -> list[Comparison]:
    """Compares the metrics of an entry that were not retracted with an evaluation.

    The tolerance is ``standard_errors`` times the recorded standard error, plus rounding.
    """
    rows = []
    for recorded in metrics:
        if recorded.retracted is not None:
            continue
        row = evaluation["metrics"].get(recorded.name)
        error = recorded.error
        if error is None:
            error = _RELATIVE_TOLERANCE * abs(recorded.value)
        tolerance = standard_errors * error + 1e-6 * max(1.0, abs(recorded.value))
        measured = None if row is None else row["value"]
        rows.append(Comparison(recorded.name, recorded.value, measured, tolerance))
    return rows
