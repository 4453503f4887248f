"""The catalogue of all registered components, and of the plugins that provide them."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.utils.errors import PluginError, did_you_mean

BUILT_IN = "vaezoo"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""The form of the name of a component."""
_ELSEWHERE = {
    ("dataset", "csv"): "; use 'table' of the plugin vaezoo-tabular (pip install vaezoo-tabular)",
    ("dataset", "table"): "; the plugin vaezoo-tabular has it (pip install vaezoo-tabular)",
}
"""Where components are that are looked for in vaezoo itself, by kind and name."""


@dataclass(frozen=True)
class ComponentEntry:
    """One registered component.

    Attributes:
        kind, name: as registered.
        target: its class as ``package.module:Class``.
        plugin: the distribution that provides it.
    """

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
            cls = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"{self}: cannot import {self.target}: {type(error).__name__}: {error}"
            ) from error
        return self.check(cls)

    def check(self, cls: Any) -> type:
        """The class itself, if it is a concrete class of the kind.

        Raises:
            PluginError: it is not.
        """
        base = kind_class(self.kind)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise PluginError(f"{self}: {self.target} is not a subclass of vaezoo.{base.__name__}")
        if inspect.isabstract(cls):
            missing = ", ".join(sorted(vars(cls)["__abstractmethods__"]))
            raise PluginError(f"{self}: {self.target} does not define {missing}")
        return cls

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of plugin {self.plugin!r}"


@dataclass(frozen=True)
class PluginInfo:
    """One installed plugin and the result of loading it.

    Attributes:
        name, version: of its distribution.
        status: whether its components can be used.
        reason: why they cannot; empty if the status is ``ok``.
        entries: the components that it registered.
        registries: the registries of weights that it registered, as pairs of prefix and target.
    """

    name: str
    version: str
    status: Literal["ok", "disabled", "incompatible", "broken"]
    _: KW_ONLY
    reason: str = ""
    entries: tuple[ComponentEntry, ...] = ()
    registries: tuple[tuple[str, str], ...] = ()


@dataclass
class Catalogue:
    """All registered components, and the plugins that provide them.

    Attributes:
        plugins: the built-in components as a plugin, then the installed plugins.
        entries: the components by kind and name; several plugins can use the same name.
    """

    plugins: list[PluginInfo] = field(default_factory=list)
    entries: dict[tuple[str, str], list[ComponentEntry]] = field(default_factory=dict)

    def add(self, info: PluginInfo) -> None:
        """Adds a plugin and its components."""
        self.plugins.append(info)
        for entry in info.entries:
            self.entries.setdefault((entry.kind, entry.name), []).append(entry)

    def with_entries(self, entries: Sequence[ComponentEntry]) -> Catalogue:
        """This catalogue and further components, which no plugin provides."""
        if not entries:
            return self
        both = {key: list(found) for key, found in self.entries.items()}
        for entry in entries:
            both.setdefault((entry.kind, entry.name), []).append(entry)
        return Catalogue(self.plugins, both)

    def names(self, kind: str) -> list[str]:
        """The sorted names of a kind's components."""
        return sorted(name for entry_kind, name in self.entries if entry_kind == kind)

    def all(self, kind: str | None = None) -> Iterator[ComponentEntry]:
        """All entries, or those of one kind; in the order of ``KINDS`` and then by name."""
        for entry_kind in KINDS if kind is None else (kind,):
            for name in self.names(entry_kind):
                yield from self.entries[entry_kind, name]

    def find(self, kind: str, reference: str) -> ComponentEntry:
        """The entry of a component.

        Args:
            kind: its kind.
            reference: ``name``, or ``plugin:name`` if several plugins provide the name.

        Raises:
            PluginError: there is no such component, or several.
        """
        plugin, _, name = reference.rpartition(":")
        matches = [
            entry
            for entry in self.entries.get((kind, name), [])
            if not plugin or entry.plugin == plugin
        ]
        built_in = [entry for entry in matches if entry.plugin == BUILT_IN]
        if len(matches) == 1 or built_in:
            return (built_in or matches)[0]
        if not matches:
            hint = _ELSEWHERE.get((kind, name)) or did_you_mean(name, self.names(kind))
            hint = hint or "; no installed plugin provides one"
            raise PluginError(f"no {kind} named {reference!r}{hint}{self._unavailable_plugins()}")
        choices = " or ".join(repr(f"{entry.plugin}:{name}") for entry in matches)
        raise PluginError(
            f"{len(matches)} plugins provide a {kind} named {name!r}; write {choices}"
        )

    def _unavailable_plugins(self) -> str:
        """A remark about plugins that cannot be used; one of them may provide the component."""
        reasons = [
            f"plugin {info.name!r} is {info.status}: {info.reason}"
            for info in self.plugins
            if info.reason
        ]
        return f" ({'; '.join(reasons)})" if reasons else ""
