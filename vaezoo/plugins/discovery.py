"""Finds and loads the installed plugins; a broken one does not affect the others."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pluggy

from vaezoo.plugins import builtin, hooks, registration
from vaezoo.plugins.catalogue import BUILT_IN, NAME, Catalogue, ComponentEntry, PluginInfo
from vaezoo.plugins.hooks import API_VERSION
from vaezoo.plugins.kinds import KINDS
from vaezoo.utils.errors import PluginError, did_you_mean, one_line

GROUP = "vaezoo"
_REGISTRY = re.compile(r"[A-Za-z_][\w.]*:[\w-][\w./-]*|https://\S+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class _Collector:
    """The ``register`` argument of ``vaezoo_components``: checks and collects components."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.entries: dict[tuple[str, str], ComponentEntry] = {}

    def __call__(self, kind: str, name: str, target: str) -> None:
        if kind not in KINDS:
            raise PluginError(f"registers unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
        if not NAME.fullmatch(name):
            raise PluginError(
                f"registers {kind} {name!r}: a name is lower-case words joined by dashes"
            )
        if not _TARGET.fullmatch(target):
            raise PluginError(
                f"registers {kind} {name!r} as {target!r}: a target is 'package.module:Class'"
            )
        if (kind, name) in self.entries:
            raise PluginError(f"registers {kind} {name!r} twice")
        self.entries[kind, name] = ComponentEntry(kind, name, target, self.plugin)


def _registries(hook: Any) -> tuple[tuple[str, str], ...]:
    """The registries of weights that one plugin registers, as pairs of prefix and target."""
    registries: dict[str, str] = {}

    def register(prefix: str, target: str) -> None:
        if not NAME.fullmatch(prefix):
            raise PluginError(
                f"registers registry {prefix!r}: a prefix is lower-case words joined by dashes"
            )
        if not _REGISTRY.fullmatch(target):
            raise PluginError(
                f"registers registry {prefix!r} as {target!r}: "
                "use 'package:registry.yaml' or an https URL"
            )
        if prefix in registries:
            raise PluginError(f"registers registry {prefix!r} twice")
        registries[prefix] = target

    hook(register=register)
    return tuple(registries.items())


def _register_plugin(
    manager: pluggy.PluginManager, module: Any, name: str, version: str
) -> PluginInfo:
    """Registers an imported plugin module and collects its components and registries.

    Raises:
        Exception: whatever the plugin raises; the module is not registered then.
    """
    required = getattr(module, "VAEZOO_API", API_VERSION)
    if required != API_VERSION:
        reason = f"needs plugin API {required}, but this version of vaezoo has {API_VERSION}"
        return PluginInfo(name, version, "incompatible", reason=reason)
    try:
        manager.register(module, name)
        manager.check_pending()
        others = [other for other in manager.get_plugins() if other is not module]
        collector = _Collector(name)
        manager.subset_hook_caller("vaezoo_components", others)(register=collector)
        registries = _registries(manager.subset_hook_caller("vaezoo_registries", others))
    except BaseException:
        if manager.is_registered(module):
            manager.unregister(module)
        raise
    return PluginInfo(
        name, version, "ok", entries=tuple(collector.entries.values()), registries=registries
    )


def _installed() -> list[tuple[str, str, importlib.metadata.EntryPoint]]:
    """The name, version and entry point of each plugin, sorted."""
    plugins = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        name = point.dist.name if point.dist else point.name
        plugins[name, point.name] = (name, point.dist.version if point.dist else "?", point)
    return [plugins[key] for key in sorted(plugins)]


def discover(disabled: Iterable[str] = ()) -> Catalogue:
    """Loads the installed plugins.

    Args:
        disabled: distributions or entry points that are not loaded.

    Returns:
        The catalogue; a plugin that raises an exception is in it with the status ``broken``.
    """
    manager = pluggy.PluginManager("vaezoo")
    manager.add_hookspecs(hooks)
    catalogue = Catalogue()
    catalogue.add(
        _register_plugin(manager, builtin, BUILT_IN, importlib.metadata.version("vaezoo"))
    )
    disabled_names = set(disabled)
    for name, version, point in _installed():
        if name in disabled_names or point.name in disabled_names:
            catalogue.add(PluginInfo(name, version, "disabled", reason="disabled by the user"))
            continue
        try:
            catalogue.add(_register_plugin(manager, point.load(), name, version))
        except (Exception, SystemExit) as error:
            reason = one_line(error)
            prefix = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
            catalogue.add(PluginInfo(name, version, "broken", reason=prefix + reason))
    return catalogue


def disabled_plugins() -> tuple[str, ...]:
    """The names in the environment variable ``VAEZOO_DISABLE_PLUGINS``, separated by commas."""
    return tuple(
        name.strip()
        for name in os.environ.get("VAEZOO_DISABLE_PLUGINS", "").split(",")
        if name.strip()
    )


@lru_cache(maxsize=8)
def _discovered(disabled: tuple[str, ...]) -> Catalogue:
    """``discover``, cached."""
    return discover(disabled)


def catalogue() -> Catalogue:
    """The catalogue of this process: installed plugins, and the classes that it registered.

    The plugins are cached for each value of ``VAEZOO_DISABLE_PLUGINS``.
    """
    return installed_plugins().with_entries(registration.registered())


def installed_plugins() -> Catalogue:
    """The catalogue without the classes that this process registered, cached."""
    return _discovered(disabled_plugins())
