"""The abstract class of metrics, and the type of their results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from vaezoo.data.loader import Loader
from vaezoo.model.model import Model


class Metric(ABC):
    """Measures a model on data. Wiring: none."""

    requires_exact_density: ClassVar[bool] = False
    """Whether it needs the densities of posterior and prior themselves. The composer then refuses
    a model with a latent variable whose density is only a bound."""

    higher_is_better: ClassVar[frozenset[str]] = frozenset()
    """The names of its numbers of which higher values are better."""

    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    """The names of its numbers of which lower values are better."""

    training: Callable[[], Loader] | None = None
    """Loads the training split; None where only the split that is measured is known."""

    @abstractmethod
    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """Measures the model on a split of the data.

        The caller disables gradients, puts the model into evaluation mode and seeds torch's
        global random generator, so that two calls give the same result.

        Returns:
            The estimates by name.
        """

    def report_pictures(self, model: Model, data: Loader) -> Mapping[str, tuple[str, bytes]]:
        """Pictures for the report of a run whose spec has the metric; none unless overridden.

        Called like the metric itself, with the split of the evaluation.

        Returns:
            A caption and a PNG by name, which is that of a file without its ending.
        """
        return {}


@dataclass(frozen=True)
class Estimate:
    """A measured number.

    Attributes:
        value: the number, usually a mean over examples.
        error: its standard error; None if it is not defined.
        examples: the number of examples it was measured on.
        details: further numbers, such as ``samples`` or ``effective_sample_size``.
        unit: the unit of ``value``.
        note: what a reader must know to take the number for what it is; for a value that is NaN or
            infinite, the first example at fault.
    """

    value: float
    error: float | None
    examples: int
    details: Mapping[str, float] | None = None
    _: KW_ONLY
    unit: str = "nats per example"
    note: str = ""
