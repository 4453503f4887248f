"""The kind of component that gives examples, and one split of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


class Dataset(ABC):
    """Named splits of examples. Wiring: none."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What one example looks like after ``Split.transform``."""

    @abstractmethod
    def split(self, name: str) -> Split:
        """The split ``train``, ``validation`` or ``test``.

        Raises:
            vaezoo.utils.errors.DataError: the file is missing or malformed; names the file and row.
            vaezoo.utils.errors.UnavailableError: the data cannot be fetched.
        """


@dataclass(frozen=True)
class Split:
    """One named part of a data set.

    Attributes:
        x: all examples as they are stored, ``[n, ...]``, usually uint8 images; or a map-style data set that yields
            ``(x, condition)`` one by one (condition None where there is none), for data that is read lazily.
        condition: ``[n, ...]``, or None.
        mask: bool, ``[n, *shape[:mask_dims]]``, or None.
        transform: from a batch of stored ``x`` on the training device to model input; runs once per batch.
        factors: the index of each ground-truth factor's value, int64 ``[n, factors]``; None where it is not known.
        batch_transform: from a batch to the batch that the model is given, where condition or mask follow from ``x``; runs last.
        epoch_order: from an epoch's number, a seed and the size of a batch to the examples the epoch takes, ``[n]``;
            None takes each once, shuffled.
    """

    x: Tensor | torch.utils.data.Dataset[Any]
    condition: Tensor | None = None
    mask: Tensor | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    factors: Tensor | None = None
    batch_transform: Callable[[Batch], Batch] | None = None
    epoch_order: Callable[[int, int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.x)  # type: ignore[arg-type]
