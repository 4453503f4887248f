"""Promises of data sets: they are what they say, and the same each time."""

from __future__ import annotations

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.data.supports import first_invalid_row
from vaezoo.runs.in_memory import build_dataset
from vaezoo.runs.loaders import build_loader
from vaezoo.testing.case import CPU, Case
from vaezoo.testing.noise import touched_generators
from vaezoo.testing.passes import tensors_of
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_EXAMPLES = 20


def _first(loader: Loader) -> Batch:
    return loader.first(min(_EXAMPLES, len(loader)))


def check_description(case: Case) -> None:
    """Examples have the shape, the support and the conditions that the description says."""
    data = case.dataset.spec
    for name in SPLIT_NAMES:
        batch = _first(case.split(name))
        assert len(case.split(name)) == case.dataset.sizes[name], (
            f"`sizes` says {case.dataset.sizes[name]} examples of split {name!r}, but it has "
            f"{len(case.split(name))}"
        )
        if not data.parts:
            _check_examples(batch, data, name)


def _check_examples(batch: Batch, data: DataSpec, split: str) -> None:
    shape, expected = tuple(batch.x.shape[1:]), data.shape
    if data.variable_length:
        shape, expected = shape[1:], expected[1:]
    assert shape == expected, (
        f"examples of split {split!r} have the shape {shape}, but `spec` says {expected}"
    )
    assert batch.x.dtype == torch.float32, (
        f"examples of split {split!r} are {batch.x.dtype} after the transform, not float32"
    )
    row = first_invalid_row(batch.x.numpy(), data.support) if data.support != "mixed" else None
    assert row is None, (
        f"example {row} of split {split!r} lies outside of the support {data.support!r} that "
        "`spec` says"
    )
    condition = None if batch.condition is None else tuple(batch.condition.shape[1:])
    assert condition == data.condition_shape, (
        f"conditions of split {split!r} have the shape {condition}, but `spec` says "
        f"{data.condition_shape}"
    )
    assert batch.mask is None or data.mask_dims > 0, (
        f"split {split!r} has a mask, but `spec` says mask_dims = 0"
    )


def _read(case: Case, seed: int) -> dict[str, Tensor]:
    """The first examples of all splits of a new data set, which is built under a seed."""
    values: dict[str, Tensor] = {}
    with seeded(CPU, "promise", seed):
        dataset = build_dataset(case.spec, case.examples)
        loaders = {name: build_loader(case.spec, dataset, name, CPU) for name in SPLIT_NAMES}
    for name, loader in loaders.items():
        with seeded(CPU, "promise", "transform"):  # such as a dynamic binarization
            batch = _first(loader)
        values |= {f"{name}.{key}": value for key, value in tensors_of(batch).items()}
    return values


def check_repeats(case: Case) -> None:
    """Two data sets with the same options have the same examples in the same splits."""
    (first, again), touched = touched_generators(lambda: [_read(case, seed) for seed in (0, 1)])
    assert not touched, (
        f"uses or seeds {touched[0]}; draw from a generator that is seeded by an option such as "
        "split_seed"
    )
    for name, value in first.items():
        assert torch.equal(
            torch.nan_to_num(value.float()), torch.nan_to_num(again[name].float())
        ), (
            f"is not the same twice: {name} differs between two data sets with the same options; "
            "seed what is random by an option such as split_seed"
        )


_DATASET = ("dataset",)
RULES = (
    Rule("is as described", _DATASET, check_description),
    Rule("is the same twice", _DATASET, check_repeats),
)
"""Promises of data sets."""
