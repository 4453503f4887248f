"""The scale by which numbers are standardised, where they vary and where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from vaezoo.data.standardise import mean_and_scale

NOISE = np.random.default_rng(0).standard_normal(1000)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -1e9, 1e38, 1e-300])
def test_a_constant_column_has_its_value_and_the_scale_1(value):
    assert mean_and_scale(np.full(1001, value)) == (value, 1)


@pytest.mark.parametrize(
    "values",
    [
        1e9 * (1 + 2.0**-52 * (NOISE > 0)),
        np.float32(0.1) * (1 + np.float32(2.0**-23) * (NOISE > 0).astype(np.float32)),
        1e-50 * NOISE,
    ],
)
def test_a_column_that_differs_by_rounding_has_the_scale_1(values):
    assert values.min() < values.max() and mean_and_scale(values)[1] == 1


@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e9, 1e-3), (1.7e9, 1), (-1, 1e-12), (0, 1e-30), (0, 1e30)]
)
def test_a_column_that_varies_has_its_standard_deviation(offset, scale):
    mean, deviation = mean_and_scale(offset + scale * NOISE)
    assert abs(mean - offset) < 0.1 * scale
    assert deviation == pytest.approx(scale * NOISE.std(), rel=1e-3)


def test_each_column_has_its_own_and_nan_is_left_out():
    values = np.stack([NOISE, np.full(1000, 7.0), np.where(NOISE > 0, NOISE, np.nan)], 1)
    mean, scale = mean_and_scale(values)
    assert mean[1] == 7 and scale[1] == 1
    assert scale[[0, 2]] == pytest.approx([NOISE.std(), NOISE[NOISE > 0].std()])
