"""Whether samples are closer to training examples than to held-out ones.

Shapes: n training and n held-out examples, m samples of all draws, D features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_quality import images
from vaezoo_quality.distances import distance_blocks, nearest
from vaezoo_quality.estimates import estimate
from vaezoo_quality.pictures import draw_neighbours
from vaezoo_quality.sets import PIXELS, Extractor, SampleMetric, Sets

_SHOWN = 16
"""The number of samples in the picture."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest examples of samples.

    Attributes:
        nearest_to: of how many samples each example is the nearest one, ``[2n]``: first those of
            training examples, then those of held-out ones.
        to_train: the squared distance of each sample to its nearest training example, ``[m]``.
    """

    nearest_to: Tensor
    to_train: Tensor

    @classmethod
    def of(cls, samples: Tensor, train: Tensor, held_out: Tensor) -> Neighbours:
        """Finds them; examples that are equally near are met in random order.

        Args:
            samples: ``[m, D]``.
            train, held_out: ``[n, D]`` each.
        """
        count = len(train)
        order = torch.randperm(2 * count, device=train.device)
        pool, is_held_out = torch.cat([train, held_out])[order], order >= count
        index, to_train = [], []
        for _, squares in distance_blocks(samples, pool, torch.float):
            index.append(squares.argmin(1))
            to_train.append(squares.masked_fill(is_held_out, math.inf).min(1).values)
        nearest_to = torch.bincount(order[torch.cat(index)], minlength=2 * count)
        return cls(nearest_to, torch.cat(to_train))


@dataclass(frozen=True)
class NearerToTrain:
    """The share of samples whose nearest example is a training example, and its test.

    If samples do not depend on which examples were trained on, every division of all examples into
    two sets of this size is as likely as the real one. Let ``c_j`` be the number of samples whose
    nearest example is j: the number of samples that are nearer to a training example is then a
    sum of c over n of 2n examples that are drawn without replacement, whatever the samples are and
    however many they are.

    Attributes:
        share: of samples; one half is expected if nothing is memorised.
        deviation: its standard deviation over which examples were the training examples.
    """

    share: float
    deviation: float

    @classmethod
    def of(cls, nearest_to: Tensor) -> NearerToTrain:
        """The share, of the c of all examples ``[2n]``, first those of training examples."""
        counts = nearest_to.double()
        half, total = len(counts) // 2, float(counts.sum())
        share = float(counts[:half].sum()) / total
        return cls(share, math.sqrt(half / 2 * float(counts.var())) / total)

    @property
    def z(self) -> float:
        """How many deviations the share is above one half."""
        return (self.share - 0.5) / self.deviation if self.deviation else 0.0

    @property
    def p_value(self) -> float:
        """The probability of a share as high as this one, if nothing is memorised."""
        return 0.5 * math.erfc(self.z / math.sqrt(2))


def data_copying(samples: Tensor, held_out: Tensor) -> float:
    """The statistic of the data-copying test (Meehan et al. 2020, eq. 2, with one cell).

    The Mann-Whitney statistic, in standard deviations, that compares the distances of samples to
    their nearest training example with those of held-out examples. Far below 0: samples are closer
    to training examples than held-out examples are.

    Args:
        samples: the distances of samples, ``[m]``.
        held_out: those of held-out examples, ``[n]``.
    """
    m, n = len(samples), len(held_out)
    values, index, sizes = torch.cat([samples, held_out]).unique(
        return_inverse=True, return_counts=True
    )
    ranks = (sizes.cumsum(0) - (sizes - 1) / 2).double()[index]  # equal values share their ranks
    statistic = float(ranks[:m].sum()) - m * (m + 1) / 2
    ties = float((sizes.double() ** 3 - sizes).sum()) / ((m + n) * (m + n - 1))
    deviation = math.sqrt(m * n / 12 * (m + n + 1 - ties))
    return (statistic - m * n / 2) / deviation if len(values) > 1 else 0.0


class Memorisation(SampleMetric):
    """Whether samples are closer to training examples than to held-out ones.

    ``nearer_to_train`` is the share of samples whose nearest example, among as many training as
    held-out examples, is a training example: one half if nothing is memorised. ``z`` and
    ``p_value`` are those of a test that permutes which examples were trained on. The ``floor`` is
    the share of further training examples in place of samples, which differs from one half if the
    two splits do; the ``ceiling`` is that of examples whose pixels are shuffled. ``data_copying``
    is the statistic of Meehan et al. 2020: far below 0, samples are closer to training examples
    than held-out examples are, because they are copies, or because they are more alike than real
    examples, as blurred ones are; the share tells these apart. The report shows samples beside
    their nearest examples.

    Args:
        features: the name of features in a registry; ``pixels`` compares the examples themselves.
        samples: the number of samples in a draw, and of training and of held-out examples.
        draws: the number of independent draws.
        sampler: the sampler of the spec that draws; null takes the prior.
    """

    lower_is_better = frozenset({"nearer_to_train"})

    def __init__(
        self,
        *,
        features: str = PIXELS,
        samples: Annotated[int, Ge(2)] = 10_000,
        draws: Annotated[int, Ge(2)] = 2,
        sampler: str | None = None,
    ) -> None:
        super().__init__(features=features, samples=samples, draws=draws, sampler=sampler)

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``nearer_to_train`` and ``data_copying``."""
        sets = self.sets(model, data)
        if sets.count < 2:
            raise NotImplementedError("needs at least two examples in each split")
        return _estimates(sets)

    def report_pictures(
        self, model: vaezoo.Model, data: vaezoo.Loader
    ) -> Mapping[str, tuple[str, bytes]]:
        """Samples, each above its nearest training example and its nearest held-out one."""
        shape = model.data.shape
        if model.data.parts or len(shape) != 3 or shape[0] not in (1, 3):
            return {}
        extractor, training = Extractor(self.features, model), images.training_split(self)()
        rows = images.rows_of(min(_SHOWN, len(data)), len(data))
        conditions = images.known_conditions(model, data, rows)
        samples = torch.cat([*images.sample_blocks(model, _SHOWN, conditions, self.sampler)])
        found = [_nearest_examples(samples, each, extractor) for each in (training, data)]
        caption = (
            "Samples, each above its nearest training example and its nearest example of the "
            f"split that was evaluated ({extractor.note})"
        )
        return {"neighbours": (caption, draw_neighbours([samples, *found]))}


