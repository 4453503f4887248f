"""Opens finished runs and pretrained weights as a ``Run``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vaezoo.model.objectives import Schedule
from vaezoo.nn.loading import load_strict
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.loading import load_entry
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.entry_data import locate_data
from vaezoo.runs.finding import find_run
from vaezoo.runs.in_memory import build_dataset
from vaezoo.runs.process_classes import check_registered
from vaezoo.runs.recorded_spec import load_recorded_spec
from vaezoo.runs.run import Run
from vaezoo.spec.composer import compose
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import UsageError
from vaezoo.utils.paths import shell_word


def open_weights(name: str, *, device: str = "cpu", extra_registries: Iterable[str] = ()) -> Run:
    """Opens pretrained weights as a run without a directory.

    The data set is loaded only when it is used. The files that the spec of another registry than
    vaezoo's own names are then looked up in ``VAEZOO_DATA`` only.

    Args:
        name: the name of the weights in a registry.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        extra_registries: paths or URLs of registries to search in addition to the configured ones.
    """
    return open_entry(find_entry(name, extra_registries), device)


def open_entry(entry: RegistryEntry, device: str = "cpu") -> Run:
    """Opens the pretrained weights of a registry entry as a run without a directory."""
    spec, task = load_entry(entry, device)
    directory = RunDirectory(Path(entry.name))
    return Run(directory, spec, task, locate_data=partial(locate_data, entry))


def open_run(
    path: str | Path, *, data: Any = None, device: str = "auto", precision: str = "fp32"
) -> Run:
    """Opens a finished run; its data set is loaded only when it is used.

    Args:
        path: the run's directory; or ``latest``, ``NAME/latest``, or the beginning of the path or
            the time of one run below ``runs``.
        data: the data that the run was trained on, if ``vaezoo.run`` was given it as ``data=``;
            without it the run has its model, but no data to evaluate it on.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: the precision in which networks compute: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        UsageError: there is no finished run at ``path``, more than one is meant, or its data was
            not given in Python.
        PluginError: it uses classes that the process that trained it had registered.
        IntegrityError: the weights are damaged or do not belong to this spec, ``spec.yaml`` was
            changed, or the data is not that which the run was trained on.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> trained = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> run = vaezoo.open_run(trained.path, device="cpu")
        >>> run.model.sample(4).shape
        torch.Size([4, 1, 8, 8])
    """
    path = find_run(path)
    directory = RunDirectory.open(path)
    if not directory.model.is_file():
        raise UsageError(f"{path}: the run is not finished; vaezoo resume {shell_word(path)}")
    check_registered(directory)
    spec = load_recorded_spec(directory)
    dataset = None if data is None else build_dataset(spec, data, run=directory.path)
    tensors, metadata = directory.read_tensors(directory.model)
    described, train_size = read_model_header(metadata, str(directory.model))
    task = compose(spec, described, train_size)
    load_strict(task.model, tensors, str(directory.model))
    for path, module in (
        (directory.regularizers, task.regularizers),
        (directory.objective, task.objective),
    ):
        if path.is_file():
            tensors, _ = directory.read_tensors(path)
            # runs of earlier versions lack the values of schedules
            load_strict(module, {**_schedule_values(module), **tensors}, str(path))
    task.model.precision = precision
    return Run(directory, spec, task.to(pick_device(device)).eval(), dataset)


def _schedule_values(module: nn.Module) -> dict[str, Tensor]:
    """The values of the schedules in a module, by their names in its state."""
    return {
        f"{name}.value": schedule.value
        for name, schedule in module.named_modules()
        if isinstance(schedule, Schedule)
    }
