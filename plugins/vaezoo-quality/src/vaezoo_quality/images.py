"""Draws samples, and real examples as many, in one domain: binary where the data are binary.

Where the data are binary, samples are drawn from p(x|z). Elsewhere a sample is the mean of
p(x|z), because the noise of other likelihoods is no part of an example. The note of each result
says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import vaezoo

BLOCK = 1000
"""Examples that are in memory at once, beside their features."""


def training_split(metric: vaezoo.Metric) -> Callable[[], vaezoo.Loader]:
    """What loads the training split.

    Raises:
        NotImplementedError: only the split that is measured is known.
    """
    if metric.training is None:
        raise NotImplementedError("needs the training split")
    return metric.training


def domain(data: vaezoo.DataSpec) -> str:
    """What samples are, in words for a note."""
    drawn = "samples are drawn from p(x|z), as the data are binary"
    return drawn if data.support == "binary" else "samples are means of p(x|z)"


def rows_of(count: int, total: int, skip: int = 0) -> Tensor:
    """Some of ``total`` examples in random order, the same in every call, int64 ``[count]``.

    Args:
        count: how many.
        total: of how many.
        skip: how many others are left out first, such as those of another call.
    """
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    return order[skip : skip + count]


def real_blocks(data: vaezoo.Loader, rows: Tensor) -> Iterator[vaezoo.Batch]:
    """The examples at ``rows`` of a split, in blocks."""
    chosen = data.split.select(rows)
    loader = vaezoo.Loader(chosen, data.device, BLOCK, workers=data.workers)
    yield from loader.ordered()


def known_conditions(model: vaezoo.Model, data: vaezoo.Loader, rows: Tensor) -> Tensor | None:
    """The conditions of the examples at ``rows``, without unknown labels; None without conditions.

    Raises:
        NotImplementedError: no label is known.
    """
    if model.conditioner is None:
        return None
    read = [batch.condition for batch in real_blocks(data, rows)]
    conditions = torch.cat([each for each in read if each is not None])
    if model.data.classes:
        conditions = conditions[conditions >= 0]
        if not len(conditions):
            raise NotImplementedError("no label of this split is known")
    return conditions


def sample_blocks(
    model: vaezoo.Model, count: int, conditions: Tensor | None, sampler: str | None
) -> Iterator[Tensor]:
    """``count`` samples in blocks ``[<= BLOCK, *shape]``.

    Args:
        model: the model.
        count: how many.
        conditions: of real examples, ``[m, ...]``; they are taken in turn.
        sampler: a sampler of the model; None takes the prior.

    Raises:
        vaezoo.VaezooError: a sample is NaN or infinite.
    """
    is_binary = model.data.support == "binary"
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        condition = None
        if conditions is not None:
            condition = conditions[torch.arange(start, start + size) % len(conditions)]
        x = model.sample(size, condition, mean=not is_binary, sampler=sampler)
        vaezoo.require_finite(x, "a value of sample")
        yield x


def shuffled(x: Tensor) -> Tensor:
    """Noise within the support: the values of each example ``[n, *shape]`` in random order."""
    flat = x.flatten(1)  # [n, P]
    order = torch.rand(flat.shape, device=x.device).argsort(1)
    return flat.gather(1, order).view_as(x)
