"""Likelihoods whose numbers depend on one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    target = "vaezoo_autoregressive.bernoulli:AutoregressiveBernoulliLikelihood"
    register("likelihood", "autoregressive-bernoulli", target)
