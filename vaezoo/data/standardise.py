"""The mean and the scale by which numbers are standardised."""

from __future__ import annotations

import numpy as np

_ROUNDING = 8
"""The range of numbers that differ only by rounding, in units of their last digit."""
_LEAST_SCALE = float(np.finfo(np.float32).tiny)


def mean_and_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the scale of each column, for (value - mean) / scale.

    The scale is the standard deviation. It is 1 for a column that is constant up to the rounding
    of its numbers: their mean is rounded, too, so that a standard deviation of 1e-17 in place of 0
    would blow up a value which is another than that of the training split.

    Args:
        values: ``[n]`` or ``[n, D]``, in the precision in which they were stored; NaN is left out.

    Returns:
        Mean and scale, float64 ``[]`` or ``[D]``.

    Example:
        >>> import numpy as np
        >>> import vaezoo
        >>> mean, scale = vaezoo.mean_and_scale(np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]]))
        >>> mean.tolist(), scale.round(3).tolist()
        ([3.0, 0.1], [1.633, 1.0])
    """
    is_float = values.dtype.kind == "f"
    resolution = float(np.finfo(values.dtype if is_float else np.float64).eps)
    values = values.astype(np.float64)
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    mean = np.where(low == high, low, np.nanmean(values, 0))
    deviation = np.nanstd(values, 0)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    varies = high - low > _ROUNDING * resolution * magnitude
    return mean, np.where(varies & (deviation > _LEAST_SCALE), deviation, 1.0)
