"""Keeps a failure to draw something from ending a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from vaezoo.utils.errors import Interrupted, VaezooError, describe_error, one_line, printable

T = TypeVar("T")


class Attempts:
    """Calls functions that draw, and remembers what could not be drawn.

    Attributes:
        failures: what could not be drawn, and why, as phrases for readers.
    """

    def __init__(self, page: Path) -> None:
        self.page = page
        self.failures: list[str] = []

    def draw(self, what: str, function: Callable[[], T]) -> T | None:
        """The result of a function; None, with a warning, if it fails.

        Args:
            what: what it draws, such as ``the latent space``.
            function: draws it.
        """
        try:
            with np.errstate(all="ignore"):  # numbers too large for an axis are left out of it
                return function()
        except Interrupted:
            raise
        except Exception as error:
            is_own = isinstance(error, VaezooError)
            reason = one_line(error) if is_own else describe_error(error)
            self.failures.append(printable(f"{what}: {reason}"))
            warnings.warn(f"{self.page}: could not draw {self.failures[-1]}", stacklevel=2)
            return None
