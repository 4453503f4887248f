"""scikit-learn's digits: small, real, and always at hand."""

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
        binarize: ``none``, ``threshold``, ``static`` or ``dynamic``.
        fractions: the shares of train, validation and test.
        split_seed: decides which example goes where.
    """

    def __init__(
        self, *, binarize: Binarize = "none", fractions: Fractions = (0.7, 0.15, 0.15), split_seed: int = 0
    ) -> None:
        self.binarize, self.fractions, self.split_seed = binarize, fractions, split_seed

    @property
    def spec(self) -> DataSpec:
        """One channel, 8x8."""
        return image_spec((1, 8, 8), self.binarize, tuple(map(str, range(10))))

    @cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.round(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), y

    def split(self, name: str) -> Split:
        """One of the three splits."""
        x, y = self._all
        part = split_indices(len(x), self.fractions, self.split_seed, "digits")[name]
        return image_split(x[part], y[part], self.binarize, train=name == "train", seed=self.split_seed)
