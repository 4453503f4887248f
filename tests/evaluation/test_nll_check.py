"""Whether ``nll`` has enough samples, on models whose log p(x) is known."""

from __future__ import annotations

import pytest
import torch

from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.evaluation.nll_check import NLLCheck

CPU = torch.device("cpu")


def checked(gaussian, x, **options):
    torch.manual_seed(3)
    with gaussian.model.eval().inference():
        return NLLCheck(**options)(gaussian.model, Loader(Split(x), CPU, 16))["nll_check"]


def test_an_exact_posterior_settles_at_once(exact):
    x = exact.data(60)
    found = checked(exact, x, samples=2, maximum=64, limit=50)
    assert found.details["settled"] == 1 and found.details["samples"] == 4
    assert found.value == pytest.approx(-float(exact.log_p(x[:50]).mean()), abs=1e-4)
    assert found.examples == 50 and found.note == ""
    assert found.series.x == [2, 4] and found.series.errors[-1] == 0


def test_a_loose_bound_falls_until_its_change_is_within_its_error(inexact):
    x = inexact.data(2000)
    found = checked(inexact, x, samples=1, maximum=4096, limit=0)
    details = found.details
    assert found.series.x == [2**i for i in range(len(found.series.x))] and len(found.series.x) > 3
    assert found.series.values[:4] == sorted(found.series.values[:4], reverse=True)
    assert details["settled"] == 1 and abs(details["change"]) <= 1.96 * details["change_error"]
    assert found.value == details[f"nll_at_{found.series.x[-1]}"] == found.series.values[-1]
    assert found.value == pytest.approx(-float(inexact.log_p(x).mean()), abs=0.02)
    assert details["change_error"] < 0.2 * found.error, "the same examples and samples"


def test_a_bound_that_still_falls_is_reported(inexact):
    found = checked(inexact, inexact.data(2000), samples=1, maximum=2, limit=0)
    assert found.details["settled"] == 0 and found.details["samples"] == 2
    assert found.note.startswith("not settled: from 1 to 2 samples it still changes by -0.")


def test_doubling_must_fit_below_the_maximum():
    with pytest.raises(ValueError, match="maximum: must be at least twice samples, 100"):
        NLLCheck(samples=50, maximum=99)
