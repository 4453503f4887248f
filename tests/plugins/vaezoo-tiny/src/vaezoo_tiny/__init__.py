"""A sample plugin, to be copied: an encoder, a regularizer, a conditioner and a prior.

Every ``vaezoo`` command imports this module, so it must not import torch. A component is given as
``module:Class``, which is imported only when a spec uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    register("encoder", "tiny", "vaezoo_tiny.components:TinyEncoder")
    register("regularizer", "tiny-critic", "vaezoo_tiny.components:TinyCritic")
    register("conditioner", "tiny-label", "vaezoo_tiny.components:TinyLabel")
    register("prior", "tiny-conditional", "vaezoo_tiny.components:TinyPrior")
