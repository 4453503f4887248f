from __future__ import annotations

import pytest
import torch

from vaezoo.data.dataset import Split
from vaezoo.data.images import binarize_dynamic
from vaezoo.data.loader import Loader
from vaezoo.utils.errors import DataError

CPU = torch.device("cpu")
N = 23
quiet = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning"
)  # of torch, on forks and cores


class Lazy(torch.utils.data.Dataset):
    """Example i holds i everywhere; its condition is 100 + i."""

    def __init__(self, bad=None):
        self.bad = bad

    def __len__(self):
        return N

    def __getitem__(self, i):
        if i == self.bad:
            raise DataError(f"row {i} is bad")
        return torch.full((3,), i, dtype=torch.uint8), 100 + i


def complete(**fields) -> Split:
    x = torch.arange(N, dtype=torch.uint8)[:, None].expand(N, 3).contiguous()
    return Split(x, 100 + torch.arange(N), **fields)


def rows(batches) -> list[list[int]]:
    return [batch.x[:, 0].int().tolist() for batch in batches]


def joined(lists) -> list[int]:
    return [row for part in lists for row in part]


def flat(batches) -> list[int]:
    return joined(rows(batches))


def same(first, second) -> bool:
    first, second = list(first), list(second)
    return len(first) == len(second) and all(
        torch.equal(a.x, b.x) and torch.equal(a.condition, b.condition)
        for a, b in zip(first, second)
    )


@pytest.mark.parametrize("size", [1, 4, 23, 100])
def test_an_epoch_holds_every_example_once(size):
    loader = Loader(complete(), CPU, size)
    batches = rows(loader.epoch(0))
    assert sorted(joined(batches)) == list(range(N))
    assert len(batches) == loader.steps_per_epoch
    assert all(len(batch) == size for batch in batches[:-1])


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    loader = Loader(complete(), CPU, 4, seed=1)
    expected = rows(loader.epoch(5))
    torch.manual_seed(9)
    list(loader.epoch(2))
    assert rows(Loader(complete(), CPU, 4, seed=1).epoch(5)) == expected
    assert rows(loader.epoch(6)) != expected
    assert rows(Loader(complete(), CPU, 4, seed=2).epoch(5)) != expected
    assert flat(Loader(complete(), CPU, 7, seed=1).epoch(5)) == joined(expected)


@pytest.mark.parametrize("start", range(7))
@pytest.mark.parametrize("split", [complete(), Split(Lazy())])
def test_starting_within_an_epoch_gives_the_rest(start, split):
    loader = Loader(split, CPU, 4)
    assert rows(loader.epoch(3, start)) == rows(loader.epoch(3))[start:]


@pytest.mark.parametrize("split", [complete(), Split(Lazy())])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_divide_each_batch(world_size, split):
    alone = rows(Loader(split, CPU, 4).epoch(0))
    shares = [
        rows(Loader(split, CPU, 4, rank=rank, world_size=world_size).epoch(0))
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    for step, parts in enumerate(zip(*shares)):
        assert sorted(joined(parts)) == sorted(alone[step])
        assert all(parts)


def test_a_last_batch_too_small_for_every_process_is_left_out():
    loaders = [Loader(complete(), CPU, 11, rank=rank, world_size=2) for rank in range(2)]
    assert [loader.steps_per_epoch for loader in loaders] == [2, 2]
    assert len(flat(loaders[0].epoch(0)) + flat(loaders[1].epoch(0))) == 22


@quiet
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_from_memory(workers):
    memory, stream = Loader(complete(), CPU, 4), Loader(Split(Lazy()), CPU, 4, workers=workers)
    assert same(memory.epoch(1, 2), stream.epoch(1, 2))
    assert same(memory.ordered(5, 17), stream.ordered(5, 17))


@quiet
@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_leaves_the_random_draws_of_the_caller_alone(workers):
    result = []
    for split in (complete(transform=binarize_dynamic), Split(Lazy(), transform=binarize_dynamic)):
        torch.manual_seed(0)
        result.append([batch.x for batch in Loader(split, CPU, 4, workers=workers).epoch(0)])
    assert torch.equal(torch.cat(result[0]), torch.cat(result[1]))


@quiet
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_streamed_example_arrives_as_it_was_raised(workers):
    loader = Loader(Split(Lazy(bad=6)), CPU, 4, workers=workers)
    batches = loader.ordered()
    assert flat([next(batches)]) == [0, 1, 2, 3]
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == "row 6 is bad"


@pytest.mark.parametrize("x", [complete().x, Lazy()])
def test_masks_and_conditions_follow_their_examples(x):
    mask = torch.arange(3) < torch.arange(N)[:, None] % 4
    in_memory = isinstance(x, torch.Tensor)
    loader = Loader(Split(x, 100 + torch.arange(N) if in_memory else None, mask), CPU, 4)
    for batches in (loader.epoch(0), loader.ordered(), [loader.first(7)]):
        for batch in batches:
            row = batch.x[:, 0].long()
            assert torch.equal(batch.condition, 100 + row)
            assert torch.equal(batch.mask, mask[row])


def test_the_transform_sees_whole_batches_once():
    sizes = []

    def record(x):
        sizes.append(len(x))
        return x.float() / 2

    loader = Loader(complete(transform=record), CPU, 10)
    assert sorted(flat(loader.epoch(0))) == sorted(i // 2 for i in range(N))
    assert sizes == [10, 10, 3]


def test_ordered_batches_keep_the_order_of_the_split():
    loader = Loader(complete(), CPU, 10)
    assert rows(loader.ordered()) == [list(range(10)), list(range(10, 20)), [20, 21, 22]]
    assert rows(loader.ordered(8, 12)) == [list(range(8)), list(range(8, 12))]
    assert flat(loader.ordered(limit=1000)) == list(range(N))
    assert rows([loader.first(5)]) == [list(range(5))]


def test_gather_takes_the_examples_asked_for():
    batch = Loader(complete(), CPU, 4).gather(torch.tensor([3, 3, 22]))
    assert batch.x[:, 0].tolist() == [3, 3, 22]
    assert batch.condition.tolist() == [103, 103, 122]
