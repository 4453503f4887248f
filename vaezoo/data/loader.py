"""Loads batches to the training device.

Data in memory is moved to the device once and indexed there. Data that is read lazily comes from
the worker processes of a PyTorch ``DataLoader``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.seeds import derive_seed


class Loader:
    """Iterates over a split in batches.

    Args:
        split: the examples. Tensors are moved to ``device`` once, in the form in which they are
            stored.
        device: the device of the batches.
        batch_size: examples per batch, summed over all processes.
        workers: the number of worker processes that read a lazy split; 0 reads in this process.
        seed: the seed of the order of examples.
        rank, world_size: in training, this process takes every ``world_size``-th example of each
            batch, starting with example ``rank``.
    """

    def __init__(
        self,
        split: Split,
        device: torch.device,
        batch_size: int,
        *,
        workers: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.split, self.device, self.batch_size = split, device, batch_size
        self.workers, self.seed, self.rank, self.world_size = workers, seed, rank, world_size
        self.x = split.x.to(device) if isinstance(split.x, Tensor) else None
        self.condition = None if split.condition is None else split.condition.to(device)
        self.mask = None if split.mask is None else split.mask.to(device)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.split)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in one epoch.

        The last batch is dropped if it has fewer examples than there are processes.
        """
        full_batches, remaining = divmod(len(self), self.batch_size)
        return full_batches + (remaining >= self.world_size)

    def epoch_order(self, epoch: int) -> Tensor:
        """Returns the order of an epoch's examples; it depends only on the seed and the epoch."""
        seed = derive_seed(self.seed, "order", epoch)
        if self.split.epoch_order is not None:
            return self.split.epoch_order(epoch, seed, self.batch_size)
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yields the shuffled training batches of one epoch, from batch ``start`` on."""
        order = self.epoch_order(number)
        steps = range(start, self.steps_per_epoch)
        size, rank, world_size = self.batch_size, self.rank, self.world_size
        if self.x is None:
            yield from self._stream(
                [order[i * size : (i + 1) * size][rank::world_size].tolist() for i in steps]
            )
            return
        order = order.to(self.device)
        for i in steps:
            yield self.gather(order[i * size : (i + 1) * size][rank::world_size])

    def first_training_batch(self) -> Batch:
        """Returns the first batch of the first epoch, with the examples of all processes."""
        whole = self.with_seed(self.seed)
        whole.rank, whole.world_size = 0, 1
        return next(iter(whole.epoch(0)))

    def with_seed(self, seed: int) -> Loader:
        """Returns a loader of the same examples with another order of epochs."""
        other = copy.copy(self)
        other.seed = seed
        return other

    def ordered(self, batch_size: int | None = None, limit: int | None = None) -> Iterator[Batch]:
        """Yields batches in the order of the split, in every process all of them.

        Args:
            batch_size: examples per batch; by default that of the loader.
            limit: the greatest number of examples; None for all.
        """
        size = batch_size or self.batch_size
        total = len(self) if limit is None else min(limit, len(self))
        starts = range(0, total, size)
        if self.x is None:
            yield from self._stream([list(range(i, min(i + size, total))) for i in starts])
            return
        for i in starts:
            rows = slice(i, min(i + size, total))
            yield self._batch(self.x[rows], _slice(self.condition, rows), _slice(self.mask, rows))

    def gather(self, index: Tensor) -> Batch:
        """Returns the examples at the indices ``index`` ``[B]`` of a split in memory."""
        assert self.x is not None
        condition = None if self.condition is None else self.condition.index_select(0, index)
        mask = None if self.mask is None else self.mask.index_select(0, index)
        return self._batch(self.x.index_select(0, index), condition, mask)

    def first(self, count: int) -> Batch:
        """Returns the first ``count`` examples as one batch."""
        return next(iter(self.ordered(count, count)))

    def _batch(self, x: Tensor, condition: Tensor | None, mask: Tensor | None) -> Batch:
        """Applies the split's transforms to stored examples."""
        batch = Batch(self.split.transform(x) if self.split.transform else x, condition, mask)
        return self.split.batch_transform(batch) if self.split.batch_transform else batch

    def _stream(self, batches: list[list[int]]) -> Iterator[Batch]:
        """Reads a lazy split in batches of the given indices."""
        pin_memory = self.device.type == "cuda"
        loader: DataLoader[Any] = DataLoader(
            _ErrorsAsItems(self.split.x),  # type: ignore[arg-type]
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # leaves the global generator to the training step
        )
        for index, items in zip(batches, loader, strict=True):
            if isinstance(items, VaezooError):
                raise items
            x, condition = items[0].to(self.device, non_blocking=pin_memory), items[1]
            mask = None if self.mask is None else self.mask[index]
            yield self._batch(x, None if condition is None else condition.to(self.device), mask)


class _ErrorsAsItems(Dataset[Any]):
    """Returns a lazy split's errors as items.

    If they were raised in a worker process, PyTorch would wrap them in its traceback.
    """

    def __init__(self, source: Dataset[Any]) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Any:
        try:
            return self.source[index]
        except VaezooError as error:
            return error


def _slice(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]


def _collate(items: list[Any]) -> tuple[Tensor, Tensor | None] | VaezooError:
    """Stacks items ``(x, condition)``, or returns the first error among them."""
    for item in items:
        if isinstance(item, VaezooError):
            return item
    condition = None
    if items[0][1] is not None:
        condition = torch.stack([torch.as_tensor(value) for _, value in items])
    return torch.stack([x for x, _ in items]), condition
