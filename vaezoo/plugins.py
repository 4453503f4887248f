"""Finds plugins, guards against the broken ones, and keeps the catalogue of components by kind and name."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import pluggy

from vaezoo import components, hookspecs
from vaezoo.errors import PluginError, did_you_mean
from vaezoo.hookspecs import API_VERSION, KIND_NAMES

GROUP = "vaezoo"
BUILT_IN = "vaezoo"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_REGISTRY = re.compile(r"[A-Za-z_][\w.]*:[\w-][\w./-]*|https://\S+")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Entry:
    """One registered component: what it is called, who brought it, and where its class is."""

    kind: str
    name: str
    target: str
    plugin: str

    def load(self) -> type:
        """Imports the class.

        Raises:
            PluginError: it cannot be imported, or is not a concrete class of its kind.
        """
        from vaezoo.interfaces import KINDS

        module, _, attribute = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"{self}: cannot import {self.target}: {type(error).__name__}: {error}") from error
        wanted = KINDS[self.kind]
        if not (isinstance(found, type) and issubclass(found, wanted)):
            raise PluginError(f"{self}: {self.target} is not a subclass of vaezoo.{wanted.__name__}")
        if inspect.isabstract(found):
            missing = ", ".join(sorted(vars(found)["__abstractmethods__"]))
            raise PluginError(f"{self}: {self.target} does not define {missing}")
        return found

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of plugin {self.plugin!r}"


@dataclass(frozen=True)
class PluginInfo:
    """One installed plugin and what became of it."""

    name: str
    version: str
    status: Literal["ok", "disabled", "incompatible", "broken"]
    reason: str = ""
    entries: tuple[Entry, ...] = ()
    registries: tuple[tuple[str, str], ...] = ()


@dataclass
class Catalogue:
    """Every component that a spec may name, and the plugins they come from."""

    plugins: list[PluginInfo] = field(default_factory=list)
    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)

    def add(self, info: PluginInfo) -> None:
        """Takes in a plugin and, where it is in order, its components."""
        self.plugins.append(info)
        for entry in info.entries:
            self.entries.setdefault((entry.kind, entry.name), []).append(entry)

    def names(self, kind: str) -> list[str]:
        """The names that specs may use for a kind, sorted."""
        return sorted(name for a_kind, name in self.entries if a_kind == kind)

    def all(self, kind: str | None = None) -> Iterator[Entry]:
        """Every entry, by kind in the order of the data flow and then by name."""
        for a_kind in KIND_NAMES if kind is None else (kind,):
            for name in self.names(a_kind):
                yield from self.entries[a_kind, name]

    def find(self, kind: str, reference: str) -> Entry:
        """The entry for ``name``, or for ``plugin:name`` where several plugins claim one name.

        Raises:
            PluginError: no such component, or more than one.
        """
        plugin, _, name = reference.rpartition(":")
        found = [entry for entry in self.entries.get((kind, name), []) if not plugin or entry.plugin == plugin]
        built_in = [entry for entry in found if entry.plugin == BUILT_IN]
        if len(found) == 1 or built_in:
            return (built_in or found)[0]
        if not found:
            hint = did_you_mean(name, self.names(kind)) or "; no installed plugin brings one"
            raise PluginError(f"no {kind} named {reference!r}{hint}{self._absent()}")
        owners = " or ".join(repr(f"{entry.plugin}:{name}") for entry in found)
        raise PluginError(f"{len(found)} plugins bring a {kind} named {name!r}; say {owners}")

    def _absent(self) -> str:
        """Which installed plugins are out of action, since one of them may be meant."""
        absent = [f"plugin {info.name!r} is {info.status}: {info.reason}" for info in self.plugins if info.reason]
        return f" ({'; '.join(absent)})" if absent else ""


class _Collector:
    """The ``register`` that a plugin is given: checks each call and remembers it."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.entries: dict[tuple[str, str], Entry] = {}

    def __call__(self, kind: str, name: str, target: str) -> None:
        if kind not in KIND_NAMES:
            raise PluginError(f"registers unknown kind {kind!r}{did_you_mean(kind, KIND_NAMES)}")
        if not _NAME.fullmatch(name):
            raise PluginError(f"registers {kind} {name!r}: a name is lower-case words joined by dashes")
        if not _TARGET.fullmatch(target):
            raise PluginError(f"registers {kind} {name!r} as {target!r}: a target is 'package.module:Class'")
        if (kind, name) in self.entries:
            raise PluginError(f"registers {kind} {name!r} twice")
        self.entries[kind, name] = Entry(kind, name, target, self.plugin)


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
    manager.add_hookspecs(hookspecs)
    catalogue = Catalogue()
    catalogue.add(_admit(manager, components, BUILT_IN, importlib.metadata.version("vaezoo")))
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
