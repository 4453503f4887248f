"""The hook a plugin implements, and the marker it implements it with.

This module imports nothing heavy, so a plugin module stays instant to load:

    import vaezoo

    @vaezoo.hookimpl
    def vaezoo_components(register):
        register("encoder", "wavelet", "vaezoo_wavelet.encoder:Wavelet")
"""

from __future__ import annotations

from typing import Protocol

import pluggy

API_VERSION = 1
"""The version of the plugin interface. A plugin module may ask for one by ``VAEZOO_API = 1``."""
hookspec = pluggy.HookspecMarker("vaezoo")
hookimpl = pluggy.HookimplMarker("vaezoo")


class Register(Protocol):
    """What ``vaezoo_components`` is given."""

    def __call__(self, kind: str, name: str, target: str) -> None:
        """Registers a component.

        Args:
            kind: one of the kinds that ``vaezoo list`` shows, such as ``encoder``.
            name: the name that specs use; lower-case words joined by dashes.
            target: ``package.module:Class``, imported when a spec first names the component.
        """


@hookspec
def vaezoo_components(register: Register) -> None:
    """Called once when plugins are loaded; registers the components of this plugin."""


class RegisterRegistry(Protocol):
    """What ``vaezoo_registries`` is given."""

    def __call__(self, prefix: str, target: str) -> None:
        """Registers a registry of weights, whose entries are then named ``prefix:architecture/tag@version``.

        Args:
            prefix: lower-case words joined by dashes.
            target: ``package:path/registry.yaml``, a file inside an installed package, or an https address.
        """


@hookspec
def vaezoo_registries(register: RegisterRegistry) -> None:
    """Called once when plugins are loaded; registers the registries of weights that this plugin brings."""
