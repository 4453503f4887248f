"""Measures published weights again, publishes them under a new id, and retracts old figures."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from vaezoo.pretrained.entry import WeightsEntry
from vaezoo.pretrained.entry_parts import File
from vaezoo.pretrained.fetching import fetch
from vaezoo.pretrained.loading import read_spec
from vaezoo.pretrained.registries import read_entry
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.runs import entry_fields
from vaezoo.runs.checking import compare
from vaezoo.runs.opening import open_entry
from vaezoo.runs.registry_file import EntryChange, open_folder
from vaezoo.runs.registry_folder import add_entry, check_texts, new_entry_folder
from vaezoo.runs.run import Run
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import UsageError, did_you_mean
from vaezoo.utils.files import write_bytes

_LICENCES = {"weights_licence": "weights", "data_licence": "data"}
"""The texts that are fields of ``licence``."""


def republish(
    published: RegistryEntry,
    entry_id: str,
    folder: Path,
    *,
    metrics: Sequence[str | Mapping[str, Any]] = (),
    retract: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    reason: str | None = None,
) -> RegistryEntry:
    """Publishes weights under a new id, with metrics that are measured now.

    Weights, spec and training record are those of the published entry. If the registry lists that
    entry, the new one shares its files, and figures of the old one are retracted: those that
    differ from the new ones by more than their standard error, and those that its spec no longer
    gives, because a metric was renamed.

    Args:
        published: the entry whose weights are published again.
        entry_id: ``architecture/tag@version`` of the new entry.
        folder: the folder of ``registry.yaml``, which is created if it does not exist.
        metrics: the metrics to measure: names, or mappings with ``type`` and options; they take
            the place of those in the spec. Empty for those of the spec. Figures that are not
            measured again are retracted only if they are named.
        retract: names of figures to retract in any case.
        texts: ``title``, ``weights_licence``, ``data_licence`` and ``citation``, as far as they
            differ from those of the published entry.
        reason: why figures are retracted, in one line.

    Returns:
        The new entry.

    Raises:
        UsageError: a plugin is not a release, the registry already has an entry with this id, or
            the old one has no figure of a name.
        SpecError: a metric does not exist or has invalid options.
        EvaluationError: a metric is NaN or infinite.
        RegistryError: a registry or its weights are not valid.
    """
    old, texts = published.weights, texts or {}
    check_texts(entry_id, {**texts, **({"reason": reason} if reason else {})})
    spec = read_spec(published)
    if metrics:
        spec = load_spec({**spec.resolved(), "evaluate": list(metrics)})
    registry = open_folder(folder, new_id=entry_id)
    shares = old.id in registry.ids and read_entry(registry, old.id).weights.files == old.files
    opened = open_entry(published)
    run = Run(opened.directory, spec, opened.task, locate_data=opened.locate_data)
    requires = entry_fields.requirements(run)
    _figures_to_retract(old, {"metrics": {}}, is_complete=False, named=retract)  # refuses names
    evaluation = run.evaluate()
    names = _figures_to_retract(old, evaluation, is_complete=not metrics, named=retract)
    with new_entry_folder(folder, entry_id) as entry_folder:
        text = dump(spec.resolved()).encode()
        write_bytes(folder / entry_folder / "spec.yaml", text)
        spec_hash = hashlib.sha256(text).hexdigest()
        source = {"path": f"{entry_folder}/spec.yaml", "sha256": spec_hash, "size": len(text)}
        files = old.files if shares else _copy_files(published, folder, entry_folder)
        changes = {
            "id": entry_id,
            "published": datetime.now(UTC).date().isoformat(),
            "spec": source,
            "requires": requires,
            "files": [file.model_dump() for file in files],
            "metrics": entry_fields.metric_rows(evaluation, run, spec_hash),
        }
        entry = _changed_entry(old, changes, texts)

        change = None
        if shares:
            retract_old = partial(retract_figures, successor=entry_id, names=names, reason=reason)
            change = EntryChange(old.id, retract_old)
        return add_entry(folder, entry_folder, entry, _pictures_folder(published), change)


def retract_figures(
    entry: WeightsEntry, successor: str, names: Container[str], reason: str | None
) -> WeightsEntry:
    """An entry with some figures marked as retracted; its weights and its spec never change.

    If the successor is a newer version of the same name, the entry is deprecated.

    Args:
        entry: the entry.
        successor: the id of the entry with the new measurement.
        names: the names of the figures.
        reason: why they are retracted; by default that the successor does not confirm them.
    """
    reason = reason or f"not confirmed by {successor}"
    metrics = [
        metric.model_copy(update={"retracted": reason})
        if metric.name in names and metric.retracted is None
        else metric
        for metric in entry.metrics
    ]
    update: dict[str, Any] = {"metrics": metrics}
    name, _, version = successor.partition("@")
    is_newer = name == entry.id.partition("@")[0] and int(version) > entry.version
    if is_newer and entry.status == "active":
        update |= {"status": "deprecated", "successor": successor}
        update |= {"reason": f"metrics retracted: {reason}"} if names else {}
    return entry.model_copy(update=update)


def _figures_to_retract(
    entry: WeightsEntry, evaluation: Mapping[str, Any], *, is_complete: bool, named: Iterable[str]
) -> set[str]:
    """The names of the figures of an entry to retract: see ``republish``.

    Args:
        entry: the entry.
        evaluation: the new measurement, in the format of ``evaluation.json``.
        is_complete: whether it has all metrics of the entry's spec.
        named: figures to retract in any case.

    Raises:
        UsageError: a named figure does not exist.
    """
    known = [metric.name for metric in entry.metrics]
    retracted = {name.replace("-", "_") for name in named}
    if unknown := sorted(retracted - {*known}):
        hint = did_you_mean(unknown[0], known)
        raise UsageError(f"{entry.id} states no metric {unknown[0]!r}{hint}")
    for row in compare(entry.metrics, evaluation, 1.0):
        if not row.agrees and (is_complete or row.measured is not None):
            retracted.add(row.name)
    return retracted


def _changed_entry(
    old: WeightsEntry, changes: Mapping[str, Any], texts: Mapping[str, str]
) -> WeightsEntry:
    """The entry with changed fields, as a new and active one."""
    fields = old.model_dump(exclude={"status", "successor", "reason"})
    fields |= {name: text for name, text in texts.items() if name not in _LICENCES}
    licence = {_LICENCES[name]: text for name, text in texts.items() if name in _LICENCES}
    fields["licence"] = {**fields["licence"], **licence}
    return WeightsEntry.model_validate({**fields, **changes})


def _copy_files(published: RegistryEntry, folder: Path, entry_folder: str) -> list[File]:
    """Copies the files of an entry to the folder of another, and returns them as its files."""
    copies = []
    for file in published.weights.files:
        path = f"{entry_folder}/{file.name}"
        write_bytes(folder / path, bytes(fetch(published.registry, file, published.name)))
        urls = [source for source in file.sources if "://" in source]
        copies.append(file.model_copy(update={"sources": [path, *urls]}))
    return copies


def _pictures_folder(published: RegistryEntry) -> Path | None:
    """The folder with the pictures of an entry; None if it is not on this machine."""
    path = published.weights.spec.path
    location = None if path is None else published.registry.locate(path)
    return location.parent if isinstance(location, Path) else None
