"""Features of real examples, samples and noise, computed once in an evaluation.

Shapes: n examples in each set, D features, R draws of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

import vaezoo
from vaezoo_quality import images

MNIST = "features/mnist"
PIXELS = "pixels"
"""In place of the name of features: the values of the examples themselves."""


@dataclass(frozen=True, kw_only=True)
class Sets:
    """The features of sets of the same size, float32 ``[n, D]`` each.

    Attributes:
        tag: by what the numbers are called, such as ``mnist``.
        real: examples of the split that is measured, in random order.
        train: training examples, in random order.
        others: further training examples, as many as there are, at most n.
        draws: independent draws of samples.
        noise: ``real`` with the values of each example in random order.
        note: what samples are, and in which features they are compared.
    """

    tag: str
    real: Tensor
    train: Tensor
    others: Tensor
    draws: tuple[Tensor, ...]
    noise: Tensor
    note: str

    @property
    def count(self) -> int:
        """How many examples each set has."""
        return len(self.real)


_cache: WeakKeyDictionary[Callable[[], vaezoo.Loader], dict[Any, tuple[Any, Sets]]] = (
    WeakKeyDictionary()
)
"""By what loads the training split, which each evaluation has of its own."""


def feature_sets(
    metric: vaezoo.Metric,
    model: vaezoo.Model,
    data: vaezoo.Loader,
    *,
    features: str,
    count: int,
    draws: int,
) -> Sets:
    """The sets that a metric compares; metrics of one evaluation share them.

    Args:
        metric: the metric, which knows the training split.
        model: the model.
        data: the split that is measured.
        features: the name of features in a registry, or ``pixels``.
        count: the size of each set, if both splits have as many examples.
        draws: the number of independent draws.

    Raises:
        NotImplementedError: the training split is not known, the features cannot be loaded, or do
            not read such data.
    """
    training = images.training_split(metric)
    key = (id(model), id(data), features, count, draws)
    known = _cache.setdefault(training, {})
    if key not in known:
        extractor = Extractor(features, model)
        with vaezoo.seeded(model.device, "quality", features):
            sets = _compute(extractor, model, data, training(), count, draws)
        known[key] = ((model, data), sets)  # which keeps their ids from being used again
    return known[key][1]


def _compute(
    extractor: Extractor,
    model: vaezoo.Model,
    data: vaezoo.Loader,
    train: vaezoo.Loader,
    count: int,
    draws: int,
) -> Sets:
    count = min(count, len(data), len(train))
    rows = images.rows_of(count, len(data))
    conditions = images.known_conditions(model, data, rows)
    pairs = [
        (extractor(batch.x), extractor(images.shuffled(batch.x)))
        for batch in images.real_blocks(data, rows)
    ]
    train_rows = images.rows_of(2 * count, len(train))
    training = extractor.all(batch.x for batch in images.real_blocks(train, train_rows))
    return Sets(
        tag=extractor.tag,
        real=torch.cat([real for real, _ in pairs]),
        train=training[:count],
        others=training[count:],
        draws=tuple(
            extractor.all(images.sample_blocks(model, count, conditions)) for _ in range(draws)
        ),
        noise=torch.cat([noise for _, noise in pairs]),
        note=f"{images.domain(model.data)}; {extractor.note}",
    )


class Extractor:
    """Maps examples ``[n, *shape]`` to features ``[n, D]``.

    Args:
        name: of features in a registry, or ``pixels``.
        model: whose data are mapped.

    Attributes:
        tag: by what numbers are called.
        note: which features they are.

    Raises:
        NotImplementedError: the features cannot be loaded, or do not read such data.
    """

    def __init__(self, name: str, model: vaezoo.Model) -> None:
        self.tag, self.note = PIXELS, "distances between pixels"
        self._features: vaezoo.Features | None = None
        if name == PIXELS:
            if model.data.parts or model.data.is_sequence:
                raise NotImplementedError("needs examples that are one array of a fixed shape")
            return
        try:
            self._features = vaezoo.load_features(name).to(model.device)
        except vaezoo.VaezooError as error:  # others of the evaluation's metrics are measured
            raise NotImplementedError(str(error)) from error
        self._features.check_data(model.data)
        self.tag, self.note = self._features.tag.replace("-", "_"), self._features.name

    def __call__(self, x: Tensor) -> Tensor:
        """The features of examples ``[n, *shape]``, ``[n, D]``."""
        return x.flatten(1) if self._features is None else self._features.extract(x)

    def all(self, blocks: Iterable[Tensor]) -> Tensor:
        """The features of all blocks of examples, ``[n, D]``."""
        return torch.cat([self(block) for block in blocks])
