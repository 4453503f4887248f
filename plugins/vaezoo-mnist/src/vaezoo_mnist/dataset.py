"""MNIST, read from compressed IDX files in this package, whose hashes are checked first."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt

import vaezoo

SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64"
    ),
    "train-labels-idx1-ubyte.gz": (
        "fe03b8bd7915f70bf5aa08be480aa413fbd85afcaa58b35d230d335f284fd88e"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "5634745efa576a17e7d4cf5cd9d09123c75e6538e5114267c2d156edaf519341"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "ae18e77e031ccde52407f794d123116439864147d33ac992975f85dd4dc42af6"
    ),
}
VALIDATION = 10_000
SLICES = {
    "train": slice(0, -VALIDATION),
    "validation": slice(-VALIDATION, None),
    "test": slice(None),
}
"""Where the images of each split are in the files."""
CLASSES = tuple(map(str, range(10)))


class MNIST(vaezoo.Dataset):
    """MNIST: handwritten digits, 28x28, in 50,000 train, 10,000 validation and 10,000 test images.

    The validation images are the last 10,000 of the original training file.

    Args:
        binarize: ``none``: grey values from 0 to 1; ``threshold``: 1 for values of at least 128 of
            255; ``static``: one fixed random binarization; ``dynamic``: a new random binarization
            each time a training image is used, the fixed one for validation and test.
        labels: how many training images keep their label, the same number of each digit; the
            others have the label -1. 0 keeps all labels.
        labelled_share: the share of each epoch that is drawn from the labelled images, if
            ``labels`` is set.
        omit: digits that are excluded from training and validation; the test split includes them.
    """

    def __init__(
        self,
        *,
        binarize: vaezoo.Binarize = "none",
        labels: Annotated[int, Ge(0), Le(40_000)] = 0,
        labelled_share: Annotated[float, Gt(0), Lt(1)] = 0.5,
        omit: Sequence[Annotated[int, Ge(0), Le(9)]] = (),
    ) -> None:
        if labels % 10:
            raise vaezoo.DataError(
                f"labels: {labels} is not a multiple of 10, the number of digits"
            )
        self.binarize, self.labels = binarize, labels
        self.labelled_share, self.omit = labelled_share, omit

    @property
    def spec(self) -> vaezoo.DataSpec:
        """One channel, 28x28, ten classes."""
        return vaezoo.image_spec((1, 28, 28), self.binarize, CLASSES)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        omitted = {name: 0 if name == "test" else self._omitted(name) for name in SLICES}
        return {
            name: len(_read(name, "labels-idx1")[selected]) - omitted[name]
            for name, selected in SLICES.items()
        }

    @property
    def left_out(self) -> Sequence[str]:
        """The images of training and validation whose digits are omitted."""
        if not self.omit:
            return ()
        digits = ", ".join(map(str, sorted(set(self.omit))))
        counts = " and ".join(
            f"{self._omitted(name):,} {name}" for name in ("train", "validation")
        )
        return (f"{counts} images of the omitted digits ({digits})",)

    def _omitted(self, name: str) -> int:
        """How many images of training or validation have a digit that is omitted."""
        labels = _read(name, "labels-idx1")[SLICES[name]]
        return int(np.isin(labels, list(self.omit)).sum())

    def split(self, name: str) -> vaezoo.Split:
        """One of ``train``, ``validation``, ``test``."""
        images, labels = _read(name, "images-idx3"), _read(name, "labels-idx1")
        selected = SLICES[name]
        split = vaezoo.image_split(
            images[selected, None],
            labels[selected],
            self.binarize,
            train=name == "train",
            seed=int(name == "test"),
            skip=selected.indices(len(images))[0],
        )
        if name == "test":
            return split
        split = drop_digits(split, self.omit)
        if name == "train" and self.labels:
            return hide_labels(split, self.labels, self.labelled_share)
        return split


def drop_digits(split: vaezoo.Split, digits: Sequence[int]) -> vaezoo.Split:
    """The split without the images of ``digits``."""
    if not digits or split.condition is None:
        return split
    keep = ~torch.isin(split.condition, torch.tensor(list(digits)))
    return split.select(keep.nonzero().flatten())


def hide_labels(split: vaezoo.Split, count: int, labelled_share: float) -> vaezoo.Split:
    """The split with only ``count`` labels, those of the first images of each digit.

    Args:
        split: the split.
        count: the number of labels that remain; the others become -1.
        labelled_share: the share of each epoch that is drawn from the labelled images.
    """
    labels = split.condition
    assert labels is not None
    digits = labels.unique()
    per_digit = count // len(digits)
    labelled = torch.cat([(labels == digit).nonzero()[:per_digit, 0] for digit in digits])
    partial_labels = torch.full_like(labels, -1)
    partial_labels[labelled] = labels[labelled]

    def epoch_order(epoch: int, seed: int, batch_size: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        shuffled = torch.randperm(len(labels), generator=generator)
        use_labelled = torch.rand(len(labels), generator=generator) < labelled_share
        choice = torch.randint(len(labelled), (len(labels),), generator=generator)
        return torch.where(use_labelled, labelled[choice], shuffled)

    return dataclasses.replace(split, condition=partial_labels, epoch_order=epoch_order)


def _read(name: str, kind: str) -> np.ndarray:
    """The images or the labels of the file that holds a split."""
    prefix = "t10k" if name == "test" else "train"
    return read_idx(f"{prefix}-{kind}-ubyte.gz")


@lru_cache(maxsize=4)
def read_idx(name: str) -> np.ndarray:
    """Reads one IDX file as an array of uint8.

    Raises:
        vaezoo.IntegrityError: the file is missing, or its hash is not that of MNIST's file.
    """
    try:
        compressed = resources.files("vaezoo_mnist").joinpath("data", name).read_bytes()
    except OSError as error:
        raise vaezoo.IntegrityError(f"{name}: {error}; reinstall vaezoo-mnist") from error
    sha256, expected = hashlib.sha256(compressed).hexdigest(), SHA256[name]
    if sha256 != expected:
        mismatch = f"sha256 is {sha256}, expected {expected}"
        raise vaezoo.IntegrityError(f"{name}: {mismatch}; reinstall vaezoo-mnist")
    data = gzip.decompress(compressed)
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)  # [n, *]
