"""How often each class is drawn in training, and how much its examples count in the loss.

Shapes: n training examples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from vaezoo.utils.errors import did_you_mean

BALANCED: Literal["balanced"] = "balanced"
ClassWeights: TypeAlias = Literal["balanced"] | Mapping[str, float]
"""Weights of examples by class; ``balanced`` gives every class the same total weight."""
_MAX_NAMES = 10
"""How many classes a phrase names."""


class Balance:
    """Draws training examples by class, and weighs them in the loss by class.

    A weight is that of one example; an example without a label has the weight 1. With ``balanced``
    the labelled examples have a mean weight of 1, and each class that has any the same total.

    Args:
        labels: of the training examples, below 0 where unknown, int64 ``[n]``.
        classes: the names of the classes.
        sampling: the relative weight with which an example is drawn; None draws each once.
        loss: the relative weight of an example in the loss; None for equal ones.

    Attributes:
        sampling: the weight of each example, float64 ``[n]``; None if all are equal.
        loss: the weight of each example in the loss, float32 ``[n]``, with a mean of 1 over the
            examples that are drawn; None if all are equal.

    Raises:
        ValueError: there is no class of a name, a weight is negative, or none is positive.
    """

    def __init__(
        self,
        labels: Tensor,
        classes: Sequence[str],
        *,
        sampling: ClassWeights | None = None,
        loss: ClassWeights | None = None,
    ) -> None:
        self.labels, self.classes = labels.cpu(), classes
        self.sampling = _example_weights(self.labels, classes, sampling)
        weights = _example_weights(self.labels, classes, loss)
        self.loss: Tensor | None = None
        if weights is not None:
            drawn = torch.ones_like(weights) if self.sampling is None else self.sampling
            mean = (drawn * weights).sum() / drawn.sum()
            if not mean > 0:
                raise ValueError("no example that is drawn has a positive weight")
            self.loss = (weights / mean).float()

    def order(self, seed: int) -> Tensor:
        """The examples of an epoch, drawn by ``sampling`` and shuffled: int64 ``[n]``.

        Systematic resampling within the classes: each class, and each of its examples, occurs as
        often as its weight says, up to one more or less.

        Args:
            seed: decides which examples are drawn, and in which order.
        """
        assert self.sampling is not None
        n, generator = len(self.sampling), torch.Generator().manual_seed(seed)
        shuffled = torch.randperm(n, generator=generator)
        by_class = shuffled[self.labels[shuffled].argsort(stable=True)]
        share = self.sampling[by_class].cumsum(0)
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        points = torch.arange(n, dtype=torch.float64) + offset
        drawn = by_class[torch.searchsorted(share / share[-1] * n, points, right=True)]
        return drawn[torch.randperm(n, generator=generator)]

    def phrases(self) -> list[str]:
        """What it does to each class, for users."""
        phrases = []
        if self.sampling is not None:
            expected = self.sampling / self.sampling.sum() * len(self.sampling)
            counts = {
                name: f"{float(expected[self.labels == label].sum()):,.0f}"
                for label, name in self._known()
            }
            total = f"{len(self.labels):,}"
            phrases.append(f"of {total} examples an epoch draws {_named(counts)}")
        if self.loss is not None:
            values = {
                name: f"{float(self.loss[self.labels == label][0]):.4g}"
                for label, name in self._known()
            }
            phrases.append(f"the loss weighs {_named(values)}")
        return phrases

    def _known(self) -> list[tuple[int, str]]:
        """The labels that occur, with their names."""
        names = {-1: "no label", **dict(enumerate(self.classes))}
        return [(label, names[label]) for label in self.labels.unique().tolist()]


def _named(values: Mapping[str, str]) -> str:
    """A value for each class, such as ``cat 30, dog 30``; of the first ten classes."""
    shown = [f"{name} {value}" for name, value in [*values.items()][:_MAX_NAMES]]
    return ", ".join([*shown, *(["..."] if len(values) > _MAX_NAMES else [])])


def _example_weights(
    labels: Tensor, classes: Sequence[str], weights: ClassWeights | None
) -> Tensor | None:
    """The weight of each example, float64 ``[n]``; None if all are equal.

    Raises:
        ValueError: there is no class of a name, a weight is negative, or none is positive.
    """
    if weights is None:
        return None
    counts = torch.bincount(labels[labels >= 0], minlength=len(classes)).double()
    if not bool(counts.any()):
        raise ValueError("no training example has a label")
    by_class = torch.ones(len(classes) + 1, dtype=torch.float64)  # the last is for no label
    if isinstance(weights, Mapping):
        for name, weight in weights.items():
            if name not in classes:
                raise ValueError(f"no class {name!r}{did_you_mean(name, classes)}")
            if weight < 0:
                raise ValueError(f"the weight of class {name!r} is {weight}; 0 is the least")
            by_class[classes.index(name)] = weight
    else:
        share = counts.sum() / (counts > 0).sum()
        by_class[:-1] = share / counts.clamp(min=1)
    each = by_class[labels.clamp(min=-1)]  # -1 is the last
    if not bool((each > 0).any()):
        raise ValueError("no training example has a positive weight")
    return None if bool((each == each[0]).all()) else each
