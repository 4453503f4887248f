"""Promises of metrics: they measure the model, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch

from vaezoo.data.loader import Loader
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.testing.case import CPU, Bench, Case
from vaezoo.testing.noise import steady, touched_generators
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

Estimates = Mapping[str, Estimate]


def _metric(case: Case) -> Metric:
    metric: Metric = case.spec.evaluate[0].build()
    metric.training = lambda: case.loader
    return metric


def _measure(case: Case, bench: Bench, data: Loader | None = None) -> Estimates:
    """The estimates of the test split, as ``vaezoo evaluate`` computes them."""
    bench.model.eval()
    with bench.model.inference():
        return _metric(case)(bench.model, case.split("test") if data is None else data)


def first_estimates(case: Case) -> Estimates:
    """The estimates of a first measurement, which is remembered."""
    if "estimates" not in case.memo:
        with seeded(CPU, "promise"):
            case.memo["estimates"] = _measure(case, case.compose())
    found: Estimates = case.memo["estimates"]
    return found


def check_estimates(case: Case) -> None:
    """A metric returns finite numbers by name, and says how many examples they are of."""
    estimates = first_estimates(case)
    assert isinstance(estimates, Mapping) and estimates, (
        "measures nothing; return a mapping from names to vaezoo.Estimate"
    )
    for name, estimate in estimates.items():
        assert isinstance(estimate, Estimate), (
            f"{name!r} is a {type(estimate).__name__}, not a vaezoo.Estimate"
        )
        assert isinstance(estimate.value, float) and math.isfinite(estimate.value), (
            f"{name!r} is {estimate.value!r}, not a finite float; convert tensors with float(), "
            "and pass what may be NaN through vaezoo.require_finite"
        )
        assert estimate.error is None or estimate.error >= 0, f"{name!r} has a negative error"
    _check_directions(case, list(estimates))


def _check_directions(case: Case, names: list[str]) -> None:
    """The names of which a direction is declared are those that are measured."""
    declared = case.cls.higher_is_better | case.cls.lower_is_better
    used = {p for p in declared if any(fnmatchcase(name, p) for name in names)}
    free = [name for name in names if not any(fnmatchcase(name, p) for p in used)]
    for pattern in declared - used:
        is_typo = bool(get_close_matches(pattern, free, cutoff=0.85))
        assert used and not is_typo, (
            f"declares whether higher values of {pattern!r} are better, but measures "
            f"{', '.join(names)}; mend the name"
        )


def check_repeats(case: Case) -> None:
    """A metric gives the same numbers twice, and leaves the model and its data as they are."""
    bench = case.compose()
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    first = first_estimates(case)

    def measure() -> Estimates:
        with seeded(CPU, "promise"):
            return _measure(case, bench)

    again, touched = touched_generators(measure)
    assert not touched, (
        f"uses or seeds {touched[0]}; draw with torch's functions, which vaezoo seeds, or give "
        "numpy and scikit-learn a seed that is drawn from torch"
    )
    for name, estimate in first.items():
        value = again[name].value
        assert repr(estimate.value) == repr(value), (
            f"ignores the seed: {name!r} is {estimate.value:.6g} and then "
            f"{value:.6g}; draw from torch's generator"
        )
    for name, value in bench.model.state_dict().items():
        assert torch.equal(value, before[name]), (
            f"changes the model: {name} is another after measuring; work on a copy"
        )
    assert not any(module.training for module in bench.model.modules()), (
        "leaves the model in training mode; metrics are called in evaluation mode and keep it"
    )


def check_batch_size(case: Case) -> None:
    """The numbers do not depend on the size of the batches in which examples are read."""
    found = []
    for size in (4, 15):
        bench = case.compose()
        model: Any = bench.model
        model.batch_size = lambda samples=1, size=size: size
        data = case.split("test")
        data.batch_size = size
        with steady(varies=False):
            found.append(_measure(case, bench, data))
    for name, estimate in found[0].items():
        for other in found[1:]:
            value = other[name].value
            slack = 4 * (estimate.error or 0.0) if estimate.bound.startswith("stochastic") else 0.0
            assert _close(estimate.value, value, slack), (
                f"depends on the batch size: {name!r} is {estimate.value:.6g} or {value:.6g}; the "
                "last batch may be smaller, so weigh means of batches by their size, or "
                "concatenate first"
            )


def check_order(case: Case) -> None:
    """The numbers do not depend on the order of the examples."""
    data = case.split("test")
    order = torch.arange(len(data)).flip(0)
    found = []
    for loader in (data, data.with_split(data.split.select(order))):
        bench = case.compose()
        with steady(varies=False):
            found.append(_measure(case, bench, loader))
    for name, estimate in found[0].items():
        value = found[1][name].value
        slack = 4 * (estimate.error or 0.0)
        assert _close(estimate.value, value, slack), (
            f"depends on the order of the examples: {name!r} is {estimate.value:.6g}, or "
            f"{value:.6g} with the examples in reverse; use all of them, or draw a random subset"
        )


def _close(first: float, second: float, slack: float = 0.0) -> bool:
    if math.isnan(first) and math.isnan(second):  # which is a mistake of its own
        return True
    return math.isclose(first, second, rel_tol=1e-3, abs_tol=1e-5 + slack)


def _uses_all(case: Case) -> bool:
    """Whether it measures all examples, and divides them by no lot: their order cannot matter."""
    count = len(case.split("test"))
    if any(estimate.examples != count for estimate in first_estimates(case).values()):
        return False
    found = []
    for shuffle in (0, 1):
        bench = case.compose()
        with steady(varies=False, shuffle=shuffle):
            found.append(_measure(case, bench))
    return all(_close(each.value, found[1][name].value) for name, each in found[0].items())


_METRIC = ("metric",)
RULES = (
    Rule("measures finite numbers", _METRIC, check_estimates),
    Rule("only measures", _METRIC, check_repeats),
    Rule("the batch size does not matter", _METRIC, check_batch_size),
    Rule("the order of examples does not matter", _METRIC, check_order, applies=_uses_all),
)
"""Promises of metrics."""
