"""Promises about the means of distributions, and about their samples at a temperature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import density_of, tempered
from vaezoo.testing.case import CPU, Case
from vaezoo.testing.likelihoods import fitting, is_plain
from vaezoo.testing.promise import Rule
from vaezoo.testing.seeds import distributions_of, space_of
from vaezoo.utils.seeds import seeded

_SAMPLES, _ERRORS, _COLD = 4000, 6.0, 0.25
_FEW = 50
_RANGES = {"unit": (0.0, 1.0), "binary": (0.0, 1.0), "count": (0.0, math.inf)}


def _real(case: Case) -> Iterator[tuple[str, Distribution]]:
    """The distributions over real values that the component makes, with their names."""
    case = fitting(case) if case.kind == "likelihood" else case
    bench = case.compose()
    is_data = case.kind == "likelihood"
    for name, distribution in distributions_of(bench):
        support = bench.model.data.support if is_data else space_of(bench, name).support
        if support == "real" and density_of(distribution) == "exact":
            yield name, distribution


def _mean_of(distribution: Distribution) -> Tensor | None:
    with suppress(NotImplementedError):
        return distribution.mean
    return None


@torch.no_grad()
def check_means(case: Case) -> None:
    """The mean of a distribution is that of its samples."""
    with seeded(CPU, "promise", "moments"):
        for name, distribution in _real(case):
            mean = _mean_of(distribution)
            if mean is None:
                continue
            samples = distribution.sample(torch.Size((_SAMPLES,)))
            sampled = samples.mean(0)
            error = _ERRORS * samples.std(0) / math.sqrt(_SAMPLES) + 1e-3
            far = (mean - sampled).abs() > error
            assert not bool(far.any()), (
                f"the mean of {name} is not that of its samples: it is "
                f"{float(mean[far][0]):.3g} where samples have {float(sampled[far][0]):.3g}; "
                "mend the property `mean`, or raise NotImplementedError if it is not known"
            )


@torch.no_grad()
def check_range(case: Case) -> None:
    """The mean of a likelihood is a value that data could have on average."""
    bench = case.compose()
    low, high = _RANGES[bench.model.data.support]
    for name, distribution in distributions_of(bench):
        mean = _mean_of(distribution)
        samples = distribution.sample(torch.Size((_FEW,)))
        is_inside = float(samples.min()) >= low and float(samples.max()) <= high
        if mean is None or not is_inside:  # such as a normal of numbers from 0 to 1
            continue
        worst = max(float(mean.max()) - high, low - float(mean.min()))
        assert worst < 1e-4, (
            f"the mean of {name} lies outside of the range {low:g} to {high:g} of the data: it "
            f"goes from {float(mean.min()):.3g} to {float(mean.max()):.3g}; return the expected "
            "value, not logits"
        )


def _has_range(case: Case) -> bool:
    return is_plain(case) and case.probe.model.data.support in _RANGES


@torch.no_grad()
def check_cold(case: Case) -> None:
    """Below the temperature 1, samples are more probable than at 1."""
    with seeded(CPU, "promise", "temperature"):
        for name, distribution in _real(case):
            try:
                cold = tempered(distribution, _COLD)
            except NotImplementedError:
                continue
            shape = torch.Size((_SAMPLES,))
            own = distribution.log_prob(distribution.sample(shape)).double()
            colder = distribution.log_prob(cold.sample(shape)).double()
            error = _ERRORS * (own.std(0) + colder.std(0)) / math.sqrt(_SAMPLES) + 1e-3
            gain = colder.mean(0) - own.mean(0)
            assert bool((gain > error).all()), (
                f"{name} is no colder at temperature {_COLD}: its samples have a log-density of "
                f"{float(colder.mean()):.4g} on average, and {float(own.mean()):.4g} at 1; "
                "tempered(t) multiplies variances by t and divides logits by t"
            )


_DRAWN = ("posterior", "prior", "likelihood")


def _is_single(case: Case) -> bool:
    return case.kind != "likelihood" or is_plain(case)


RULES = (
    Rule("the mean is that of samples", _DRAWN, check_means, applies=_is_single),
    Rule("the mean is in the range of the data", ("likelihood",), check_range, applies=_has_range),
    Rule("colder samples are more probable", _DRAWN, check_cold, applies=_is_single),
)
"""Promises about means and temperatures."""
