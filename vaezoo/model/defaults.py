"""Options whose default differs between the versions of the format of specs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FIRST_VERSION = "vaezoo/v1"
VERSIONS = (FIRST_VERSION, "vaezoo/v2")
"""The versions of the format of specs. They differ in the defaults of a few options only."""


@dataclass(frozen=True)
class BeforeV2:
    """Marks, in an annotation, an option with another default in specs of ``vaezoo/v1``.

    A default that would change what existing specs compute is changed for new specs only: the
    signature has the new default, and a spec that begins with ``spec: vaezoo/v1`` and leaves the
    option out gets ``value``.

    Args:
        value: the default in specs of ``vaezoo/v1``.

    Example:
        >>> from typing import Annotated
        >>> import vaezoo
        >>> class Scaled(vaezoo.Callback):
        ...     def __init__(self, *, limit: Annotated[float | None, vaezoo.BeforeV2(None)] = 10.0):
        ...         self.limit = limit
    """

    value: Any
