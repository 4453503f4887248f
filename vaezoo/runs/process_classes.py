"""The classes of this process that a run uses, ``vaezoo.register``.

``environment.json`` records them under ``registered``, by kind and name.
"""

from __future__ import annotations

from typing import Any

from vaezoo.plugins import discovery
from vaezoo.plugins.registration import MAIN, THIS_PROCESS, class_name
from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.spec import Spec, components
from vaezoo.utils.errors import PluginError, UsageError
from vaezoo.utils.process_group import ProcessGroup


def class_record(spec: Spec) -> dict[str, Any]:
    """What ``environment.json`` records of the registered classes that a spec uses."""
    used = {
        (component.kind, component.name): class_name(component.cls)
        for component in components(spec)
        if component.plugin == THIS_PROCESS
    }
    entries = [
        {"kind": kind, "name": name, "class": cls} for (kind, name), cls in sorted(used.items())
    ]
    return {"registered": entries} if entries else {}


def check_importable(spec: Spec, process_group: ProcessGroup) -> None:
    """Checks that processes that train together import the classes of a spec from modules.

    Raises:
        UsageError: a class is one of ``__main__``.
    """
    if process_group.size == 1:
        return
    for entry in class_record(spec).get("registered", ()):
        if entry["class"].startswith(f"{MAIN}:"):
            raise UsageError(
                f"{entry['kind']} {entry['name']!r} is {entry['class']}; for several processes "
                "put it into a module that each of them imports"
            )


def check_registered(directory: RunDirectory) -> None:
    """Checks that this process has the registered classes of a run, or a plugin provides them.

    Raises:
        PluginError: it has not.
    """
    known = discovery.catalogue().entries
    missing = [
        entry for entry in _recorded(directory) if (entry["kind"], entry["name"]) not in known
    ]
    if not missing:
        return
    names = ", ".join(f"{entry['kind']} {entry['name']!r} ({entry['class']})" for entry in missing)
    calls = "; ".join(
        f"vaezoo.register({entry['kind']!r}, {entry['name']!r}, {_attribute(entry['class'])})"
        for entry in missing
    )
    raise PluginError(
        f"{directory.path}: uses {names} of the process that trained it; in Python, first: {calls}"
    )


def _attribute(cls: str) -> str:
    """The name of a class that is given as ``package.module:Class``."""
    return cls.rpartition(":")[2].rpartition(".")[2]


def check_public(directory: RunDirectory) -> None:
    """Checks that others can have everything that a run needs.

    Raises:
        UsageError: it uses registered classes, or data that Python gave.
    """
    known = discovery.installed_plugins().entries
    for entry in _recorded(directory):
        if (entry["kind"], entry["name"]) not in known:
            raise UsageError(
                f"{directory.path}: {entry['kind']} {entry['name']!r} is {entry['class']} of the "
                "process that trained it, which others do not have; put it into a plugin"
            )
    recorded = directory.read_environment().get("data")
    if recorded is not None:
        raise UsageError(
            f"{directory.path}: its data, {recorded['kind']}, was given in Python, and others do "
            "not have it; train on a data set that a spec can name"
        )


def _recorded(directory: RunDirectory) -> list[dict[str, str]]:
    """The registered classes that a run used."""
    used: list[dict[str, str]] = directory.read_environment().get("registered", [])
    return used
