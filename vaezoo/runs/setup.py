"""Builds the data set, the training loader and the task of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vaezoo.data.balance import Balance
from vaezoo.data.dataset import Dataset
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.loader import Loader
from vaezoo.model.task import Task
from vaezoo.runs.in_memory import build_dataset, check_same_everywhere
from vaezoo.runs.loaders import build_loader, require_known_labels
from vaezoo.runs.process_classes import check_importable
from vaezoo.spec.composer import compose_stages
from vaezoo.spec.spec import Spec
from vaezoo.spec.task_checks import check_class_weights, check_loss
from vaezoo.training.batch_parts import needs_two_examples
from vaezoo.utils.devices import pick_device, pick_precision
from vaezoo.utils.errors import DataError
from vaezoo.utils.process_group import ProcessGroup


def prepare_training(
    spec: Spec,
    device: torch.device,
    process_group: ProcessGroup | None = None,
    *,
    data: Any = None,
    run: Path | None = None,
) -> tuple[Dataset, Loader, tuple[Task, ...]]:
    """Builds what training needs, on a device.

    Args:
        spec: the spec of the run.
        device: the device of the task and of the batches.
        process_group: the processes that train together; by default only this one.
        data: the data that Python gave; None for nothing.
        run: the directory of the run, if there is one already.

    Returns:
        The data set, the loader of its training split, and the task of each stage; these share
        one model.
    """
    dataset = build_dataset(spec, data, run=run)
    if process_group is not None:
        check_importable(spec, process_group)
        check_same_everywhere(dataset, process_group)
    train = build_loader(spec, dataset, "train", device, process_group)
    train.balance = _balance(spec, dataset.spec, train)
    composed = compose_stages(spec, dataset.spec, len(train))
    for stage, task in zip(spec.stages, composed, strict=True):
        check_loss(spec, stage, task)
    tasks = tuple(task.to(device) for task in composed)
    _set_fewest_examples(spec, train, tasks)
    if train.balance is not None and train.balance.loss is not None:
        for stage, task in zip(spec.stages, tasks, strict=True):
            check_class_weights(spec, stage, task)
    model = tasks[0].model
    require_known_labels(model, train, "train")
    model.count_classes(train.condition)
    model.precision = pick_precision(spec.train.precision, device)
    return dataset, train, tasks


def _balance(spec: Spec, data: DataSpec, train: Loader) -> Balance | None:
    """How the training split is drawn and weighed by class; None if the spec does not say.

    Raises:
        SpecError: the data has no class labels, or an option does not fit them.
    """
    options = spec.data.loader
    assert options is not None
    chosen = {"class_sampling": options.class_sampling, "class_weights": options.class_weights}
    if not (chosen := {name: value for name, value in chosen.items() if value is not None}):
        return None
    path = f"data.{next(iter(chosen))}"
    labels = train.labels() if data.classes else None
    if labels is None:
        raise spec.problem(path, f"data set {spec.data.name!r} has no class labels")
    for name, value in chosen.items():
        try:
            Balance(labels, data.classes, sampling=value)
        except ValueError as error:
            raise spec.problem(f"data.{name}", str(error)) from error
    if options.class_sampling is not None and _draws_by_itself(train):
        message = "the options of the data set already say how often examples are drawn"
        raise spec.problem("data.class_sampling", message)
    try:
        return Balance(
            labels, data.classes, sampling=options.class_sampling, loss=options.class_weights
        )
    except ValueError as error:
        raise spec.problem("data.class_weights", str(error)) from error


def _draws_by_itself(train: Loader) -> bool:
    """Whether an epoch of the data set is more than an order of its examples."""
    return not torch.equal(train.epoch_order(0).sort().values, torch.arange(len(train)))


def _set_fewest_examples(spec: Spec, train: Loader, tasks: Sequence[Task]) -> None:
    """Leaves out last batches that are too small for batch norm, and checks that others are not.

    Raises:
        SpecError: all batches are too small.
        DataError: the training split is.
    """
    stages = zip(spec.stages, tasks, strict=True)
    needs_two = (needs_two_examples(task, train, stage.train.accumulate) for stage, task in stages)
    train.fewest_examples = 2 if any(needs_two) else 1
    least = train.fewest_examples * train.world_size
    needed = f"{least} examples are needed"
    if train.fewest_examples > 1:
        needed = f"batch norm needs {least} examples"
    if train.world_size > 1:
        needed += f" in {train.world_size} processes"
    if train.batch_size < least:
        raise spec.problem("data.batch_size", f"{train.batch_size} is too small: {needed}")
    if len(train) < least:
        raise DataError(f"the training split, of size {len(train)}, is too small: {needed}")


def prepare_current_process(
    spec: Spec, data: Any = None, run: Path | None = None
) -> tuple[Dataset, Loader, tuple[Task, ...]]:
    """Calls ``prepare_training`` with the device and the process group of this process."""
    device, process_group = pick_device(spec.train.device), ProcessGroup.current()
    if device.type == "cuda" and process_group.size > 1:
        torch.cuda.set_device(device)  # collective operations use the current device
    return prepare_training(spec, device, process_group, data=data, run=run)
