"""MNIST from the gzip'd IDX files beside this module, each verified before it is read."""

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
    "train-images-idx3-ubyte.gz": "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64",
    "train-labels-idx1-ubyte.gz": "fe03b8bd7915f70bf5aa08be480aa413fbd85afcaa58b35d230d335f284fd88e",
    "t10k-images-idx3-ubyte.gz": "5634745efa576a17e7d4cf5cd9d09123c75e6538e5114267c2d156edaf519341",
    "t10k-labels-idx1-ubyte.gz": "ae18e77e031ccde52407f794d123116439864147d33ac992975f85dd4dc42af6",
}
VALIDATION = 10_000
CLASSES = tuple(map(str, range(10)))


class MNIST(vaezoo.Dataset):
    """MNIST: 28x28 handwritten digits; 50,000 train, 10,000 validation (the last of train), 10,000 test.

    Args:
        binarize: ``none``: grey values from 0 to 1; ``threshold``: 1 from 128 of 255 on; ``static``: one fixed draw;
            ``dynamic``: a fresh draw each time a training image is seen, the fixed draw for validation and test.
        labels: how many training images keep their label, as many of each digit; the others have -1. 0 keeps all.
        labelled_share: the share of each epoch that is drawn from those with a label, where ``labels`` is given.
        omit: digits that training and validation do without; the test split holds them.
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
            raise vaezoo.DataError(f"labels: {labels} is not a multiple of 10, so digits cannot have as many each")
        self.binarize, self.labels, self.labelled_share, self.omit = binarize, labels, labelled_share, omit

    @property
    def spec(self) -> vaezoo.DataSpec:
        """One channel, 28x28, ten classes."""
        return vaezoo.image_spec((1, 28, 28), self.binarize, CLASSES)

    def split(self, name: str) -> vaezoo.Split:
        """One of ``train``, ``validation``, ``test``."""
        prefix = "t10k" if name == "test" else "train"
        images, labels = read(f"{prefix}-images-idx3-ubyte.gz"), read(f"{prefix}-labels-idx1-ubyte.gz")
        cut = len(images) - VALIDATION
        part = {"train": slice(0, cut), "validation": slice(cut, None), "test": slice(None)}[name]
        found = vaezoo.image_split(
            images[part, None],
            labels[part],
            self.binarize,
            train=name == "train",
            seed=int(name == "test"),
            skip=part.start or 0,
        )
        if name == "test":
            return found
        found = without(found, self.omit)
        return few_labels(found, self.labels, self.labelled_share) if self.labels and name == "train" else found


def without(split: vaezoo.Split, digits: Sequence[int]) -> vaezoo.Split:
    """The split without the images of some digits."""
    if not digits or split.condition is None:
        return split
    kept = ~torch.isin(split.condition, torch.tensor(list(digits)))
    return dataclasses.replace(split, x=split.x[kept], condition=split.condition[kept])  # type: ignore[index]


def few_labels(split: vaezoo.Split, count: int, share: float) -> vaezoo.Split:
    """The split with the labels of ``count`` images, the first of each digit; the others are -1."""
    labels = split.condition
    assert labels is not None
    digits = labels.unique()
    known = torch.cat([(labels == digit).nonzero()[: count // len(digits), 0] for digit in digits])
    hidden = torch.full_like(labels, -1)
    hidden[known] = labels[known]

    def order(epoch: int, seed: int, batch_size: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        mixed = torch.randperm(len(labels), generator=generator)
        drawn = torch.rand(len(labels), generator=generator) < share
        again = known[torch.randint(len(known), (len(labels),), generator=generator)]
        return torch.where(drawn, again, mixed)

    return dataclasses.replace(split, condition=hidden, epoch_order=order)


@lru_cache(maxsize=4)
def read(name: str) -> np.ndarray:
    """One IDX file as an array of uint8.

    Raises:
        vaezoo.IntegrityError: it is missing, or its bytes are not those of MNIST.
    """
    try:
        packed = resources.files("vaezoo_mnist").joinpath("data", name).read_bytes()
    except OSError as error:
        raise vaezoo.IntegrityError(f"{name}: {error}; reinstall vaezoo-mnist") from error
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256[name]:
        raise vaezoo.IntegrityError(f"{name}: sha256 is {found}, expected {SHA256[name]}; reinstall vaezoo-mnist")
    data = gzip.decompress(packed)
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
