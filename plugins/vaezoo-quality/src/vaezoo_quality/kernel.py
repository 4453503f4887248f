"""The kernel distance of features (KID, Binkowski et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_quality.estimates import estimate
from vaezoo_quality.sets import MNIST, SampleMetric


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy, of any sign.

    With the kernel ``k(a, b) = (a . b / D + 1)^3``: the means of k over pairs of different rows of
    ``x`` and of ``y``, minus twice the mean over pairs of both.

    Args:
        x, y: features ``[n, D]`` and ``[m, D]``, at least two of each.
    """
    x, y = x.double(), y.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / x.shape[1] + 1) ** 3  # [n, m]

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def subset_values(real: Tensor, samples: Tensor, size: int) -> Tensor:
    """``squared_mmd`` of disjoint subsets of ``size`` rows of both, float64 ``[n // size]``.

    The subsets are independent of each other, so that the spread of their values tells the error
    of their mean.
    """
    count = len(real) // size * size
    pairs = zip(real[:count].split(size), samples[:count].split(size), strict=True)
    return torch.tensor([squared_mmd(a, b) for a, b in pairs], dtype=torch.double)


class KernelDistance(SampleMetric):
    """The squared maximum mean discrepancy between features of samples and of real examples.

    KID of Binkowski et al. 2018 in named features: ``mnist_kid`` is that of the network of
    ``features/mnist``. The kernel is a polynomial of degree 3, and the estimate is unbiased: its
    expectation does not depend on the number of samples, and it may be below 0. It is the mean
    over disjoint subsets of as many real examples and samples, and over draws of samples; the
    standard error is that of the mean over subsets, whose samples and real examples are
    independent. The ``floor`` is the distance of as many training examples, the ``ceiling`` that
    of examples whose pixels are shuffled.

    Args:
        features: the name of features in a registry.
        samples: the number of samples in a draw, and of real examples.
        draws: the number of independent draws.
        sampler: the sampler of the spec that draws; null takes the prior.
        subset: the number of samples in a subset; at most half of those in a draw are taken.
    """

    lower_is_better = frozenset({"*_kid"})

    def __init__(
        self,
        *,
        features: str = MNIST,
        samples: Annotated[int, Ge(4)] = 10_000,
        draws: Annotated[int, Ge(2)] = 5,
        sampler: str | None = None,
        subset: Annotated[int, Ge(2)] = 1000,
    ) -> None:
        super().__init__(features=features, samples=samples, draws=draws, sampler=sampler)
        self.subset = subset

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``TAG_kid`` with the tag of the features."""
        sets = self.sets(model, data)
        if sets.count < 4:
            raise NotImplementedError("needs at least four examples in each split")
        size = min(self.subset, sets.count // 2)
        values = torch.stack([subset_values(sets.real, x, size) for x in sets.draws]).mean(0)
        result = estimate(
            float(values.mean()),
            float(values.var()) / len(values),
            sets,
            floor=float(subset_values(sets.real, sets.train, size).mean()),
            ceiling=float(subset_values(sets.real, sets.noise, size).mean()),
            unit="squared distance",
            more={"subsets": float(len(values)), "subset": float(size)},
        )
        return {f"{sets.tag}_kid": result}
