"""Finds plugins, guards against the broken ones, and keeps the catalogue of components by kind and name."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import pluggy

from vaezoo.plugins import builtin, hooks
from vaezoo.plugins.catalogue import BUILT_IN, Catalogue, ComponentEntry, PluginInfo
from vaezoo.plugins.hooks import API_VERSION
from vaezoo.plugins.kinds import KINDS
from vaezoo.utils.errors import PluginError, did_you_mean

GROUP = "vaezoo"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_REGISTRY = re.compile(r"[A-Za-z_][\w.]*:[\w-][\w./-]*|https://\S+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class _Collector:
    """The ``register`` that a plugin is given: checks each call and remembers it."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.entries: dict[tuple[str, str], ComponentEntry] = {}

    def __call__(self, kind: str, name: str, target: str) -> None:
        if kind not in KINDS:
            raise PluginError(f"registers unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
        if not _NAME.fullmatch(name):
            raise PluginError(f"registers {kind} {name!r}: a name is lower-case words joined by dashes")
        if not _TARGET.fullmatch(target):
            raise PluginError(f"registers {kind} {name!r} as {target!r}: a target is 'package.module:Class'")
        if (kind, name) in self.entries:
            raise PluginError(f"registers {kind} {name!r} twice")
        self.entries[kind, name] = ComponentEntry(kind, name, target, self.plugin)


def _registries(hook: Any) -> tuple[tuple[str, str], ...]:
    """The registries of weights that one plugin brings, as prefix and target."""
    found: dict[str, str] = {}

    def register(prefix: str, target: str) -> None:
        if not _NAME.fullmatch(prefix):
            raise PluginError(f"registers registry {prefix!r}: a prefix is lower-case words joined by dashes")
        if not _REGISTRY.fullmatch(target):
            raise PluginError(
                f"registers registry {prefix!r} as {target!r}: say 'package:registry.yaml' or an https address"
            )
        if prefix in found:
            raise PluginError(f"registers registry {prefix!r} twice")
        found[prefix] = target

    hook(register=register)
    return tuple(found.items())


def _admit(manager: pluggy.PluginManager, module: Any, name: str, version: str) -> PluginInfo:
    """Registers one imported plugin module and collects its components."""
    wanted = getattr(module, "VAEZOO_API", API_VERSION)
    if wanted != API_VERSION:
        return PluginInfo(name, version, "incompatible", f"asks for plugin API {wanted}, this is {API_VERSION}")
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
    return PluginInfo(name, version, "ok", "", tuple(collector.entries.values()), registries)


def _installed() -> list[tuple[str, str, importlib.metadata.EntryPoint]]:
    """Entry points by distribution name, so that the order never depends on the file system."""
    found = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        name = point.dist.name if point.dist else point.name
        found[name, point.name] = (name, point.dist.version if point.dist else "?", point)
    return [found[key] for key in sorted(found)]


def discover(disabled: Iterable[str] = ()) -> Catalogue:
    """Loads every installed plugin that is not disabled; one that fails is reported, never raised."""
    manager = pluggy.PluginManager("vaezoo")
    manager.add_hookspecs(hooks)
    catalogue = Catalogue()
    catalogue.add(_admit(manager, builtin, BUILT_IN, importlib.metadata.version("vaezoo")))
    skipped = set(disabled)
    for name, version, point in _installed():
        if name in skipped or point.name in skipped:
            catalogue.add(PluginInfo(name, version, "disabled", "disabled by the user"))
            continue
        try:
            catalogue.add(_admit(manager, point.load(), name, version))
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split())
            prefix = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
            catalogue.add(PluginInfo(name, version, "broken", prefix + reason))
    return catalogue


def disabled_plugins() -> tuple[str, ...]:
    """The plugins that ``VAEZOO_DISABLE_PLUGINS`` names."""
    return tuple(name.strip() for name in os.environ.get("VAEZOO_DISABLE_PLUGINS", "").split(",") if name.strip())


@lru_cache(maxsize=8)
def _discovered(disabled: tuple[str, ...]) -> Catalogue:
    return discover(disabled)


def catalogue() -> Catalogue:
    """The catalogue of this process: plugins are looked up once for each set of disabled ones."""
    return _discovered(disabled_plugins())
