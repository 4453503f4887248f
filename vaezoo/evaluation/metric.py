"""The kind of component that measures a model, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from vaezoo.data.loader import Loader
from vaezoo.model.model import Model


class Metric(ABC):
    """Measures a model on data. Wiring: none."""

    @abstractmethod
    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """Named numbers with their uncertainty. Runs without gradients, the model in evaluation mode, and every
        random draw seeded, so that two calls agree."""


@dataclass(frozen=True)
class Estimate:
    """A measured number.

    Attributes:
        value: the mean over examples.
        error: its standard error; None where none is defined.
        examples: the count of examples it was measured on.
        details: further facts, such as ``samples`` or ``effective_sample_size``.
        unit: ``nats per example`` unless stated.
    """

    value: float
    error: float | None
    examples: int
    details: Mapping[str, float] | None = None
    unit: str = "nats per example"
