"""Promises of a plugin as a whole: it loads, and its names are those of its distribution."""

from __future__ import annotations

import importlib.metadata
from functools import partial

from vaezoo.plugins.catalogue import ComponentEntry, PluginInfo
from vaezoo.plugins.discovery import GROUP, catalogue
from vaezoo.spec.options import load_component
from vaezoo.testing.promise import Promise
from vaezoo.utils.errors import PluginError, did_you_mean, one_line


def promises(name: str) -> list[Promise]:
    """The promises of a plugin.

    Args:
        name: the name of its distribution.
    """
    subject = f"plugin {name!r}"
    found = [
        Promise(subject, "loads", partial(check_loads, name)),
        Promise(subject, "has an entry point of its name", partial(check_entry_point, name)),
    ]
    return [
        *found,
        *(
            Promise(f"{entry.kind} {entry.name!r}", "can be imported", partial(check_class, entry))
            for entry in _info(name).entries
        ),
    ]


def _info(name: str) -> PluginInfo:
    for info in catalogue().plugins:
        if info.name == name:
            return info
    return PluginInfo(name, "?", "broken", reason="it is not installed")


def check_loads(name: str) -> None:
    """The plugin is installed, loads and registers something."""
    info = _info(name)
    known = [other.name for other in catalogue().plugins]
    assert info.status == "ok", (
        f"is {info.status}: {info.reason}{did_you_mean(name, known)}; see vaezoo plugins doctor"
    )
    assert info.entries or info.registries, (
        "registers nothing; implement vaezoo_components(register) with @vaezoo.hookimpl"
    )


def check_entry_point(name: str) -> None:
    """The entry point is named like the distribution, without ``vaezoo-``."""
    expected = name.removeprefix("vaezoo-")
    points = [
        point
        for point in importlib.metadata.entry_points(group=GROUP)
        if point.dist is not None and point.dist.name == name
    ]
    names = [point.name for point in points]
    assert {*names} & {expected, name}, (
        f"has the entry point {', '.join(names) or 'none'}, not {expected!r}; users exclude "
        "plugins by these names, so write "
        f"{expected} = {points[0].value if points else 'package'!r} in pyproject.toml"
    )


def check_class(entry: ComponentEntry) -> None:
    """The class can be imported, and its constructor is one of its kind."""
    try:
        load_component(entry)
    except PluginError as error:
        raise AssertionError(one_line(error)) from error
