"""Hides the labels of training examples, as if they were not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.utils.errors import did_you_mean
from vaezoo.utils.seeds import derive_seed

NO_LABEL = -1
"""The label of an example whose class is not known."""


def hidden_labels(labels: Tensor, classes: Sequence[str], hide: float | Sequence[str]) -> Tensor:
    """The labels with some of them unknown, int64 ``[n]``.

    Args:
        labels: below 0 where they are unknown already, int64 ``[n]``.
        classes: the names of the classes.
        hide: the share of the labels of each class that is hidden, of which at least one stays; it
            is the same choice for every seed of a run. Or the names of classes, all labels of
            which are hidden.

    Raises:
        ValueError: there is no class of a name, or the share is not between 0 and 1.
    """
    hidden = labels.clone()
    if not isinstance(hide, float):
        for name in hide:
            if name not in classes:
                raise ValueError(f"no class {name!r}{did_you_mean(name, classes)}")
            hidden[labels == classes.index(name)] = NO_LABEL
        return hidden
    if not 0 < hide < 1:
        raise ValueError(f"the share of hidden labels is between 0 and 1, not {hide}")
    generator = torch.Generator().manual_seed(derive_seed("hide_labels"))
    shuffled = torch.randperm(len(labels), generator=generator)
    for label in range(len(classes)):
        of_class = shuffled[labels[shuffled] == label]
        count = min(round(hide * len(of_class)), max(0, len(of_class) - 1))
        hidden[of_class[:count]] = NO_LABEL
    return hidden


def with_labels(split: Split, labels: Tensor) -> Split:
    """The split with the labels ``[n]`` in place of its own, also of examples that are read."""
    known, own = labels >= 0, split.batch_transform
    replaced = replace(split, condition=labels)
    if isinstance(split.condition, Tensor) and own is None:
        return replaced

    def batch_transform(batch: Batch) -> Batch:
        changed = batch if own is None else own(batch)
        assert batch.index is not None and changed.condition is not None
        is_known = known.to(batch.index.device)[batch.index]
        return replace(changed, condition=changed.condition.where(is_known, NO_LABEL))

    return replace(replaced, batch_transform=batch_transform)
