"""The abstract class of feature extractors, in whose space metrics compare examples."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vaezoo.data.dataspec import DataSpec

_BLOCK = 1000
_CONTAINED = {"unit": ("unit", "binary"), "real": ("real", "unit", "binary")}
"""By the support of a feature extractor, those of the data that it can read."""


class Features(nn.Module, ABC):
    """Maps examples to features, for metrics of samples. Wiring: none.

    Required: ``forward``. Its weights are an entry of a registry, which names the component.

    Attributes:
        name: the full name of the registry entry; empty before ``vaezoo.load_features``.
        tag: the part of the name by which metrics call their numbers, such as ``mnist``.
        shape, support: of the examples, as the entry lists them.
    """

    name: str = ""
    tag: str = ""
    shape: tuple[int, ...] = ()
    support: str = ""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """From examples ``[N, *shape]`` in the range of the data to features ``[N, D]``."""

    def check_data(self, data: DataSpec) -> None:
        """Checks that examples of some data can be mapped to features.

        Raises:
            NotImplementedError: they have another shape, or values that it does not read.
        """
        supports = _CONTAINED.get(self.support, (self.support,))
        if data.shape != self.shape or data.support not in supports:
            raise NotImplementedError(
                f"{self.name} reads examples of shape {self.shape}, {self.support}, "
                f"not {data.shape}, {data.support}"
            )

    def extract(self, x: Tensor) -> Tensor:
        """The features of any number of examples ``[N, *shape]``, ``[N, D]``, without gradients.

        Raises:
            ValueError: what ``forward`` returns is not one vector for each example.
        """
        with torch.no_grad():
            blocks = [self(block) for block in x.split(_BLOCK)]
        counts = [len(block) for block in x.split(_BLOCK)]
        for count, features in zip(counts, blocks, strict=True):
            if features.dim() != 2 or len(features) != count:
                shape = tuple(features.shape)
                raise ValueError(f"{self.name}: features of {count} examples have shape {shape}")
        return torch.cat(blocks)
