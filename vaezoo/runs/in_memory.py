"""Data that Python gives to a run, ``vaezoo.run(spec, data=...)``, which only this process has.

``environment.json`` records its fingerprint under ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from vaezoo.data.conversion import kind_of
from vaezoo.data.dataset import Dataset, InMemoryDataset
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.fingerprint import Fingerprint
from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import IntegrityError, UsageError
from vaezoo.utils.process_group import ProcessGroup


def build_dataset(spec: Spec, data: Any = None, *, run: Path | None = None) -> Dataset:
    """Builds the data set of a spec.

    Args:
        spec: the spec.
        data: what Python gave; None for nothing.
        run: the directory of the run, if there is one already.

    Raises:
        UsageError: the spec needs data that was not given, or has data of its own.
        IntegrityError: the run was trained on other data.
    """
    dataset: Dataset = spec.data.build()
    if data is None:
        _check_no_data_needed(spec, dataset, run)
    elif not _needs_data(dataset):
        raise UsageError(
            f"{_place(spec)}: data= is a {kind_of(data)}, but the data of the spec is "
            f"{spec.data.name!r}; leave out one of them"
        )
    else:
        dataset.set_data(data)
        if run is not None:
            _check_same_data(RunDirectory(run), dataset.fingerprint)
    return dataset


def needs_data(spec: Spec) -> bool:
    """Whether Python must give the data of a spec."""
    return _needs_data(spec.data.build())


def _needs_data(dataset: Dataset) -> TypeGuard[InMemoryDataset]:
    """Whether a data set has no examples unless Python gives them."""
    return isinstance(dataset, InMemoryDataset) and dataset.needs_data


def check_no_data_needed(spec: Spec) -> None:
    """Raises UsageError if Python must give the data of a spec."""
    _check_no_data_needed(spec, spec.data.build(), None)


def _check_no_data_needed(spec: Spec, dataset: Dataset, run: Path | None) -> None:
    """Raises UsageError if Python must give the data; for ``run`` see ``build_dataset``."""
    if not _needs_data(dataset):
        return
    if run is None:
        raise UsageError(f"{_place(spec)}: Python gives the data: vaezoo.run(spec, data=...)")
    raise UsageError(
        f"{run}: its data was given in Python, and is needed again: "
        f"vaezoo.open_run({str(run)!r}, data=...), or vaezoo.resume"
    )


def _place(spec: Spec) -> str:
    """Where the data stands in a spec."""
    mark = spec.tree.locate(("data",))
    return f"{mark.file}:{mark.line}:{mark.column}: data"


def _check_same_data(directory: RunDirectory, actual: Fingerprint) -> None:
    """Raises IntegrityError if a run was trained on other data."""
    recorded = directory.read_environment().get("data")
    if recorded is None:  # the run ended before it began to train
        return
    expected = Fingerprint.from_json(recorded)
    if expected != actual:
        raise IntegrityError(
            f"{directory.path}: was trained on other data: {expected}; data= is {actual}"
        )


def check_same_everywhere(dataset: Dataset, process_group: ProcessGroup) -> None:
    """Checks that processes that train together were given the same data.

    Raises:
        UsageError: they were not; in every process.
    """
    if process_group.size == 1 or not _is_given(dataset):
        return
    own = dataset.fingerprint
    if process_group.any(process_group.broadcast_text(own.sha256) != own.sha256):
        raise UsageError(
            f"data= differs between the {process_group.size} processes; in process "
            f"{process_group.rank} it is {own}"
        )


def _is_given(dataset: Dataset) -> TypeGuard[InMemoryDataset]:
    """Whether Python gave its examples."""
    return isinstance(dataset, InMemoryDataset) and bool(dataset.kind)


def data_record(dataset: Dataset) -> dict[str, Any]:
    """What ``environment.json`` records of data that Python gave."""
    if not _is_given(dataset):
        return {}
    return {"data": {"kind": dataset.kind, **dataset.fingerprint.as_json()}}


def reading_note(data: DataSpec) -> str:
    """What a user should know of how numbers are read; empty for nothing."""
    has_pixels = any(part.pixels for part in (data, *data.parts.values()))
    return "; its integers are pixels, divided by 255" if has_pixels else ""


def data_caption(dataset_name: str, recorded: dict[str, Any] | None) -> str:
    """The data of a run in words: its name, and what ``environment.json`` records of it."""
    if recorded is None:
        return dataset_name
    return f"{dataset_name} ({recorded['kind']}, {Fingerprint.from_json(recorded)})"
