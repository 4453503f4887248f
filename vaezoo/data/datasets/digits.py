"""The digits of scikit-learn: a small data set of real images that needs no download."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.images import Binarize, image_spec, image_split
from vaezoo.data.splits import Fractions, split_indices


class Digits(Dataset):
    """1,797 handwritten digits of 8x8 pixels from scikit-learn, labelled 0 to 9; for quick tests.

    Args:
        binarize: ``none`` for values from 0 to 1, or how to make them 0 or 1: ``threshold`` at one
            half; ``static``, sampled once; ``dynamic``, sampled anew each time in training.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        binarize: Binarize = "none",
        fractions: Fractions = (0.7, 0.15, 0.15),
        split_seed: int = 0,
    ) -> None:
        self.binarize, self.fractions, self.split_seed = binarize, fractions, split_seed

    @property
    def spec(self) -> DataSpec:
        """An image ``(1, 8, 8)`` with ten classes."""
        return image_spec((1, 8, 8), self.binarize, tuple(map(str, range(10))))

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {name: len(index) for name, index in self._indices.items()}

    @cached_property
    def _indices(self) -> dict[str, np.ndarray]:
        """The images of each split."""
        count = len(self._images_and_labels[0])
        return split_indices(count, self.fractions, self.split_seed, "digits")

    @cached_property
    def _images_and_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """All images, uint8 ``[n, 1, 8, 8]``, and their labels ``[n]``."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.round(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), y  # [n, 1, 8, 8]

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        x, y = self._images_and_labels
        index = self._indices[name]
        is_train, seed = name == "train", self.split_seed
        return image_split(x[index], y[index], self.binarize, train=is_train, seed=seed)
