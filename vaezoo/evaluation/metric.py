"""The abstract class of metrics, and the type of their results."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from torch import Tensor

from vaezoo.data.loader import Loader
from vaezoo.model.model import Model


class Metric(ABC):
    """Measures a model on data. Wiring: none."""

    requires_exact_density: ClassVar[bool] = False
    """Whether it needs the densities of posterior and prior themselves. The composer then refuses
    a model with a latent variable whose density is only a bound."""

    higher_is_better: ClassVar[frozenset[str]] = frozenset()
    """The names of its numbers of which higher values are better; ``*`` stands for what an option
    decides, as in ``*_fd``."""

    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    """The names of its numbers of which lower values are better, as in ``higher_is_better``."""

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


def is_higher_better(name: str, metrics: Iterable[type[Metric]]) -> bool | None:
    """Whether higher values of a number are better; None if no metric says so.

    Args:
        name: the number in an evaluation; ``NAME-2`` is the second one of a name.
        metrics: the metrics that were measured.
    """
    names = {name, re.sub(r"-\d+$", "", name)}

    def declares(patterns: frozenset[str]) -> bool:
        return any(fnmatchcase(each, pattern) for each in names for pattern in patterns)

    known = [*metrics]
    higher = any(declares(each.higher_is_better) for each in known)
    lower = any(declares(each.lower_is_better) for each in known)
    return higher if higher != lower else None


BOUNDS = ("lower bound", "upper bound", "stochastic lower bound", "stochastic upper bound")
"""The kinds of bound that an estimate may be, each followed by `` of `` and a quantity.

A number without ``stochastic`` estimates a bound without bias, so that its standard error tells
how far it is from the bound: an ELBO. A ``stochastic`` one is the logarithm of an unbiased
estimate: it is a bound in expectation over its own random draws, and tighter with more of them.
"""


@dataclass(frozen=True)
class Series:
    """Several numbers behind an estimate, which the report draws.

    Attributes:
        label: what ``x`` is, such as ``samples`` or ``dimension``.
        x: where the numbers were measured, ``n`` of them.
        values: the numbers, in the unit of the estimate.
        errors: their standard errors; None if they are not defined.
        kind: ``curve``, with a logarithmic axis of ``x``; or ``bars``.
    """

    label: str
    x: Sequence[float]
    values: Sequence[float]
    errors: Sequence[float] | None = None
    kind: Literal["curve", "bars"] = "curve"


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
        bound: the kind of bound that the number is and of what, such as ``stochastic upper bound
            of -log p(x)``: one of ``BOUNDS``, `` of `` and the quantity; empty if it is none.
        series: the numbers behind it that the report draws; None if there are none.

    Raises:
        ValueError: ``bound`` begins with no kind of bound.

    Example:
        >>> import vaezoo
        >>> vaezoo.Estimate(-90.1, 0.3, 10_000, bound="lower bound of log p(x)").bound
        'lower bound of log p(x)'
    """

    value: float
    error: float | None
    examples: int
    details: Mapping[str, float] | None = None
    _: KW_ONLY
    unit: str = "nats per example"
    note: str = ""
    per_example: Tensor | None = field(default=None, compare=False, repr=False)
    bound: str = ""
    series: Series | None = None

    def __post_init__(self) -> None:
        if self.bound and self.bound.partition(" of ")[0] not in BOUNDS:
            raise ValueError(
                f"a bound is one of {', '.join(BOUNDS)}, then 'of' and what it bounds; "
                f"not {self.bound!r}"
            )
