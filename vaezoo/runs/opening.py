"""Finished runs and pretrained weights as runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vaezoo.nn.loading import load_strict
from vaezoo.pretrained.loading import load_entry
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.pretrained.registries import RegistryEntry, find
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.run import Run
from vaezoo.spec.composer import compose
from vaezoo.spec.load import load
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import read_tensors


def open_weights(name: str, *, device: str = "cpu", also: Iterable[str] = ()) -> Run:
    """Pretrained weights as a run whose training data is looked for when it is used; it has no directory."""
    return open_entry(find(name, also), device)


def open_entry(found: RegistryEntry, device: str = "cpu") -> Run:
    """The same for an entry that was found."""
    spec, task = load_entry(found, device)
    return Run(RunDirectory(Path(found.name)), spec, task)


def open_run(path: str | Path, *, device: str = "auto", precision: str = "fp32") -> Run:
    """Opens a finished run; its data set is only looked for when it is used.

    Args:
        path: the run's directory.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: what networks compute in: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        UsageError: there is no finished run at ``path``.
        IntegrityError: the weights are damaged or are not this spec's.
    """
    directory = RunDirectory.open(path)
    if not directory.model.is_file():
        raise UsageError(f"{path}: the run is not finished; vaezoo resume {path}")
    spec = load(directory.spec)
    tensors, metadata = read_tensors(directory.model)
    data, train_size = read_model_header(metadata, str(directory.model))
    task = compose(spec, data, train_size)
    load_strict(task.model, tensors, str(directory.model))
    if directory.regularizers.is_file():
        load_strict(task.regularizers, read_tensors(directory.regularizers)[0], str(directory.regularizers))
    task.model.precision = precision
    return Run(directory, spec, task.to(pick_device(device)).eval())
