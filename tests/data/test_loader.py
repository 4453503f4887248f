from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vaezoo.data.batch import Batch
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


class Odd(Lazy):
    def __getitem__(self, i):
        return {}["key"] if i == 6 else super().__getitem__(i)


@quiet
def test_any_error_of_a_worker_is_one_line_without_its_traceback():
    with pytest.raises(DataError) as caught:
        list(Loader(Split(Odd()), CPU, 4, workers=2).ordered())
    assert str(caught.value) == "item 6: KeyError: 'key'"


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


def numbered(count=N):
    """Examples of two parts with all that can belong to them; example i is made of the number i.

    Every third example lacks the part b.
    """
    i = torch.arange(count)
    return {
        "x": {"a": i[:, None].expand(count, 3).contiguous(), "b": 1000 + i},
        "condition": 100 + i,
        "mask": {"a": torch.arange(3) < i[:, None] % 4},
        "extras": {"weight": i / 2, "size": torch.stack([i, -i], 1)},
        "present": {"b": i % 3 > 0},
    }


class Numbered(torch.utils.data.Dataset):
    """The items of ``numbered``, each a batch of one example; without some attributes."""

    def __init__(self, *without):
        self.items = Batch(**{k: v for k, v in numbered().items() if k not in without})

    def __len__(self):
        return N

    def __getitem__(self, i):
        return self.items.select(i)


def stored(**options):
    """The split of ``numbered`` in memory."""
    return Split(**numbered(), **options)


def check_numbered(batches, expected):
    """Each batch has the expected indices, and what belongs to them."""
    batches = list(batches)
    assert [batch.index.tolist() for batch in batches] == [list(part) for part in expected]
    for batch in batches:
        right = Batch(**numbered()).select(batch.index)
        assert batch.index.dtype == torch.int64 and len(batch) == len(batch.index)
        assert torch.equal(batch.condition, right.condition)
        for name in ("x", "mask", "extras", "present"):
            values, others = getattr(batch, name), getattr(right, name)
            assert values.keys() == others.keys()
            for key in values:
                assert torch.equal(values[key], others[key]), (name, key)


def cut(order, size=4):
    return [part.tolist() for part in torch.as_tensor(order).split(size)]


IN_MEMORY = ("mask", "extras", "present")
SOURCES = {
    "memory": lambda: (stored(), 0),
    "items": lambda: (Split(Numbered()), 0),
    "items of workers": lambda: (Split(Numbered()), 2),
    "items, the rest in memory": lambda: (
        Split(Numbered(*IN_MEMORY), **{name: numbered()[name] for name in IN_MEMORY}),
        0,
    ),
}


@quiet
@pytest.mark.parametrize("source", SOURCES)
def test_all_that_belongs_to_an_example_stays_with_it(source):
    split, workers = SOURCES[source]()
    loader = Loader(split, CPU, 4, workers=workers, seed=3)
    order = loader.epoch_order(1)
    check_numbered(loader.epoch(1, 2), cut(order)[2:])
    check_numbered(loader.ordered(), cut(range(N)))
    check_numbered(loader.ordered(5, 12), [range(5), range(5, 10), range(10, 12)])
    check_numbered([loader.first(7)], [range(7)])
    other = loader.with_seed(4)
    assert not torch.equal(other.epoch_order(1), order)
    check_numbered(other.epoch(1), cut(other.epoch_order(1)))
    check_numbered([other.first_training_batch()], cut(other.epoch_order(0))[:1])
    for rank in range(3):
        share = Loader(split, CPU, 4, workers=workers, seed=3, rank=rank, world_size=3)
        expected = [part[rank::3] for part in cut(order)[: share.steps_per_epoch]]
        check_numbered(share.epoch(1), expected)
        check_numbered([share.first_training_batch()], cut(share.epoch_order(0))[:1])
    if source == "memory":
        check_numbered([loader.gather(torch.tensor([22, 0, 22]))], [[22, 0, 22]])


@quiet
@pytest.mark.parametrize("source", SOURCES)
def test_a_transform_of_batches_may_leave_out_what_it_does_not_change(source):
    split, workers = SOURCES[source]()

    def make(batch):
        assert batch.index is not None and batch.extras and batch.present
        return Batch(batch.x, batch.condition, batch.mask)

    loader = Loader(replace(split, batch_transform=make), CPU, 4, workers=workers)
    check_numbered(loader.epoch(0), cut(loader.epoch_order(0)))
    check_numbered(loader.ordered(), cut(range(N)))


def test_what_a_transform_of_batches_changes_is_changed():
    def change(batch):
        present = {"a": batch.index > 1}
        extras = {"weight": batch.extras["weight"] + 1, "new": batch.index}
        return Batch(batch.x, extras=extras, index=batch.index + 50, present=present)

    batch = Loader(stored(batch_transform=change), CPU, 4).first(3)
    assert batch.mask is None and batch.condition is None
    assert batch.index.tolist() == [50, 51, 52] and batch.present["a"].tolist() == [0, 0, 1]
    assert batch.extras.keys() == {"weight", "size", "new"}
    assert batch.extras["weight"].tolist() == [1, 1.5, 2]


class Uneven(Numbered):
    """Numbered items, of which every second one lacks an attribute or one of its names."""

    def __init__(self, name, change):
        super().__init__()
        self.name, self.change = name, change

    def __getitem__(self, i):
        item = super().__getitem__(i)
        if i % 2 == self.change:
            return item
        value = getattr(item, self.name)
        less = dict(list(value.items())[1:]) if isinstance(value, dict) else None
        return replace(item, **{self.name: less or ({} if self.name == "extras" else None)})


@quiet
@pytest.mark.parametrize("name", ["x", "condition", "mask", "extras", "present"])
@pytest.mark.parametrize(("change", "workers"), [(0, 0), (1, 0), (1, 2)])
def test_items_with_different_names_are_refused(name, change, workers):
    loader = Loader(Split(Uneven(name, change)), CPU, 4, workers=workers)
    with pytest.raises(DataError, match=f"have different names in '{name}', or only some have it"):
        next(loader.ordered())


class Listed(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([torch.zeros(3)] * 4, r"an item is a Tensor; it must be \(x, condition\) or a Batch"),
        ([(torch.zeros(3), None, None)] * 4, "an item is a tuple; it must be"),
        ([(torch.zeros(i), None) for i in range(4)], r"different shapes: \(0,\), \(1,\), \(2,\)"),
    ],
)
def test_items_of_another_form_are_refused(items, message):
    loader = Loader(Split(Listed(items)), torch.device("cpu"), 4)
    with pytest.raises(DataError, match=message):
        next(loader.ordered())


def test_conditions_in_memory_belong_to_lazy_items():
    items = [(torch.full((1,), float(i)), None) for i in range(6)]
    split = Split(Listed(items), torch.arange(6) * 10)
    for batch in Loader(split, torch.device("cpu"), 3).epoch(0):
        assert torch.equal(batch.condition, 10 * batch.x[:, 0].long())
