"""Builds the loaders of the splits of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.dataset import Dataset
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.hiding import hidden_labels, with_labels
from vaezoo.data.loader import Loader
from vaezoo.model.model import Model
from vaezoo.runs.workers import check_workers
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import DataError, did_you_mean
from vaezoo.utils.process_group import ProcessGroup


def build_loader(
    spec: Spec,
    dataset: Dataset,
    split: str,
    device: torch.device,
    process_group: ProcessGroup | None = None,
) -> Loader:
    """Builds the loader of one split with the options of ``spec.data``.

    Args:
        spec: the spec of the run.
        dataset: the data set that the spec describes.
        split: ``train``, ``validation`` or ``test``.
        device: the device of the batches.
        process_group: the processes that share each batch; by default only this one.
    """
    options, process_group = spec.data.loader, process_group or ProcessGroup()
    assert options is not None
    if options.batch_size < process_group.size:
        raise spec.problem(
            "data.batch_size",
            f"{options.batch_size} examples are too few for {process_group.size} processes",
        )
    examples = dataset.split(split)
    check_workers(dataset, examples, options.workers)
    loader = Loader(
        examples,
        device,
        options.batch_size,
        workers=options.workers,
        seed=spec.seed,
        rank=process_group.rank,
        world_size=process_group.size,
    )
    if split == "test" or (options.omit is None and options.hide_labels is None):
        return loader
    if options.omit is not None:
        loader = _without(loader, spec, dataset, options.omit)
    if split != "train" or options.hide_labels is None:
        return loader
    labels = _labels(loader, spec, dataset, "hide_labels")
    try:
        labels = hidden_labels(labels, dataset.spec.classes, options.hide_labels)
    except ValueError as error:
        raise spec.problem("data.hide_labels", str(error)) from error
    return loader.with_split(with_labels(loader.split, labels))


def _without(loader: Loader, spec: Spec, dataset: Dataset, omitted: Sequence[str]) -> Loader:
    """The examples of all but some classes; those with an unknown label stay."""
    labels, classes = _labels(loader, spec, dataset, "omit"), dataset.spec.classes
    keeps = torch.ones_like(labels, dtype=torch.bool)
    for name in omitted:
        if name not in classes:
            hint = did_you_mean(name, classes)
            raise spec.problem("data.omit", f"no class {name!r}{hint}")
        keeps &= labels != classes.index(name)
    if not keeps.any():
        raise spec.problem("data.omit", "no example is left")
    rest = loader.with_split(loader.split.select(keeps.nonzero()[:, 0]))
    rest.omitted = len(labels) - len(rest)
    return rest


def _labels(loader: Loader, spec: Spec, dataset: Dataset, option: str) -> Tensor:
    """The labels that an option of the data needs."""
    labels = loader.labels() if dataset.spec.classes else None
    if labels is None:
        message = f"data set {spec.data.name!r} has no class labels"
        raise spec.problem(f"data.{option}", message)
    return labels


def require_same_kind(model: Model, dataset: Dataset, name: str) -> None:
    """Checks that a model can read the examples of a data set, which may not be those it had.

    Args:
        model: the model.
        dataset: the data set.
        name: of the data set, for messages.

    Raises:
        DataError: shape, support or condition of the examples differ from those of training.
    """
    before, now = (_kind(data, model) for data in (model.data, dataset.spec))
    for aspect, expected in before.items():
        if now[aspect] != expected:
            raise DataError(
                f"data set {name!r}: {aspect} of its examples is {now[aspect]}, and that of the "
                f"model is {expected}; restore the data that it was trained on"
            )


def _kind(data: DataSpec, model: Model) -> dict[str, Any]:
    """What a model depends on, by what it is called in messages."""
    aspects: dict[str, Any] = {
        "the shape": data.shape[1:] if data.variable_length else data.shape,
        "the support": data.support,
    }
    for name, part in data.parts.items():
        aspects |= {f"{aspect} of {name!r}": each for aspect, each in _kind(part, model).items()}
    if model.conditioner is not None:
        aspects["the shape of the condition"] = data.condition_shape
    return {"the names of the parts": sorted(data.parts), **aspects}


def require_known_labels(model: Model, examples: Loader, split: str) -> Loader:
    """The examples, if the model can be given all of their labels.

    Raises:
        DataError: labels are unknown, and the model is conditional on them.
    """
    labels = examples.condition
    if labels is None or not model.data.classes or model.takes_unknown_labels:
        return examples
    if count := int((labels < 0).sum()):
        raise DataError(
            f"{count:,} of {len(labels):,} {split} examples have no label, on which the model is "
            "conditional; set model.condition.dropout above 0, so that it learns to do without"
        )
    return examples
