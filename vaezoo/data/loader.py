"""Loads batches to the training device.

Data in memory is moved to the device once and indexed there. Data that is read lazily comes from
the worker processes of a PyTorch ``DataLoader``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from vaezoo.data.balance import Balance
from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.mapping import map_tensors
from vaezoo.utils.errors import DataError, VaezooError, describe_error
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

    Attributes:
        fewest_examples: the fewest examples that a process takes of a training batch. The last
            batch of an epoch is left out if it has fewer for one of them.
        balance: how training batches are drawn and weighed by class; None for equally.
        omitted: how many examples of the split are not loaded because of their class.
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
        self.fewest_examples = 1
        self.balance: Balance | None = None
        self.omitted = 0
        self.x = _to(split.x, device) if isinstance(split.x, Tensor | Mapping) else None
        self.condition, self.mask = _to(split.condition, device), _to(split.mask, device)
        self.extras, self.present = _to(split.extras, device), _to(split.present, device)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.split)

    @property
    def steps_per_epoch(self) -> int:
        """The number of training batches in one epoch."""
        return -(-(len(self) - self.examples_left_out) // self.batch_size)

    @property
    def examples_left_out(self) -> int:
        """The number of training examples that each epoch leaves out: too few for a last batch."""
        remaining = len(self) % self.batch_size
        return remaining if remaining < self.world_size * self.fewest_examples else 0

    def epoch_order(self, epoch: int) -> Tensor:
        """Returns the order of an epoch's examples; it depends only on the seed and the epoch."""
        seed = derive_seed(self.seed, "order", epoch)
        if self.balance is not None and self.balance.sampling is not None:
            return self.balance.order(seed)
        if self.split.epoch_order is not None:
            return self.split.epoch_order(epoch, seed, self.batch_size)
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yields the shuffled training batches of one epoch, from batch ``start`` on."""
        weights = None if self.balance is None else self.balance.loss
        if weights is None:
            yield from self._epoch(number, start)
            return
        weights = weights.to(self.device)
        for batch in self._epoch(number, start):
            assert batch.index is not None, "a loader sets it"
            yield replace(batch, weight=weights[batch.index])

    def _epoch(self, number: int, start: int) -> Iterator[Batch]:
        """The batches of ``epoch`` without weights."""
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

    def first_training_batch(self, least: int = 0) -> Batch:
        """Returns the first batch of the first epoch, with the examples of all processes.

        Args:
            least: how many examples it has at least; at most those of the split.
        """
        whole = self.with_seed(self.seed)
        whole.batch_size = max(whole.batch_size, least)
        whole.rank, whole.world_size = 0, 1
        return next(iter(whole.epoch(0)))

    def with_split(self, split: Split) -> Loader:
        """Returns a loader of another split with the same options."""
        return Loader(
            split,
            self.device,
            self.batch_size,
            workers=self.workers,
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )

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
            yield self._batch(rows, torch.arange(rows.start, rows.stop, device=self.device))

    def labels(self) -> Tensor | None:
        """The label of each example, int64 ``[n]`` on the CPU, below 0 where it is unknown.

        Labels that are not in memory are read. None if the conditions are no labels.
        """
        labels = self.condition
        if labels is None or self.split.batch_transform is not None:
            read = [batch.condition for batch in self.ordered()]
            known = [condition for condition in read if condition is not None]
            labels = torch.cat(known) if known else None
        return None if labels is None or labels.dim() != 1 else labels.cpu()

    def gather(self, index: Tensor) -> Batch:
        """Returns the examples at the indices ``index`` ``[B]`` of a split in memory."""
        return self._batch(index, index)

    def first(self, count: int) -> Batch:
        """Returns the first ``count`` examples as one batch."""
        return next(iter(self.ordered(count, count)))

    def _batch(self, rows: slice | Tensor, index: Tensor) -> Batch:
        """The stored examples of some rows, after the split's transforms."""
        x = _take(self.x, rows)
        batch = Batch(
            x if self.split.transform is None else self.split.transform(x),
            None if self.condition is None else _take(self.condition, rows),
            None if self.mask is None else _take(self.mask, rows),
            extras=_take(self.extras, rows) if self.extras else {},
            index=index,
            present=None if self.present is None else _take(self.present, rows),
        )
        return self._transform(batch)

    def _transform(self, batch: Batch) -> Batch:
        """Applies the transform of whole batches, which may leave out what it does not change."""
        if self.split.batch_transform is None:
            return batch
        changed = self.split.batch_transform(batch)
        return replace(
            changed,
            index=batch.index if changed.index is None else changed.index,
            extras={**batch.extras, **changed.extras},
            present=batch.present if changed.present is None else changed.present,
        )

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
        for indices, items in zip(batches, loader, strict=True):
            if isinstance(items, VaezooError):
                raise items
            index = torch.tensor(indices, device=self.device)
            stored = items.to(self.device, non_blocking=pin_memory)
            yield self._transform(self._add_stored(stored, index))

    def _add_stored(self, batch: Batch, index: Tensor) -> Batch:
        """Adds what a lazy split holds in memory to a batch that was read."""

        def pick(value: Tensor) -> Tensor:
            return value[index]

        x = batch.x if self.split.transform is None else self.split.transform(batch.x)
        no_condition = batch.condition is None
        return replace(
            batch,
            x=x,
            index=index,
            condition=map_tensors(pick, self.condition) if no_condition else batch.condition,
            mask=map_tensors(pick, self.mask) if batch.mask is None else batch.mask,
            extras={**map_tensors(pick, self.extras), **batch.extras},
            present=map_tensors(pick, self.present) if batch.present is None else batch.present,
        )


