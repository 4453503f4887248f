"""The base class of data sets, and one split of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


class Dataset(ABC):
    """Examples in the splits train, validation and test. Wiring: none."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """Describes one example, after ``Split.transform``."""

    @abstractmethod
    def split(self, name: str) -> Split:
        """Returns the split ``train``, ``validation`` or ``test``.

        Raises:
            vaezoo.DataError: the file is missing or malformed; names the file and the row.
            vaezoo.UnavailableError: the data cannot be downloaded.
        """


@dataclass(frozen=True)
class Split:
    """The n examples of one split of a data set.

    Attributes:
        x: all examples in the form in which they are stored, ``[n, ...]``, usually uint8 images;
            or, for data that does not fit in memory, a map-style data set with items
            ``(x, condition)``, where condition is None if the data has no conditions.
        condition: the conditions in memory, ``[n, ...]``, or None.
        mask: True where ``x`` is observed, bool ``[n, *shape[:mask_dims]]``, or None.
        transform: converts a batch of stored ``x`` to model input; called once per batch, on the
            training device. None if ``x`` is stored as model input.
        factors: the ground-truth factors of each example, as indices of their values, int64
            ``[n, factors]``; None if they are not known.
        batch_transform: called last, with the whole batch, to change ``x``, condition and mask
            together, for example to compute the condition from ``x``.
        epoch_order: returns the indices of the examples of an epoch in their order, given the
            epoch's number, a seed and the batch size. None visits each example once, shuffled.
    """

    x: Tensor | torch.utils.data.Dataset[Any]
    condition: Tensor | None = None
    mask: Tensor | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    _: KW_ONLY
    factors: Tensor | None = None
    batch_transform: Callable[[Batch], Batch] | None = None
    epoch_order: Callable[[int, int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.x)  # type: ignore[arg-type]