def _nearest_examples(samples: Tensor, data: vaezoo.Loader, extractor: Extractor) -> Tensor:
    """The nearest example of a whole split to each sample, ``[m, *shape]``."""
    features, closest = extractor(samples), samples.clone()
    least = torch.full((len(samples),), math.inf, device=samples.device)
    for batch in data.ordered(images.BLOCK):
        index, squares = nearest(features, extractor(batch.x))
        closer = squares < least
        closest[closer], least[closer] = batch.x[index[closer]], squares[closer]
    return closest


def _estimates(sets: Sets) -> dict[str, vaezoo.Estimate]:
    """Both numbers of samples, of further training examples and of noise."""
    draws = [Neighbours.of(x, sets.train, sets.real) for x in sets.draws]
    noise = Neighbours.of(sets.noise, sets.train, sets.real)
    others = None
    if len(sets.others):
        others = Neighbours.of(sets.others, sets.train, sets.real)
    result = NearerToTrain.of(sum(each.nearest_to for each in draws))
    shares = [NearerToTrain.of(each.nearest_to).share for each in draws]
    _, held_out = nearest(sets.real, sets.train)
    statistics = [data_copying(each.to_train, held_out) for each in draws]
    return {
        "nearer_to_train": estimate(
            result.share,
            result.deviation**2 + _variance_of_mean(shares),
            sets,
            floor=None if others is None else NearerToTrain.of(others.nearest_to).share,
            ceiling=NearerToTrain.of(noise.nearest_to).share,
            unit="share",
            more={"z": result.z, "p_value": result.p_value},
        ),
        "data_copying": estimate(
            sum(statistics) / len(statistics),
            _variance_of_mean(statistics),
            sets,
            floor=None if others is None else data_copying(others.to_train, held_out),
            ceiling=data_copying(noise.to_train, held_out),
            unit="standard deviations",
        ),
    }


def _variance_of_mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values).double().var()) / len(values)
