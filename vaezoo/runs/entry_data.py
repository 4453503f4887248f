"""Where the data of pretrained weights of others is: in a folder that the user names."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from vaezoo.pretrained.locations import own_registry_path
from vaezoo.pretrained.names import path_fault
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.spec.places import locate_places
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import RegistryError, UnavailableError
from vaezoo.utils.paths import exists, is_of_machine, last_part

UNPUBLISHED = "unpublished"
"""What a published spec says in place of a run or a file that was not published."""


def locate_data(entry: RegistryEntry, spec: Spec) -> Spec:
    """The spec of an entry, whose data and metrics read files below ``VAEZOO_DATA`` only.

    Those of vaezoo's own registry are read like those of the user. A registry of somebody else
    must not choose what is read on this machine, nor where folders are created.

    Raises:
        UnavailableError: there, or when the spec names a file, ``VAEZOO_DATA`` is not set.
        RegistryError: a path leads out of the folder.
    """
    if entry.registry.origin == str(own_registry_path()):
        return spec
    return locate_places(spec, partial(_locate, entry))


def _locate(entry: RegistryEntry, path: str) -> str:
    name = last_part(path) if is_of_machine(path) else path
    folder = os.environ.get("VAEZOO_DATA")
    if not folder:
        raise UnavailableError(
            f"{entry.name}: its data is {name!r}, and a registry does not choose where that is on "
            "this machine; set VAEZOO_DATA to the folder that contains it, or name a file"
        )
    if reason := path_fault(name):
        raise RegistryError(f"{entry.name}: the path {path!r} of its data {reason}")
    return str(Path(folder).expanduser().absolute() / name)


def check_init(entry: RegistryEntry, spec: Spec) -> None:
    """Raises UnavailableError if training began with weights that are not pretrained weights."""
    for item in spec.init:
        is_file = item.source.endswith(".safetensors") or is_of_machine(item.source)
        if is_file or item.source.startswith(UNPUBLISHED) or exists(Path(item.source)):
            raise UnavailableError(
                f"{entry.name}: its training began with {item.source!r}, which is no name of "
                "pretrained weights, so that it cannot be repeated"
            )
