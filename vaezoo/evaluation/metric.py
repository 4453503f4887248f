"""The abstract class of metrics, and the type of their results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

from torch import Tensor

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
        per_example: where ``value`` is a mean over examples, the number of each, ``[n]`` in the
            order of the split. Models that are measured on the same examples are compared by the
            differences of these numbers.
    """

    value: float
    error: float | None
    examples: int
    details: Mapping[str, float] | None = None
    _: KW_ONLY
    unit: str = "nats per example"
    note: str = ""
    per_example: Tensor | None = field(default=None, compare=False, repr=False)
