"""Defines the hooks that a plugin implements, and their decorator ``hookimpl``.

This module does not import torch, so that a plugin's top-level module is fast to import:

    import vaezoo

    @vaezoo.hookimpl
    def vaezoo_components(register):
        register("encoder", "wavelet", "vaezoo_wavelet.encoder:Wavelet")
"""

from __future__ import annotations

from typing import Protocol

import pluggy

API_VERSION = 1
"""The version of the plugin interface; a plugin can require it with ``VAEZOO_API = 1``."""
hookspec = pluggy.HookspecMarker("vaezoo")
hookimpl = pluggy.HookimplMarker("vaezoo")


class Register(Protocol):
    """The type of the argument of ``vaezoo_components``."""

    def __call__(self, kind: str, name: str, target: str) -> None:
        """Registers a component.

        Args:
            kind: one of the kinds that ``vaezoo list`` shows, such as ``encoder``.
            name: the name that specs use; lower-case words joined by dashes.
            target: ``package.module:Class``; imported when the component is first used.
        """


@hookspec
def vaezoo_components(register: Register) -> None:
    """Called once when plugins are loaded; registers the components of this plugin."""


class RegisterRegistry(Protocol):
    """The type of the argument of ``vaezoo_registries``."""

    def __call__(self, prefix: str, target: str) -> None:
        """Registers a registry of weights.

        Its entries are named ``prefix:architecture/tag@version``.

        Args:
            prefix: lower-case words joined by dashes.
            target: ``package:path/registry.yaml``, a file in an installed package, or an https
                URL.
        """


@hookspec
def vaezoo_registries(register: RegisterRegistry) -> None:
    """Called once when plugins are loaded; registers the registries of weights of this plugin."""
