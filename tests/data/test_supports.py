"""Which values each support permits, for arrays and tensors of every type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.data.supports import describe_support, first_invalid_row

INF, NAN = np.inf, np.nan
INVALID = {
    "binary": [0.5, -1, 2, NAN],
    "unit": [-0.1, 1.1, NAN],
    "one-hot": [0.5, 2, NAN],
    "count": [0.5, -1, NAN, INF],
    "real": [NAN, INF, 1e300],
    "mixed": [NAN],
    "plugin:word": [-INF],
}


@pytest.mark.parametrize("support", INVALID)
def test_the_first_row_with_a_value_outside_of_the_support_is_found(support):
    for value in INVALID[support]:
        x = np.eye(4)[:, None].repeat(2, 1)  # [4, 2, 4]
        assert first_invalid_row(x, support) is first_invalid_row(torch.tensor(x), support) is None
        x[2:, 1, 0] = value
        assert first_invalid_row(x, support) == first_invalid_row(torch.tensor(x), support) == 2


def test_one_hot_examples_have_a_single_one_or_are_hidden():
    x = np.array([[0, 0], [0, 1], [1, 1]])
    assert first_invalid_row(x, "one-hot") == 2 and first_invalid_row(x[:2], "one-hot") is None


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.uint16, torch.int64, torch.float16, torch.bfloat16]
)
def test_every_type_of_numbers_is_checked(dtype):
    x = torch.eye(3).to(dtype)
    for support in (*INVALID, "real"):
        assert first_invalid_row(x, support) is None
    assert first_invalid_row(x, "unit", pixels=True) is None
    if dtype is not torch.bool:
        wide = (torch.eye(3) * 200).to(dtype)
        assert first_invalid_row(wide, "unit") == 0
        assert first_invalid_row(wide, "unit", pixels=True) is None


def test_integers_of_pixels_go_from_0_to_255():
    for value in (-1, 256):
        assert first_invalid_row(np.array([[0], [value]]), "unit", pixels=True) == 1
    assert describe_support("unit", pixels=True) == "integers from 0 to 255"
    assert describe_support("plugin:word") == "finite numbers"
