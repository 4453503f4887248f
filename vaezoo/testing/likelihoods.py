"""Promises of likelihoods: normalised in nats, with samples that are data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.densities import importance_identity
from vaezoo.testing.promise import Rule
from vaezoo.testing.references import all_values
from vaezoo.utils.errors import VaezooError

_MAX_VALUES = 4096
_WIDEST_FIRST = ("real", "counts", "unit", "symbols", "binary")


def _trace(bench: Bench) -> Any:
    bench.task.eval()
    return bench.model(bench.batch, 1)


@torch.no_grad()
def check_total(case: Case) -> None:
    """The probabilities of all examples sum to 1, or samples agree with the density."""
    bench = fitting(case).compose()
    trace, data = _trace(bench), bench.model.data
    values = all_values(data.shape, data.support, 0, _MAX_VALUES)
    if values is None:
        two = bench.model(bench.batch.select(slice(0, 2)), 1)
        if problem := importance_identity(two.px, _event_support(data)):
            raise AssertionError(f"density and samples of p(x|z) disagree: {problem}")
        return
    total = torch.stack([_log_prob(bench, trace, x) for x in values]).logsumexp(0).exp()
    worst = float(total.flatten()[(total.flatten() - 1).abs().argmax()])
    assert abs(worst - 1) < 1e-3, (
        f"p(x|z) is not normalised: the probabilities of all {len(values)} examples sum to "
        f"{worst:.4g}, not 1; log_prob must be in nats, summed over the numbers of an example (a "
        "mean where a sum belongs?)"
    )


def _event_support(data: DataSpec) -> str:
    return data.support if data.levels == 0 or data.support != "unit" else "unknown"


def _log_prob(bench: Bench, trace: Any, x: Tensor) -> Tensor:
    """log p(x|z) of one example at the code of each, ``[B]``."""
    batch = replace(trace.batch, x=x.expand_as(trace.batch.x), mask=None)
    log_prob: Tensor = bench.model.likelihood.log_prob(replace(trace, batch=batch))
    return log_prob[0].double()


@torch.no_grad()
def check_samples(case: Case) -> None:
    """Samples of p(x|z) have the shape of data and lie in its support."""
    bench = fitting(case).compose()
    trace, data = _trace(bench), bench.model.data
    samples = trace.px.sample(torch.Size((7,)))
    expected = (7, 1, len(bench.batch), *bench.batch.x.shape[1:])
    shape = tuple(samples.shape)
    assert shape == expected, (
        f"seven samples of p(x|z) have the shape {shape}, not {expected}; return a distribution "
        "over data [K, B, *shape], whose sample(sample_shape) honours sample_shape"
    )
    inside = _in_support(samples, data)
    assert inside, (
        f"samples of p(x|z) lie outside the support {data.support!r} of the data; draw values "
        "that the data could have"
    )
    mean = trace.px.mean
    assert mean.shape == samples.shape[1:], (
        f"the mean of p(x|z) has the shape {tuple(mean.shape)}, not {tuple(samples.shape[1:])}"
    )


def _in_support(x: Tensor, data: DataSpec) -> bool:
    tests = {
        "binary": lambda: ((x == 0) | (x == 1)).all(),
        "one-hot": lambda: ((x == 0) | (x == 1)).all() & (x.sum(-1) == 1).all(),
        "count": lambda: ((x >= 0) & (x == x.floor())).all(),
        "unit": lambda: ((x >= 0) & (x <= 1)).all(),
    }
    return bool(tests.get(data.support, lambda: x.isfinite().all())())


def fitting(case: Case) -> Case:
    """The likelihood with made-up data of the widest support of which it is a normalised density.

    Binary numbers are a poor test of a density over all numbers. It is remembered.
    """
    if "fitting" not in case.memo:
        case.memo["fitting"] = _find_fitting(case)
    found: Case = case.memo["fitting"]
    return found


def _find_fitting(case: Case) -> Case:
    if case.data is None or case.setting.data is not None:
        return case
    for data in _WIDEST_FIRST:
        other = replace(case, data=data, memo={})
        try:
            if other.probe.model.likelihood.is_normalised:
                return other
        except (VaezooError, ValueError, TypeError, RuntimeError):
            continue
    return case


def is_plain(case: Case) -> bool:
    """Whether an example is one array of one kind of values."""
    data = fitting(case).probe.model.data
    return not data.parts and data.support != "mixed"


def _is_normalised(case: Case) -> bool:
    other = fitting(case)
    model, pools = other.probe.model, other.probe.pools_examples
    return (
        is_plain(case) and model.likelihood.is_normalised and not (model.data.mask_dims or pools)
    )


RULES = (
    Rule("p(x|z) is normalised", ("likelihood",), check_total, applies=_is_normalised),
    Rule("samples are like data", ("likelihood",), check_samples, applies=is_plain),
)
"""Promises of likelihoods."""
