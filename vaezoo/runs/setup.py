"""Data set, loader and task of a spec."""

from __future__ import annotations

import torch

from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.model.task import Task
from vaezoo.runs.run import loader
from vaezoo.spec.composer import compose
from vaezoo.spec.spec import Spec
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.devices import pick_device, pick_precision


def prepare(
    spec: Spec, device: torch.device, process_group: ProcessGroup | None = None
) -> tuple[Dataset, Loader, Task]:
    """The data set, its training split and the composed task on a device."""
    dataset = spec.data.build()
    train = loader(spec, dataset, "train", device, process_group)
    task = compose(spec, dataset.spec, len(train)).to(device)
    task.model.count_classes(train.condition)
    task.model.precision = pick_precision(spec.train.precision, device)
    return dataset, train, task


def _prepare(spec: Spec) -> tuple[Dataset, Loader, Task]:
    """What this process trains, on its device."""
    device, process_group = pick_device(spec.train.device), ProcessGroup.current()
    if device.type == "cuda" and process_group.size > 1:
        torch.cuda.set_device(device)  # messages between processes go through the current one
    return prepare(spec, device, process_group)
