"""Batches on the training device: index gathers for data in memory, worker processes for data that is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.seeds import mix


class Loader:
    """Serves one split in batches.

    Args:
        split: the examples. Tensors are moved to ``device`` once, as they are stored.
        device: where batches are wanted.
        batch_size: examples per batch, over all processes together.
        workers: processes that read a lazy split; 0 reads in this one.
        seed: of the order of examples.
        rank, world: this process takes every ``world``-th example of each batch, beginning with ``rank``.
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
        """Batches in one epoch; a last one too small to give every process an example is left out."""
        full, rest = divmod(len(self), self.batch_size)
        return full + (rest >= self.world_size)

    def order(self, epoch: int) -> Tensor:
        """The order of examples in an epoch: a pure function of the seed."""
        if self.split.epoch_order is not None:
            return self.split.epoch_order(epoch, mix(self.seed, "order", epoch), self.batch_size)
        generator = torch.Generator().manual_seed(mix(self.seed, "order", epoch))
        return torch.randperm(len(self), generator=generator)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Shuffled batches of one epoch, from batch ``start`` on."""
        order = self.order(number)
        steps = range(start, self.steps_per_epoch)
        size, rank, world_size = self.batch_size, self.rank, self.world_size
        if self.x is None:
            yield from self._stream([order[i * size : (i + 1) * size][rank::world_size].tolist() for i in steps])
            return
        order = order.to(self.device)
        for i in steps:
            yield self.gather(order[i * size : (i + 1) * size][rank::world_size])

    def ordered(self, batch_size: int | None = None, limit: int | None = None) -> Iterator[Batch]:
        """Batches in the order of the split, up to ``limit`` examples."""
        size, total = batch_size or self.batch_size, len(self) if limit is None else min(limit, len(self))
        starts = range(0, total, size)
        if self.x is None:
            yield from self._stream([list(range(i, min(i + size, total))) for i in starts])
            return
        for i in starts:
            part = slice(i, min(i + size, total))
            yield self._batch(self.x[part], _take(self.condition, part), _take(self.mask, part))

    def gather(self, index: Tensor) -> Batch:
        """The examples at ``index`` of a split in memory."""
        assert self.x is not None
        condition = None if self.condition is None else self.condition.index_select(0, index)
        mask = None if self.mask is None else self.mask.index_select(0, index)
        return self._batch(self.x.index_select(0, index), condition, mask)

    def first(self, count: int) -> Batch:
        """The first examples as one batch."""
        return next(iter(self.ordered(count, count)))

    def _batch(self, x: Tensor, condition: Tensor | None, mask: Tensor | None) -> Batch:
        batch = Batch(self.split.transform(x) if self.split.transform else x, condition, mask)
        return self.split.batch_transform(batch) if self.split.batch_transform else batch

    def _stream(self, batches: list[list[int]]) -> Iterator[Batch]:
        pinned = self.device.type == "cuda"
        loader: DataLoader[Any] = DataLoader(
            _Reader(self.split.x),  # type: ignore[arg-type]
            batch_sampler=batches,
            num_workers=self.workers,
            collate_fn=_collate,
            pin_memory=pinned,
            generator=torch.Generator(),  # the global one belongs to the training step
        )
        for index, read in zip(batches, loader, strict=True):
            if isinstance(read, VaezooError):
                raise read
            x, condition = read[0].to(self.device, non_blocking=pinned), read[1]
            mask = None if self.mask is None else self.mask[index]
            yield self._batch(x, None if condition is None else condition.to(self.device), mask)


class _Reader(Dataset[Any]):
    """A lazy split whose errors come back as items: torch would wrap them in the traceback of a worker process."""

    def __init__(self, source: Dataset[Any]) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Any:
        try:
            return self.source[index]
        except VaezooError as error:
            return error


def _take(values: Tensor | None, part: slice) -> Tensor | None:
    return None if values is None else values[part]


def _collate(items: list[Any]) -> tuple[Tensor, Tensor | None] | VaezooError:
    for item in items:
        if isinstance(item, VaezooError):
            return item
    condition = None if items[0][1] is None else torch.stack([torch.as_tensor(c) for _, c in items])
    return torch.stack([x for x, _ in items]), condition
