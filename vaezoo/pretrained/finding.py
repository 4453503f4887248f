"""Finds an entry of the available registries by its name."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable

from vaezoo.pretrained.entry import version_of
from vaezoo.pretrained.registries import open_registries, read_entry
from vaezoo.pretrained.registry import Registry, RegistryEntry
from vaezoo.utils.errors import UsageError, VaezooError

_MAX_NAMES = 20
"""How many names an error message lists."""


def find_entry(name: str, extra: Iterable[str] = ()) -> RegistryEntry:
    """Finds an entry by its name.

    Args:
        name: ``architecture/tag@version``; without ``@version`` the newest version that is not
            revoked; ``architecture-tag``; or ``architecture`` if it has only one tag.
            ``prefix:name`` selects another registry than vaezoo's own.
        extra: more registries, as in ``open_registries``.

    Raises:
        UsageError: there is no such entry, or more than one; the message suggests similar names.
    """
    prefix, _, short_name = name.rpartition(":")
    registries = open_registries(extra, only_prefix=prefix)
    matches = [
        (registry, registry.summary(entry_id))
        for registry in registries
        for entry_id in registry.ids
        if _matches_name(short_name, entry_id)
    ]
    newest: dict[str, tuple[Registry, str]] = {}
    for registry, summary in sorted(
        matches, key=lambda match: (match[1].status != "revoked", version_of(match[1].id))
    ):
        newest[summary.id.partition("@")[0]] = registry, summary.id
    if len(newest) == 1:
        return read_entry(*next(iter(newest.values())))
    if newest:
        found = sorted(registry.qualify(entry_id) for registry, entry_id in newest.values())
        names = ", ".join(found[:_MAX_NAMES])
        more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
        raise UsageError(f"{name!r} is ambiguous: it may be any of {names}{more}")
    with contextlib.suppress(
        VaezooError
    ):  # similar names may be in other registries; errors in those do not matter
        registries = open_registries(extra)
    raise UsageError(f"no weights named {name!r}{_similar_names(short_name, registries)}")


def _matches_name(name: str, entry_id: str) -> bool:
    base, _, version = entry_id.partition("@")
    wanted, at, wanted_version = name.partition("@")
    if at and wanted_version != version:
        return False
    return wanted in (base, base.replace("/", "-")) or name == base.partition("/")[0]


def _similar_names(name: str, registries: Iterable[Registry]) -> str:
    """The end of an error message: similar names, or where all names are listed."""
    names = {
        registry.qualify(entry_id).partition("@")[0]: None
        for registry in registries
        for entry_id in registry.ids
    }
    full_names = {each.replace("/", "-"): each for each in names}
    close = difflib.get_close_matches(
        name.partition("@")[0].replace("/", "-"), full_names, n=3, cutoff=0.5
    )
    if close:
        return f"; did you mean {' or '.join(full_names[each] for each in close)}?"
    return (
        "; vaezoo weights list shows them all" if names else "; the available registries list none"
    )
