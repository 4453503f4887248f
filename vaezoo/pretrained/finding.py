"""Finds an entry of the available registries by its name."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Sequence

from vaezoo.pretrained.entry import version_of
from vaezoo.pretrained.registries import open_registries, read_entry, read_features
from vaezoo.pretrained.registry import Registry, RegistryEntry, RegistryFeatures
from vaezoo.utils.errors import UsageError, VaezooError

_MAX_NAMES = 20
"""How many names an error message lists."""
_Ids = Callable[[Registry], Sequence[str]]


def find_entry(name: str, extra: Iterable[str] = ()) -> RegistryEntry:
    """Finds the weights of a model by their name.

    Args:
        name: ``architecture/tag@version``; without ``@version`` the newest version that is not
            revoked; ``architecture-tag``; or ``architecture`` if it has only one tag.
            ``prefix:name`` selects another registry than vaezoo's own.
        extra: more registries, as in ``open_registries``.

    Raises:
        UsageError: there are no such weights, or more than one; the message suggests similar
            names. Or they are features.
    """
    found = _find(name, extra, _models, "weights")
    if found is None:
        raise UsageError(f"{name!r} is a feature extractor, no model; use vaezoo.load_features")
    return read_entry(*found)


def find_features(name: str, extra: Iterable[str] = ()) -> RegistryFeatures:
    """Finds a feature extractor; arguments and errors as for ``find_entry``."""
    found = _find(name, extra, _features, "features")
    if found is None:
        raise UsageError(f"{name!r} is a model, no feature extractor; use vaezoo.load")
    return read_features(*found)


def find_any(name: str, extra: Iterable[str] = ()) -> RegistryEntry | RegistryFeatures:
    """Finds a model or, if no model has this name, a feature extractor, as ``find_entry``."""
    found = _find(name, extra, _models, "weights")
    return find_features(name, extra) if found is None else read_entry(*found)


def _models(registry: Registry) -> Sequence[str]:
    return registry.ids


def _features(registry: Registry) -> Sequence[str]:
    return registry.features_ids


def _find(name: str, extra: Iterable[str], listed: _Ids, what: str) -> tuple[Registry, str] | None:
    """The registry and the id of an entry; None if only an entry of the other kind has the name.

    Args:
        name, extra: as for ``find_entry``.
        listed: the ids of a registry that are searched.
        what: the kind of entry, for messages.
    """
    prefix, _, short_name = name.rpartition(":")
    registries = open_registries(extra, only_prefix=prefix)
    newest = _newest_matches(short_name, registries, listed)
    if len(newest) == 1:
        return newest[0]
    if newest:
        found = sorted(registry.qualify(entry_id) for registry, entry_id in newest)
        names = ", ".join(found[:_MAX_NAMES])
        more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
        raise UsageError(f"{name!r} is ambiguous: it may be any of {names}{more}")
    if _newest_matches(short_name, registries, _features if listed is _models else _models):
        return None
    with contextlib.suppress(
        VaezooError
    ):  # similar names may be in other registries; errors in those do not matter
        registries = open_registries(extra)
    raise UsageError(f"no {what} named {name!r}{_similar_names(short_name, registries, listed)}")


def _newest_matches(
    name: str, registries: Iterable[Registry], listed: _Ids
) -> list[tuple[Registry, str]]:
    """The newest version, if possible one that is not revoked, of each entry with this name."""
    matches = [
        (registry, registry.summary(entry_id))
        for registry in registries
        for entry_id in listed(registry)
        if _matches_name(name, entry_id)
    ]
    newest: dict[str, tuple[Registry, str]] = {}
    for registry, summary in sorted(
        matches, key=lambda match: (match[1].status != "revoked", version_of(match[1].id))
    ):
        newest[summary.id.partition("@")[0]] = registry, summary.id
    return list(newest.values())


def _matches_name(name: str, entry_id: str) -> bool:
    base, _, version = entry_id.partition("@")
    wanted, at, wanted_version = name.partition("@")
    if at and wanted_version != version:
        return False
    return wanted in (base, base.replace("/", "-")) or name == base.partition("/")[0]


def _similar_names(name: str, registries: Iterable[Registry], listed: _Ids) -> str:
    """The end of an error message: similar names, or where all names are listed."""
    names = {
        registry.qualify(entry_id).partition("@")[0]: None
        for registry in registries
        for entry_id in listed(registry)
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
