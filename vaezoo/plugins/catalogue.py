"""The catalogue of components by kind and name."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.utils.errors import PluginError, did_you_mean

BUILT_IN = "vaezoo"


@dataclass(frozen=True)
class ComponentEntry:
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
        module, _, attribute = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"{self}: cannot import {self.target}: {type(error).__name__}: {error}") from error
        wanted = kind_class(self.kind)
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
    entries: tuple[ComponentEntry, ...] = ()
    registries: tuple[tuple[str, str], ...] = ()


@dataclass
class Catalogue:
    """Every component that a spec may name, and the plugins they come from."""

    plugins: list[PluginInfo] = field(default_factory=list)
    entries: dict[tuple[str, str], list[ComponentEntry]] = field(default_factory=dict)

    def add(self, info: PluginInfo) -> None:
        """Takes in a plugin and, where it is in order, its components."""
        self.plugins.append(info)
        for entry in info.entries:
            self.entries.setdefault((entry.kind, entry.name), []).append(entry)

    def names(self, kind: str) -> list[str]:
        """The names that specs may use for a kind, sorted."""
        return sorted(name for a_kind, name in self.entries if a_kind == kind)

    def all(self, kind: str | None = None) -> Iterator[ComponentEntry]:
        """Every entry, by kind in the order of the data flow and then by name."""
        for a_kind in KINDS if kind is None else (kind,):
            for name in self.names(a_kind):
                yield from self.entries[a_kind, name]

    def find(self, kind: str, reference: str) -> ComponentEntry:
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
