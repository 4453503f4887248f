"""A check of ``nll``: whether it has enough importance samples.

Shapes: n examples of a split, L numbers of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.bounds import NLL_BOUND, Samples, mean_with_error, note_if_not_normalised
from vaezoo.evaluation.metric import Estimate, Metric, Series
from vaezoo.model.estimators import WeightSums, add_samples
from vaezoo.model.model import Model

_INTERVAL = 1.96
"""Half the width of a 95 % interval in standard errors."""


class NLLCheck(Metric):
    """Doubles the importance samples of ``nll`` until its change is within its error.

    The samples of each step are those of the one before and as many new ones, of the same
    examples, so that the error of the change is much smaller than that of ``nll``. It has settled
    where the 95 % interval of the change contains 0. With few examples that is soon so; the detail
    ``change_error`` tells how small a change would have been noticed. Where q(z|x) misses part of
    p(z|x), many doublings change little and the bound stays loose; ``ais`` shows by how much.

    Args:
        samples: importance samples of each example to start with.
        maximum: the most samples of each example.
        limit: how many examples to use, starting with the first; 0 for all.
    """

    requires_exact_density = True

    def __init__(
        self,
        *,
        samples: Samples = 50,
        maximum: Annotated[int, Gt(1)] = 6400,
        limit: Annotated[int, Ge(0)] = 500,
    ) -> None:
        if maximum < 2 * samples:
            raise ValueError(f"maximum: must be at least twice samples, {2 * samples}")
        self.samples, self.maximum, self.limit = samples, maximum, limit

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``nll_check``: ``nll`` with the most samples, and in its details that of each number of
        samples, the last ``change`` in nats and whether it ``settled``."""
        batches = list(data.ordered(model.importance_batch_size, self.limit or None))
        sums = _add(model, batches, [WeightSums.of_none(batch) for batch in batches], self.samples)
        counts, curve = [self.samples], [_nll(sums)]
        while counts[-1] * 2 <= self.maximum:
            sums = _add(model, batches, sums, counts[-1])
            counts.append(counts[-1] * 2)
            curve.append(_nll(sums))
            change = mean_with_error(curve[-1] - curve[-2])
            if _settled(change):
                break
        sizes = torch.cat([each.effective_sample_size for each in sums]).double()
        estimate = _describe(counts, curve, change, float(sizes.mean()))
        return {"nll_check": note_if_not_normalised(estimate, model)}


def _add(
    model: Model, batches: Sequence[Batch], sums: Sequence[WeightSums], samples: int
) -> list[WeightSums]:
    """Adds samples to the sums of every batch."""
    pairs = zip(batches, sums, strict=True)
    return [add_samples(model, batch, before, samples) for batch, before in pairs]


def _nll(sums: Sequence[WeightSums]) -> Tensor:
    """-log p(x) of each example, in nats, float64 ``[n]``."""
    return -torch.cat([each.log_p for each in sums]).double().cpu()


def _settled(change: Estimate) -> bool:
    """Whether the 95 % interval of a change contains 0."""
    return change.error is not None and abs(change.value) <= _INTERVAL * change.error


def _describe(
    counts: Sequence[int], curve: Sequence[Tensor], change: Estimate, size: float
) -> Estimate:
    """The estimate with the most samples, and the curve that led to it.

    Args:
        counts: the numbers of samples, L of them.
        curve: -log p(x) of each example for each number of samples, ``[n]`` each.
        change: the last change.
        size: the mean effective sample size.
    """
    last, means = mean_with_error(curve[-1]), [float(values.mean()) for values in curve]
    errors = [mean_with_error(values - curve[-1]).error or 0.0 for values in curve]
    details = {f"nll_at_{count}": mean for count, mean in zip(counts, means, strict=True)}
    details |= {"samples": counts[-1], "effective_sample_size": size, "change": change.value}
    if change.error is not None:
        details["change_error"] = change.error
    details["settled"] = float(_settled(change))
    note = last.note
    if not (note or _settled(change)):
        note = (
            f"not settled: from {counts[-2]:,} to {counts[-1]:,} samples it still changes by "
            f"{change.value:.3g} nats"
        )
    return replace(
        last,
        details=details,
        bound=NLL_BOUND,
        note=note,
        series=Series("samples; whiskers of the difference from the last", counts, means, errors),
    )
