"""Options whose default differs between the versions of the format of specs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Version: TypeAlias = Literal["vaezoo/v1", "vaezoo/v2"]
"""The versions of the format of specs. They differ in the defaults of a few options only."""
FIRST_VERSION: Version = "vaezoo/v1"


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
        >>> class Every(vaezoo.Callback):
        ...     def __init__(self, *, steps: Annotated[int, vaezoo.BeforeV2(1)] = 10) -> None:
        ...         self.steps = steps
        ...
        ...     def log(self, record):
        ...         pass
    """

    value: Any
