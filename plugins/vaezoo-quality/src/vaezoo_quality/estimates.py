"""A number of samples beside that of real examples and that of noise, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import vaezoo
from vaezoo_quality.sets import Sets

_QUANTILE = 1.959964  # of the standard normal distribution, for 95 %


def estimate(
    value: float,
    variance: float,
    sets: Sets,
    *,
    floor: float | None,
    ceiling: float,
    unit: str,
    more: Mapping[str, float] | None = None,
) -> vaezoo.Estimate:
    """The estimate of a number of samples.

    Args:
        value: of the samples.
        variance: of ``value``, over draws of samples and of real examples.
        sets: what was compared.
        floor: the same number of training examples in place of samples; None if there are none.
        ceiling: the same number of noise.
        unit: of the number.
        more: further details.
    """
    error = max(variance, 0.0) ** 0.5
    details = {
        "low": value - _QUANTILE * error,
        "high": value + _QUANTILE * error,
        **({} if floor is None else {"floor": floor}),
        "ceiling": ceiling,
        "samples": float(sets.count),
        "draws": float(len(sets.draws)),
        **(more or {}),
    }
    return vaezoo.Estimate(value, error, sets.count, details, unit=unit, note=sets.note)
