"""The number of examples of each split, what of the source was left out, and what to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES

_CAPTIONS = {
    "left_out": "left out",
    "unlabelled": "without a label",
    "balance": "balance",
    "notes": "please check",
}


def count_examples(dataset: Dataset, train: Loader, validation: Loader) -> dict[str, Any]:
    """The number of examples of each split, and phrases about them, for ``environment.json``.

    Args:
        dataset: the data set.
        train, validation: the loaders of its training and validation split.

    Raises:
        DataError: a split that is built here cannot be read.
    """
    known = {"train": len(train), "validation": len(validation)}
    sizes = dataset.sizes if _has_own_sizes(dataset) else _sizes(dataset, known)
    left_out = list(dataset.left_out)
    if train.omitted or validation.omitted:
        counts = f"{train.omitted:,} train and {validation.omitted:,} validation"
        left_out.append(f"{counts} examples of the omitted classes")
    if count := train.examples_left_out:
        what = "example" if count == 1 else "examples"
        left_out.append(f"{count:,} training {what} of each epoch, too few for a last batch")
    balance = {} if train.balance is None else {"balance": train.balance.phrases()}
    return {
        **sizes,
        **known,
        "left_out": left_out,
        **_unlabelled(train),
        **balance,
        "notes": list(dataset.notes),
    }


def _unlabelled(train: Loader) -> dict[str, list[str]]:
    """How many training examples have no label, if there are any."""
    labels = train.condition
    if labels is None or labels.dim() != 1 or not (count := int((labels < 0).sum())):
        return {}
    return {"unlabelled": [f"{count:,} of {len(labels):,} training examples"]}


def _has_own_sizes(dataset: Dataset) -> bool:
    """Whether the class of a data set has sizes of its own, which need not build the splits."""
    return type(dataset).sizes is not Dataset.sizes


def _sizes(dataset: Dataset, known: Mapping[str, int]) -> dict[str, int]:
    return {
        name: known[name] if name in known else len(dataset.split(name)) for name in SPLIT_NAMES
    }


def describe_examples(recorded: Mapping[str, Any]) -> str:
    """What ``count_examples`` returned, on one line; some phrases may be missing."""
    sizes = ", ".join(f"{recorded[name]:,} {name}" for name in SPLIT_NAMES)
    phrases = [
        f"{caption}: {'; '.join(recorded[key])}"
        for key, caption in _CAPTIONS.items()
        if recorded.get(key)
    ]
    return "; ".join([sizes, *phrases])
