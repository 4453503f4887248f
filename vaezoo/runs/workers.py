"""Checks that worker processes can read a data set."""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch

from vaezoo.data.dataset import Dataset, Split
from vaezoo.plugins.registration import MAIN, class_name
from vaezoo.utils.errors import UsageError


def check_workers(dataset: Dataset, split: Split, workers: int) -> None:
    """Checks that worker processes can import the classes of a lazy split.

    Raises:
        UsageError: they are started anew, and a class is one of ``__main__``.
    """
    if not workers or not isinstance(split.x, torch.utils.data.Dataset):
        return
    method = multiprocessing.get_start_method()
    if method == "fork":
        return
    for value in (dataset, *_nested(split.x)):
        if type(value).__module__ == MAIN:
            raise UsageError(
                f"data.workers: worker processes, which {method!r} starts anew, cannot import "
                f"{class_name(type(value))}; put it into a module, or set data.workers: 0"
            )


def _nested(items: Any) -> list[Any]:
    """A data set of torch, and those in its attributes, such as the one that a subset is of."""
    data_sets: list[Any] = []
    waiting = [items]
    while waiting:
        item = waiting.pop()
        if any(item is other for other in data_sets):
            continue
        data_sets.append(item)
        for value in getattr(item, "__dict__", {}).values():
            values = value if isinstance(value, list | tuple) else (value,)
            waiting += [each for each in values if isinstance(each, torch.utils.data.Dataset)]
    return data_sets
