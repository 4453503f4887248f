"""The data set ``caltech-silhouettes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the data set."""
    register("dataset", "caltech-silhouettes", "vaezoo_silhouettes.dataset:CaltechSilhouettes")
