"""SSIM and PSNR are those of direct loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vaezoo_quality.reconstruction import psnr, similarities, ssim


def direct_ssim(a, b, data_range):
    """Wang et al. 2004, one place of the window at a time."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, values = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            values.append(
                (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_ssim_is_that_of_a_direct_loop(data_range):
    a, b = data_range * torch.rand(2, 3, 2, 14, 12)
    b = (a + b) / 2
    found = ssim(a, b, data_range)
    for i in range(3):
        channels = [
            direct_ssim(a[i, c].double().numpy(), b[i, c].double().numpy(), data_range)
            for c in range(2)
        ]
        assert float(found[i]) == pytest.approx(np.mean(channels), rel=1e-9)
    torch.testing.assert_close(ssim(a, a), torch.ones(3).double())


def test_psnr_is_that_of_the_mean_squared_error():
    a, b = torch.rand(2, 3, 1, 8, 8)
    expected = [10 * math.log10(4 / float((x - y).double().square().mean())) for x, y in zip(a, b)]
    assert psnr(a, b, 2.0).tolist() == pytest.approx(expected)
    assert psnr(a, a).tolist() == pytest.approx([100, 100, 100])


def test_small_images_have_no_ssim():
    a = torch.rand(4, 1, 8, 8)
    assert similarities([(a, a)]).keys() == {"psnr"}
    assert similarities([(torch.rand(2, 1, 11, 11),) * 2]).keys() == {"psnr", "ssim"}
