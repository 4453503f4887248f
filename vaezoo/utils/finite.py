"""Finds numbers that are NaN or infinite, and names the example that they belong to.

Shapes: n examples.
"""

from __future__ import annotations

from torch import Tensor

from vaezoo.utils.errors import VaezooError


class NotFiniteError(VaezooError):
    """A number that a result needs is NaN or infinite; the message names the first example."""


def first_fault(values: Tensor, what: str) -> str:
    """The first example with a value that is NaN or infinite, in words; empty if all are finite.

    Args:
        values: ``[n, ...]``, in the order of the examples.
        what: begins the text, such as ``the score of example``, before the number of the example.
    """
    finite = values.isfinite()
    if bool(finite.all()):
        return ""
    row = int((~finite).nonzero()[0, 0])
    return f"{what} {row} is {float(values[row][~finite[row]].flatten()[0])}"


def require_finite(values: Tensor, what: str) -> Tensor:
    """Returns ``values``, all of which are finite.

    For results that compare or count values: a comparison with NaN is false, and the result would
    be a number that looks right.

    Args:
        values, what: as for ``first_fault``.

    Raises:
        NotFiniteError: a value is NaN or infinite; the message is that of ``first_fault``.
    """
    if fault := first_fault(values, what):
        raise NotFiniteError(fault)
    return values
