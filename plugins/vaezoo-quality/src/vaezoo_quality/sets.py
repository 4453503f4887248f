"""Features of real examples, samples and noise, computed once in an evaluation.

Shapes: n examples in each set, D features, R draws of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import torch
from annotated_types import Ge
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


class SampleMetric(vaezoo.Metric):
    """A metric that compares samples with real examples.

    Args:
        features: the name of features in a registry, or ``pixels``.
        samples: the number of samples in a draw, and of real examples.
        draws: the number of independent draws.
        sampler: the sampler of the spec that draws; null takes the prior.
    """

    def __init__(
        self,
        *,
        features: str = MNIST,
        samples: Annotated[int, Ge(2)] = 10_000,
        draws: Annotated[int, Ge(2)] = 5,
        sampler: str | None = None,
    ) -> None:
        self.features, self.samples, self.draws = features, samples, draws
        self.sampler = sampler

    def sets(self, model: vaezoo.Model, data: vaezoo.Loader) -> Sets:
        """The sets that are compared; metrics of one evaluation share them.

        Args:
            model: the model.
            data: the split that is measured.

        Raises:
            NotImplementedError: the training split is not known, the features cannot be loaded,
                or do not read such data.
            ValueError: the model has no such sampler.
        """
        training = images.training_split(self)
        if self.sampler is not None:
            model.check_sampler(self.sampler)
        key = (id(model), id(data), self.features, self.samples, self.draws, self.sampler)
        known = _cache.setdefault(training, {})
        if key not in known:
            extractor = Extractor(self.features, model)
            with vaezoo.seeded(model.device, "quality", self.features):
                sets = self._compute(extractor, model, data, training())
            known[key] = ((model, data), sets)  # which keeps their ids from being used again
        return known[key][1]

    def _compute(
        self, extractor: Extractor, model: vaezoo.Model, data: vaezoo.Loader, train: vaezoo.Loader
    ) -> Sets:
        count = min(self.samples, len(data), len(train))
        rows = images.rows_of(count, len(data))
        conditions = images.known_conditions(model, data, rows)
        pairs = [
            (extractor(batch.x), extractor(images.shuffled(batch.x)))
            for batch in images.real_blocks(data, rows)
        ]
        train_rows = images.rows_of(2 * count, len(train))
        training = extractor.all(batch.x for batch in images.real_blocks(train, train_rows))
        draws = (
            images.sample_blocks(model, count, conditions, self.sampler) for _ in range(self.draws)
        )
        drawn_by = f"; by the sampler {self.sampler}" if self.sampler is not None else ""
        return Sets(
            tag=extractor.tag,
            real=torch.cat([real for real, _ in pairs]),
            train=training[:count],
            others=training[count:],
            draws=tuple(map(extractor.all, draws)),
            noise=torch.cat([noise for _, noise in pairs]),
            note=f"{images.domain(model.data)}{drawn_by}; {extractor.note}",
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
