"""The classes that this process registered, which specs can name without a plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vaezoo.plugins.catalogue import ComponentEntry

THIS_PROCESS = "this process"
"""Stands for the plugin of a registered class; no distribution has such a name."""
MAIN = "__main__"
"""The module of the classes of a script or a notebook, which no other process can import."""


@dataclass(frozen=True, kw_only=True)
class RegisteredEntry(ComponentEntry):
    """A class of this process.

    Attributes:
        cls: the class.
    """

    cls: type

    def load(self) -> type:
        """The class.

        Raises:
            PluginError: it is not a concrete class of its kind.
        """
        return self.check(self.cls)

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of this process"


_entries: dict[tuple[str, str], RegisteredEntry] = {}


def class_name(cls: type) -> str:
    """A class as ``package.module:Class``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def add(entry: RegisteredEntry) -> None:
    """Adds a class, in place of the one that this process registered under the name before."""
    _entries[entry.kind, entry.name] = entry


def registered() -> tuple[RegisteredEntry, ...]:
    """The classes that this process registered."""
    return tuple(_entries.values())


@contextmanager
def registered_for_now(entry: RegisteredEntry) -> Iterator[None]:
    """Within, the class of ``entry`` has a name in specs, in place of another of that name."""
    before = _entries.get((entry.kind, entry.name))
    add(entry)
    try:
        yield
    finally:
        del _entries[entry.kind, entry.name]
        if before is not None:
            add(before)
