"""The data set ``mnist``; this package contains its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the data set."""
    register("dataset", "mnist", "vaezoo_mnist.dataset:MNIST")
