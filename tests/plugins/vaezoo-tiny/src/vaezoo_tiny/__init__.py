"""A plugin as a stranger would write it."""

import vaezoo


@vaezoo.hookimpl
def vaezoo_components(register):
    register("encoder", "tiny", "vaezoo_tiny.parts:TinyEncoder")
    register("regularizer", "tiny-critic", "vaezoo_tiny.parts:TinyCritic")
    register("conditioner", "tiny-label", "vaezoo_tiny.parts:TinyLabel")
    register("prior", "tiny-conditional", "vaezoo_tiny.parts:TinyPrior")
