"""Latent vectors on a sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    register("posterior", "von-mises-fisher", "vaezoo_spheres.components:VonMisesFisherPosterior")
    register("posterior", "power-spherical", "vaezoo_spheres.components:PowerSphericalPosterior")
    register("prior", "uniform-sphere", "vaezoo_spheres.components:UniformSpherePrior")
