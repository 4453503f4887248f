"""A range of numbers that an option of a spec is chosen from, written as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import FloatDistribution, IntDistribution

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?P<log>:log)?")
_FEWEST_INTEGERS = 4
"""A range of fewer integers is one of real numbers, such as the learning rates in ``0..1``."""


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``.

    Attributes:
        low, high: the limits, ``low`` less than ``high``.
        is_log: whether values are drawn evenly on a logarithmic scale.
    """

    low: float
    high: float
    is_log: bool

    @classmethod
    def parse(cls, text: str) -> Range | None:
        """Parses ``LOW..HIGH`` or ``LOW..HIGH:log``; None for another text.

        Example:
            >>> Range.parse("0.5..16:log")
            Range(low=0.5, high=16.0, is_log=True)
        """
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            return None
        low, high, is_log = float(match["low"]), float(match["high"]), bool(match["log"])
        is_valid = -math.inf < low < high < math.inf and (low > 0 or not is_log)
        return cls(low, high, is_log) if is_valid else None

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers: of integer limits, at least four, not logarithmic."""
        has_integer_limits = self.low == int(self.low) and self.high == int(self.high)
        is_wide = self.high - self.low >= _FEWEST_INTEGERS - 1
        return has_integer_limits and is_wide and not self.is_log

    @property
    def count(self) -> float:
        """How many values it has; infinite unless they are integers."""
        return self.high - self.low + 1 if self.is_integer else math.inf

    def values(self) -> list[str]:
        """Its integers as values of an option.

        Raises:
            ValueError: it has others.
        """
        if not self.is_integer:
            raise ValueError("real numbers cannot be listed")
        return [str(number) for number in range(int(self.low), int(self.high) + 1)]

    def ends(self) -> list[str]:
        """The two limits as values of an option."""
        kind = int if self.is_integer else float
        return [repr(kind(self.low)), repr(kind(self.high))]

    def distribution(self) -> IntDistribution | FloatDistribution:
        """The range as Optuna knows it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high, log=self.is_log)
