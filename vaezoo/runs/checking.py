"""Whether weights are still what their entry says: bytes, figures, and what training makes of the spec again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.pretrained.loading import check_requirements, check_status, fetch, spec_of
from vaezoo.pretrained.registries import RegistryEntry
from vaezoo.runs.log import PrintLine
from vaezoo.runs.opening import open_entry
from vaezoo.runs.run import Run
from vaezoo.runs.start import run
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load

_SLACK = 0.01
"""How far a figure without a standard error may be off, as a share of itself."""
_TRAINED_AGAIN = 3 * math.sqrt(2)
"""Standard errors between two independent measurements that agree."""


@dataclass(frozen=True)
class Comparison:
    """A figure as it is recorded and as it was found; ``found`` is None where it could not be measured."""

    name: str
    recorded: float
    found: float | None
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether the two are as close as they must be."""
        return self.found is not None and abs(self.found - self.recorded) <= self.allowed


def verify(found: RegistryEntry) -> int:
    """Hashes every file again and loads the weights into their model.

    Returns:
        Bytes that were hashed.

    Raises:
        RegistryError: something is not what the registry declares.
    """
    size = sum(len(fetch(found, file)) for file in found.entry.files)
    open_entry(found)
    return size


def remeasure(found: RegistryEntry) -> list[Comparison]:
    """Measures every figure of an entry again; each must be within its own standard error."""
    return _compare(found, open_entry(found).evaluate(), 1.0)


def reproduce(found: RegistryEntry, out: Path, print_line: PrintLine) -> tuple[Run, list[Comparison]]:
    """Trains an entry's spec again and compares; figures must agree as independent measurements do."""
    check_status(found)
    check_requirements(found)
    spec = load(dump(spec_of(found).resolved()), text=True)
    again = run(spec, out=out, print_line=print_line)
    return again, _compare(found, again.evaluation, _TRAINED_AGAIN)


def _compare(found: RegistryEntry, evaluation: Mapping[str, Any], width: float) -> list[Comparison]:
    rows = []
    for recorded in found.entry.metrics:
        row = evaluation["metrics"].get(recorded.name)
        error = recorded.error if recorded.error is not None else _SLACK * abs(recorded.value)
        allowed = width * error + 1e-6 * max(1.0, abs(recorded.value))
        rows.append(Comparison(recorded.name, recorded.value, None if row is None else row["value"], allowed))
    return rows