class _ErrorsAsItems(Dataset[Any]):
    """Returns a lazy split's errors as items.

    If they were raised in a worker process, PyTorch would wrap them in its traceback; there, any
    error becomes one of data.
    """

    def __init__(self, source: Dataset[Any]) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Any:
        try:
            return self.source[index]
        except VaezooError as error:
            return error
        except Exception as error:
            if get_worker_info() is None:
                raise
            return DataError(f"item {index}: {describe_error(error)}")


def _take(value: Any, rows: slice | Tensor) -> Any:
    """Some rows of a tensor, or of each tensor of a mapping."""
    if isinstance(value, Tensor):
        # several times faster than value[rows]
        return value[rows] if isinstance(rows, slice) else value.index_select(0, rows)
    return {name: _take(tensor, rows) for name, tensor in value.items()}


def _to(value: Any, device: torch.device) -> Any:
    return map_tensors(lambda tensor: tensor.to(device), value)


def _collate(items: list[Any]) -> Batch | VaezooError:
    """``_stack_items``, with its errors and those of items as results."""
    try:
        return _stack_items(items)
    except VaezooError as error:
        return error


def _stack_items(items: list[Any]) -> Batch:
    """Stacks items to a batch.

    Raises:
        VaezooError: an item is one, or has another form than the others.
    """
    for item in items:
        if isinstance(item, VaezooError):
            raise item
    examples = []
    for item in items:
        if not isinstance(item, Batch):
            if not (isinstance(item, tuple | list) and len(item) == 2):
                kind = type(item).__name__
                raise DataError(f"an item is a {kind}; it must be (x, condition) or a Batch")
            item = Batch(*item)
        examples.append(item)
    fields: dict[str, Any] = {}
    for name in ("x", "condition", "mask", "extras", "present"):
        values = [getattr(example, name) for example in examples]
        if any(_names(value) != _names(values[0]) for value in values):
            raise DataError(
                f"the items of the data set have different names in {name!r}, or only some have it"
            )
        if isinstance(values[0], Mapping):
            fields[name] = {key: _stack([value[key] for value in values]) for key in values[0]}
        elif values[0] is not None:
            fields[name] = _stack(values)
    return Batch(**fields)


def _names(value: Any) -> set[str] | None:
    """The names of a mapping; none for a tensor; None for None."""
    if value is None:
        return None
    return {*value} if isinstance(value, Mapping) else set()


def _stack(values: list[Any]) -> Tensor:
    """Stacks what belongs to each item.

    Raises:
        DataError: the shapes differ.
    """
    tensors = [torch.as_tensor(value) for value in values]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        listed = ", ".join(map(str, sorted(shapes)))
        raise DataError(f"the items of the data set have different shapes: {listed}")
    return torch.stack(tensors)
